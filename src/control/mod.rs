//! stand-in for the check
use crate::{
    base::{clock::Clock, lifecycle::Lifecycle},
    config::Config,
    hub::Publisher,
    shard::Handle,
};
pub struct Context {
    pub publisher: Publisher,
    pub shards: Vec<Handle>,
    pub lifecycle: Lifecycle,
    pub clock: Clock,
    pub config: std::sync::Arc<Config>,
    pub driver: &'static str,
    pub driver_fallback_reason: Option<String>,
}
pub async fn serve(
    _l: tokio::net::TcpListener,
    _c: Context,
    stop: impl std::future::Future<Output = ()>,
) -> std::io::Result<()> {
    stop.await;
    Ok(())
}

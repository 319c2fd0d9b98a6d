//! `GET /metrics`: what the server counts, in Prometheus' text format 0.0.4.
//!
//! Nothing is counted here: a scrape sums the cells that each shard and the hub write, and
//! merges copies of the shards' histograms. Names that do not begin with `alarmcast_` are
//! those of the WebSocket module that this server replaces.

mod cache;
mod exposition;
mod families;

use std::sync::Arc;
use std::time::Duration;

use axum::extract;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::State;

pub(super) use cache::HistogramCache;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How long a scrape waits for a shard; after that its last histograms are used again.
const SHARD_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn scrape(extract::State(state): extract::State<Arc<State>>) -> Response {
    let context = &state.context;
    state.histograms.refresh(&context.shards, SHARD_TIMEOUT).await;
    let text = families::write(context, &state.histograms.merged(), &state.watchdog);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

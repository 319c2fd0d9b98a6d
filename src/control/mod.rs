//! L5: the control plane: the HTTP API for publishers, webhooks, health and metrics.
//! It runs on a thread of its own, never on a shard.
//!
//! | request | answer |
//! |---|---|
//! | `POST /api/v1/events` | one event, an array, or one event a line; see [`events`] |
//! | `GET /api/v1/events` | a page of the past; see [`history`] |
//! | `POST /api/v1/drain`, `GET /api/v1/drain` | begins the orderly end; see [`drain`] |
//! | `GET /api/v1/connections` | a page of connections; see [`listing`] |
//! | `GET`, `DELETE /api/v1/connections/{session_id}` | one connection, or its end |
//! | `POST /api/v1/webhooks/alertmanager` | notifications of Prometheus Alertmanager; see [`webhooks`] |
//! | `GET /health`, `/health/live`, `/health/ready` | see [`health`] |
//! | `GET /metrics` | Prometheus text format; see [`metrics`] |
//!
//! Whatever is refused is answered by `{"code", "message", "path"?}` with the codes of the
//! stream's protocol.

#![forbid(unsafe_code)]

mod answer;
mod batch;
mod body;
mod connections;
pub mod drain;
pub mod events;
pub mod health;
pub mod history;
pub mod listing;
pub mod metrics;
mod split;
mod watchdog;
pub mod webhooks;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::base::clock::Clock;
use crate::base::lifecycle::Lifecycle;
use crate::base::logged::{Logged, Seldom};
use crate::config::Config;
use crate::hub::{Drainer, Publisher};
use crate::protocol::ErrorCode;
use crate::shard;
use crate::stream::history::History;
use answer::Refusal;
use body::BodyBudget;
use metrics::HistogramCache;
use watchdog::Watchdog;

pub use split::Nesting;

/// What the control plane works on.
#[derive(Clone, Debug)]
pub struct Context {
    pub publisher: Publisher,
    /// What begins the orderly end.
    pub drainer: Drainer,
    /// The events of the past.
    pub history: Arc<dyn History>,
    /// Identity of their sequence.
    pub epoch: String,
    pub shards: Vec<shard::Handle>,
    pub lifecycle: Lifecycle,
    pub clock: Clock,
    pub config: Arc<Config>,
    /// The driver of all shards: `uring`, `epoll` or `sim`.
    pub driver: &'static str,
    /// Why `auto` did not take io_uring.
    pub driver_fallback_reason: Option<String>,
}

/// What all requests share.
#[derive(Debug)]
struct State {
    context: Context,
    bodies: BodyBudget,
    histograms: HistogramCache,
    watchdog: Watchdog,
    /// Lines of the log about alerts that were refused, and that were left out.
    refused_alerts: Seldom,
    truncated_alerts: Seldom,
}

/// Serves until `shutdown` completes, then finishes what is being answered, within a few
/// seconds.
///
/// # Errors
/// None for now: trouble with one connection ends that connection, and trouble with
/// accepting is waited out.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let state = state(context);
    let watched = Arc::clone(&state);
    let watching = tokio::spawn(async move { watched.watchdog.watch(&watched.context).await });
    connections::serve(listener, routes(state), shutdown).await;
    watching.abort();
    Ok(())
}

fn state(context: Context) -> Arc<State> {
    Arc::new(State {
        histograms: HistogramCache::new(context.shards.len()),
        bodies: BodyBudget::new(),
        watchdog: Watchdog::new(context.shards.len()),
        refused_alerts: Seldom::default(),
        truncated_alerts: Seldom::default(),
        context,
    })
}

fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/api/v1/events", post(events::publish).get(history::read))
        .route("/api/v1/drain", post(drain::begin).get(drain::progress))
        .route("/api/v1/connections", get(listing::page))
        .route("/api/v1/connections/{session_id}", get(listing::show).delete(listing::close))
        .route("/api/v1/webhooks/alertmanager", post(webhooks::alertmanager::receive))
        .route("/health", get(health::summary))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

async fn index() -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "name": "alarmcast",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": [
            "POST /api/v1/events",
            "GET /api/v1/events",
            "POST /api/v1/drain",
            "GET /api/v1/drain",
            "GET /api/v1/connections",
            "GET /api/v1/connections/{session_id}",
            "DELETE /api/v1/connections/{session_id}",
            "POST /api/v1/webhooks/alertmanager",
            "GET /health",
            "GET /health/live",
            "GET /health/ready",
            "GET /metrics",
        ],
    }))
}

async fn not_found(uri: Uri) -> Refusal {
    let message = format!("there is nothing at {}; GET / lists what there is", Logged(uri.path()));
    Refusal::new(404, ErrorCode::NotFound, message)
}

async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let message = format!("{} does not take {}", Logged(uri.path()), Logged(method.as_str()));
    Refusal::new(405, ErrorCode::Unsupported, message)
}

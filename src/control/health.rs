//! Whether the server lives, and whether it can take traffic now.
//!
//! `/health/live` answers as long as the process does. `/health/ready` is 200 only while
//! the server serves and none of its shards is stalled; 503 with the reason otherwise, from
//! the first moment of a drain on. `/health` is the same with some figures.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use axum::response::Response;
use serde_json::{Value, json as object};

use super::answer::json;
use super::{Context, State};
use crate::base::lifecycle::Stage;

pub(super) async fn live() -> Json<Value> {
    Json(object!({ "status": "alive" }))
}

pub(super) async fn ready(extract::State(state): extract::State<Arc<State>>) -> Response {
    match not_ready(&state) {
        None => json(200, &object!({ "status": "ready" })),
        Some(reason) => json(503, &object!({ "status": "not ready", "reason": reason })),
    }
}

pub(super) async fn summary(extract::State(state): extract::State<Arc<State>>) -> Response {
    let reason = not_ready(&state);
    let context = &state.context;
    let connections: u64 =
        context.shards.iter().map(|shard| shard.stats().connections_active.get()).sum();
    let mut body = object!({
        "status": if reason.is_none() { "ready" } else { "not ready" },
        "stage": stage_name(context),
        "version": env!("CARGO_PKG_VERSION"),
        "driver": context.driver,
        "shards": context.shards.len(),
        "connections": connections,
        "epoch": context.epoch,
        "seq": context.publisher.stats().newest_seq.get(),
    });
    let status = if reason.is_none() { 200 } else { 503 };
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    json(status, &body)
}

fn not_ready(state: &State) -> Option<String> {
    let context = &state.context;
    match context.lifecycle.stage() {
        Stage::Starting => return Some("the server is starting".into()),
        Stage::Draining => return Some("the server is draining".into()),
        Stage::Stopped => return Some("the server has stopped".into()),
        Stage::Serving => {}
    }
    let stalled = state.watchdog.stalled()?;
    Some(format!("shard {stalled} is stalled: its thread does not turn"))
}

pub(super) fn stage_name(context: &Context) -> &'static str {
    match context.lifecycle.stage() {
        Stage::Starting => "starting",
        Stage::Serving => "serving",
        Stage::Draining => "draining",
        Stage::Stopped => "stopped",
    }
}

//! `POST /api/v1/drain` begins the orderly end of the server, `GET /api/v1/drain` tells how far
//! it has come.
//!
//! The body of the POST is nothing, or `{"window_secs": N}`: over so long clients are told to
//! leave, instead of over `server.drain_window_secs`. The first who asks decides. Both are answered by
//! `{"stage", "connections", "sockets", "window_secs", "timeout_secs", "elapsed_secs"?}`:
//! `connections` have not been told to leave yet, `sockets` have not left, in the answer to the
//! POST as of before it; `elapsed_secs` is there once the drain has begun. The POST needs
//! `Content-Type: application/json`, because a browser sends none on behalf of a foreign page
//! without asking first.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{Refusal, json};
use super::body::{self, Kind};
use super::health::stage_name;
use super::{Context, State};
use crate::protocol::ErrorCode;

/// As of `server.drain_window_secs`.
const WINDOW_SECS_MAX: u64 = 3_600;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    window_secs: Option<u64>,
}

#[derive(Serialize)]
struct Progress {
    stage: &'static str,
    #[serde(flatten)]
    left: Left,
    window_secs: u64,
    timeout_secs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_secs: Option<f64>,
}

#[derive(Serialize)]
struct Left {
    /// Not told to leave yet.
    connections: u64,
    /// Not gone yet.
    sockets: u64,
}

pub(super) async fn progress(extract::State(state): extract::State<Arc<State>>) -> Response {
    json(200, &Progress::new(&state.context, Left::of(&state.context)))
}

pub(super) async fn begin(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if !matches!(body::kind(&headers), Ok(Kind::Json)) {
        let message = "Content-Type must be application/json, also without a body";
        return Err(Refusal::new(415, ErrorCode::Unsupported, message));
    }
    let (bytes, _budget) = state.bodies.read(&headers, body).await?;
    let window = window(&bytes)?;
    // Counted first: the shards tell the first to leave before this thread looks again.
    let left = Left::of(&state.context);
    if state.context.drainer.drain(window) {
        tracing::info!("draining, as asked for over HTTP");
    }
    Ok(json(202, &Progress::new(&state.context, left)))
}

fn window(body: &[u8]) -> Result<Option<Duration>, Refusal> {
    let bad = |message: String| Refusal::new(400, ErrorCode::InvalidMessage, message);
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        bad(format!("the body is nothing, or an object such as {{\"window_secs\": 30}}: {error}"))
    })?;
    match asked.window_secs {
        Some(secs) if secs > WINDOW_SECS_MAX => {
            Err(bad(format!("window_secs: must be from 0 to {WINDOW_SECS_MAX}")))
        }
        secs => Ok(secs.map(Duration::from_secs)),
    }
}

impl Progress {
    fn new(context: &Context, left: Left) -> Self {
        let plan = context.drainer.plan();
        Self {
            stage: stage_name(context),
            left,
            window_secs: plan.window.as_secs(),
            timeout_secs: plan.timeout.as_secs(),
            elapsed_secs: context.drainer.elapsed().map(|elapsed| elapsed.as_secs_f64()),
        }
    }
}

impl Left {
    fn of(context: &Context) -> Self {
        let stats = || context.shards.iter().map(|shard| shard.stats());
        Self {
            connections: stats().map(|stats| stats.connections_active.get()).sum(),
            sockets: stats().map(|stats| stats.sockets_active.get()).sum(),
        }
    }
}

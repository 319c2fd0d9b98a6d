//! `POST /api/v1/events`: the way in for publishers.
//!
//! The body is one event, an array of events, or one event a line (`application/x-ndjson`,
//! or several lines of plain JSON); one event or an array may also be `MessagePack`. An event
//! is the bare event, or an envelope with `event`, `context` and `idempotency_key`. The answer
//! is JSON.
//!
//! One event is answered by `{"message_id", "seq"}`, with `"duplicate": true` where its
//! idempotency key was known. Several are answered by `{"results", "accepted", "rejected"}`:
//! the good ones are published in their order, together; each refused one has its index,
//! code, path and message. The status is 200 when all were published, 207 when some were,
//! 400 when none was. When the server has no room, nothing is published: 429 with
//! Retry-After; while it shuts down: 503.

use std::sync::Arc;

use axum::body::Body;
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::answer::{Refusal, json};
use super::batch::{self, Items};
use super::body::{self, Kind};
use super::split::{Parts, split};
use super::{Context, State};
use crate::base::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::event::Publish;
use crate::hub::{PublishError, Published};
use crate::protocol::{ErrorCode, PublishItemError, parse_bytes, parse_msgpack};

#[derive(Serialize)]
struct OneAnswer {
    message_id: Uuid,
    seq: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// What the body holds, read.
enum Request {
    One(Box<Result<Publish, PublishItemError>>),
    Many(Items),
}

pub(super) async fn publish(
    extract::State(state): extract::State<Arc<State>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let kind = body::kind(&headers)?;
    let key = idempotency_key(&headers)?;
    let (bytes, _budget) = state.bodies.read(&headers, body).await?;
    let now = state.context.clock.wall();
    match body::process(bytes, move |bytes| read(kind, bytes, now)).await?? {
        Request::One(item) => publish_one(&state.context, (*item)?, key).await,
        Request::Many(_) if key.is_some() => Err(key_refusal(
            "Idempotency-Key stands for one event; give each of several its own idempotency_key",
        )),
        Request::Many(items) => Ok(batch::publish(&state.context, items).await?.into_response()),
    }
}

fn read(kind: Kind, bytes: &[u8], now: jiff::Timestamp) -> Result<Request, Refusal> {
    let parse = match kind {
        Kind::Json | Kind::Lines => parse_bytes,
        Kind::MessagePack => parse_msgpack,
    };
    Ok(match split(kind, bytes)? {
        Parts::One(event) => Request::One(Box::new(parse(event, now))),
        Parts::Many(events) => {
            Request::Many(events.into_iter().map(|event| parse(event, now)).collect())
        }
    })
}

async fn publish_one(
    context: &Context,
    mut publish: Publish,
    key: Option<String>,
) -> Result<Response, Refusal> {
    match (&publish.idempotency_key, key) {
        (Some(inside), Some(outside)) if *inside != outside => {
            return Err(key_refusal("Idempotency-Key and idempotency_key differ"));
        }
        (None, Some(key)) => publish.idempotency_key = Some(key),
        _ => {}
    }
    let published = context.publisher.publish(vec![publish])?.await?;
    let Some(Published { message_id, seq, duplicate }) = published.first().copied() else {
        return Err(PublishError::Stopped.into());
    };
    Ok(json(200, &OneAnswer { message_id, seq, duplicate }))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.into())),
        _ => Err(key_refusal("Idempotency-Key has 1 to 256 visible ASCII characters")),
    }
}

fn key_refusal(message: &str) -> Refusal {
    PublishItemError {
        code: ErrorCode::InvalidMessage,
        path: "idempotency_key".into(),
        message: message.into(),
    }
    .into()
}

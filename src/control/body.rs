//! Takes the body of a request: its kind, its size, and the memory of all together bounded.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::Refusal;
use crate::base::limits::{PUBLISH_BODIES_BYTES_MAX, PUBLISH_BODY_BYTES_MAX};
use crate::base::logged::Logged;
use crate::protocol::ErrorCode;

/// A sender that is slower than this is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// One permit of the budget.
const PERMIT_BYTES: usize = 64 * 1024;
/// Bodies above this are read into events off the thread that answers everybody.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// What the content type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    /// One JSON value a line.
    Lines,
    MessagePack,
}

/// Memory for the bodies of all requests that are being answered.
#[derive(Debug)]
pub struct BodyBudget(Semaphore);

impl BodyBudget {
    pub fn new() -> Self {
        Self(Semaphore::new(PUBLISH_BODIES_BYTES_MAX / PERMIT_BYTES))
    }

    /// Reads a body. Its memory is accounted for until the permit is dropped.
    ///
    /// # Errors
    /// Too large, too slow, broken off, or too many others at the same time.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let declared: Option<usize> = declared.and_then(|text| text.parse().ok());
        // A body of unknown length may become the largest.
        let expected = declared.unwrap_or(PUBLISH_BODY_BYTES_MAX);
        if expected > PUBLISH_BODY_BYTES_MAX {
            return Err(too_large());
        }
        let permits = u32::try_from(expected.div_ceil(PERMIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let permit = self.0.try_acquire_many(permits).map_err(|_| {
            let message = "too many large requests at the same time; try again in 1 s";
            Refusal::new(429, ErrorCode::RateLimited, message).retry_after(1)
        })?;
        let read = to_bytes(body, PUBLISH_BODY_BYTES_MAX);
        match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(bytes)) => Ok((bytes, permit)),
            Ok(Err(error)) if is_too_large(&error) => Err(too_large()),
            Ok(Err(_)) => {
                let message = "the body broke off";
                Err(Refusal::new(400, ErrorCode::InvalidMessage, message))
            }
            Err(_) => {
                let message =
                    format!("the body did not arrive within {} s", READ_TIMEOUT.as_secs());
                Err(Refusal::new(408, ErrorCode::InvalidMessage, message))
            }
        }
    }
}

/// Runs `work` on `body`, elsewhere when it will take long.
///
/// # Errors
/// When `work` panicked.
pub async fn process<T: Send + 'static>(
    body: Bytes,
    work: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, Refusal> {
    if body.len() <= INLINE_BYTES_MAX {
        return Ok(work(&body));
    }
    tokio::task::spawn_blocking(move || work(&body)).await.map_err(|error| {
        tracing::error!(%error, "reading a published body failed");
        Refusal::new(500, ErrorCode::Unavailable, "the request could not be read; see the log")
    })
}

/// The kind of body, which must be named: a browser may send other kinds, or none, to this
/// server on behalf of a foreign page without asking first.
///
/// # Errors
/// When it is none of those.
pub fn kind(headers: &HeaderMap) -> Result<Kind, Refusal> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = value.unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Kind::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Kind::Lines),
        "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
            Ok(Kind::MessagePack)
        }
        _ => {
            let said = match value {
                Some(value) => format!("not {}", Logged(value)),
                None => "and it is missing".into(),
            };
            let message = format!(
                "Content-Type must be application/json, application/x-ndjson for one event a \
                 line, or application/msgpack, {said}"
            );
            Err(Refusal::new(415, ErrorCode::Unsupported, message))
        }
    }
}

fn too_large() -> Refusal {
    let message = format!("a request has at most {PUBLISH_BODY_BYTES_MAX} bytes");
    Refusal::new(413, ErrorCode::MessageTooLarge, message)
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

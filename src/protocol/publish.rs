//! What publishers send.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

use super::ErrorCode;
use super::json::{self, JsonError, shortened};
use crate::base::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, NESTING_DEPTH_MAX, PUBLISHED_EVENT_BYTES_MAX,
};
use crate::event::{Context, Payload, PayloadError, Publish};

/// Why an item is not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code} at {path}: {message}")]
pub struct PublishItemError {
    pub code: ErrorCode,
    /// From the item on: `event.incident.severity`; empty for the item as a whole.
    pub path: String,
    pub message: String,
}

/// Reads one item from its text, strictly: see [`json::parse`].
///
/// # Errors
/// As [`parse_item`], and when the text is too large or not acceptable JSON.
pub fn parse_bytes(text: &[u8], now: jiff::Timestamp) -> Result<Publish, PublishItemError> {
    if text.len() > PUBLISHED_EVENT_BYTES_MAX {
        return Err(too_large(String::new(), text.len()));
    }
    let value = json::parse(text, NESTING_DEPTH_MAX)
        .map_err(|JsonError { path, message }| invalid(path, message))?;
    parse_item(value, now)
}

/// Reads one item: the bare event, perhaps with `context` and
/// `idempotency_key` beside its fields, or the envelope
/// `{"event": …, "context": …, "idempotency_key": …}`. Moments that the
/// publisher left out are `now`.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn parse_item(value: Value, now: jiff::Timestamp) -> Result<Publish, PublishItemError> {
    let Value::Object(mut item) = value else {
        return Err(invalid(String::new(), "an event is a JSON object".to_owned()));
    };
    let context = take_context(&mut item)?;
    let idempotency_key = take_idempotency_key(&mut item)?;
    let is_envelope = !item.contains_key("event_type") && item.contains_key("event");
    let (event, prefix) = if is_envelope { (open(item)?, "event.") } else { (item, "") };
    let payload =
        Payload::from_published(event, now).map_err(|PayloadError { path, message }| {
            invalid(shortened(&format!("{prefix}{path}")), shortened(&message))
        })?;
    let bytes = encoded_bytes(&payload);
    if bytes > PUBLISHED_EVENT_BYTES_MAX {
        return Err(too_large(prefix.trim_end_matches('.').to_owned(), bytes));
    }
    Ok(Publish { payload, context, idempotency_key })
}

fn take_context(item: &mut Map<String, Value>) -> Result<Option<Context>, PublishItemError> {
    let Some(value) = item.remove("context") else { return Ok(None) };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        let JsonError { path, message } = json::error_at(error.path(), &message);
        let separator = if path.is_empty() { "" } else { "." };
        invalid(format!("context{separator}{path}"), message)
    })
}

fn take_idempotency_key(item: &mut Map<String, Value>) -> Result<Option<String>, PublishItemError> {
    let error = |message: String| invalid("idempotency_key".to_owned(), message);
    match item.remove("idempotency_key") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => {
            Ok(Some(key))
        }
        Some(Value::String(_)) => {
            Err(error(format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes long")))
        }
        Some(_) => Err(error("must be a string".to_owned())),
    }
}

/// The event of an envelope, which must hold nothing else: what is misspelt
/// there would be lost without a word.
fn open(mut envelope: Map<String, Value>) -> Result<Map<String, Value>, PublishItemError> {
    let event = envelope.remove("event");
    if let Some(stranger) = envelope.keys().next() {
        let message = "unknown field beside `event`; known are context, idempotency_key";
        return Err(invalid(shortened(stranger), message.to_owned()));
    }
    match event {
        Some(Value::Object(event)) => Ok(event),
        _ => Err(invalid("event".to_owned(), "must be an object".to_owned())),
    }
}

/// The size that subscribers are sent. It is bounded beside the size that was
/// received, because defaults and numbers may be written longer.
fn encoded_bytes(payload: &Payload) -> usize {
    struct Counter(usize);

    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    if let Err(error) = serde_json::to_writer(&mut counter, payload) {
        // A counter takes every byte, and no payload has keys other than strings.
        unreachable!("a payload is JSON: {error}");
    }
    counter.0
}

fn too_large(path: String, bytes: usize) -> PublishItemError {
    let message = format!("{bytes} bytes, of at most {PUBLISHED_EVENT_BYTES_MAX}");
    PublishItemError { code: ErrorCode::MessageTooLarge, path, message }
}

fn invalid(path: String, message: String) -> PublishItemError {
    PublishItemError { code: ErrorCode::InvalidMessage, path, message }
}

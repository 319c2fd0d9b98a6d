//! What publishers send.

use std::{fmt, io};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ErrorCode, json, msgpack};
use crate::base::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, NESTING_DEPTH_MAX, PUBLISHED_EVENT_BYTES_MAX,
};
use crate::event::{Context, FieldError, Payload, Publish};

/// Why an item is not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishItemError {
    pub code: ErrorCode,
    /// From the item on: `event.incident.severity`; empty for the item as a whole.
    pub path: String,
    pub message: String,
}

impl std::error::Error for PublishItemError {}

impl fmt::Display for PublishItemError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.path.is_empty() { "" } else { " at " };
        write!(formatter, "{}{at}{}: {}", self.code, self.path, self.message)
    }
}

/// Reads one item from its text, strictly: see [`json::parse`].
///
/// # Errors
/// As [`parse_item`], and when the text is too large or not acceptable JSON.
pub fn parse_bytes(text: &[u8], now: jiff::Timestamp) -> Result<Publish, PublishItemError> {
    check_size("", text.len())?;
    let value = json::parse(text, NESTING_DEPTH_MAX).map_err(invalid)?;
    parse_item(value, now)
}

/// Reads one item from its `MessagePack`, strictly: see [`msgpack::parse`].
///
/// # Errors
/// As [`parse_item`], and when the bytes are too many or not acceptable.
pub fn parse_msgpack(bytes: &[u8], now: jiff::Timestamp) -> Result<Publish, PublishItemError> {
    check_size("", bytes.len())?;
    let value = msgpack::parse(bytes, NESTING_DEPTH_MAX).map_err(invalid)?;
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
    if json::is_deeper_than(&value, NESTING_DEPTH_MAX) {
        return Err(invalid_at("", "nested too deeply"));
    }
    let Value::Object(mut item) = value else {
        return Err(invalid_at("", "an event is an object"));
    };
    let context = take_context(&mut item)?;
    let idempotency_key = take_idempotency_key(&mut item)?;
    let is_envelope = !item.contains_key("event_type") && item.contains_key("event");
    let (event, place) = if is_envelope { (open(item)?, "event") } else { (item, "") };
    let payload =
        Payload::from_published(event, now).map_err(|error| invalid(error.within(place)))?;
    check_size(place, encoded_bytes(&payload, json_bytes(&payload)))?;
    Ok(Publish { payload, context, idempotency_key })
}

/// Holds a publish that a program built to the rules of one that was parsed:
/// lengths, sizes, nesting, and no unknown field that has a known one's name.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn check(publish: &Publish) -> Result<(), PublishItemError> {
    let text = match serde_json::to_vec(&publish.payload) {
        Ok(text) => text,
        Err(error) => return Err(invalid_at("", &error.to_string())),
    };
    check_size("", encoded_bytes(&publish.payload, text.len()))?;
    let value = json::parse(&text, NESTING_DEPTH_MAX).map_err(invalid)?;
    let Value::Object(object) = value else { unreachable!("a payload is an object") };
    Payload::from_object(object).map_err(invalid)?;
    check_size("context", publish.context.as_ref().map_or(0, Context::weight_bytes))?;
    publish.idempotency_key.as_deref().map_or(Ok(()), check_idempotency_key)
}

fn take_context(item: &mut Map<String, Value>) -> Result<Option<Context>, PublishItemError> {
    let value = match item.remove("context") {
        None | Some(Value::Null) => return Ok(None),
        Some(value @ Value::Object(_)) => value,
        // serde would also read a list, field by field.
        Some(_) => return Err(invalid_at("context", "must be an object")),
    };
    let context: Context = serde_path_to_error::deserialize(value).map_err(|error| {
        let error = FieldError::from_serde(error.path(), &error.inner().to_string());
        invalid(error.within("context"))
    })?;
    check_size("context", context.weight_bytes())?;
    Ok(Some(context))
}

fn take_idempotency_key(item: &mut Map<String, Value>) -> Result<Option<String>, PublishItemError> {
    match item.remove("idempotency_key") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) => check_idempotency_key(&key).map(|()| Some(key)),
        Some(_) => Err(invalid_at("idempotency_key", "must be a string")),
    }
}

fn check_idempotency_key(key: &str) -> Result<(), PublishItemError> {
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let message = format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes long");
    Err(invalid_at("idempotency_key", &message))
}

/// The event of an envelope, which must hold nothing else: what is misspelt
/// there would be lost without a word.
fn open(mut envelope: Map<String, Value>) -> Result<Map<String, Value>, PublishItemError> {
    let event = envelope.remove("event");
    if let Some(stranger) = envelope.keys().next() {
        let message = "unknown field; an envelope has event, context and idempotency_key";
        return Err(invalid_at(stranger, message));
    }
    match event {
        Some(Value::Object(event)) => Ok(event),
        _ => Err(invalid_at("event", "must be an object")),
    }
}

/// The size that subscribers are sent, in the encoding that makes it larger, of a payload
/// that is `json_bytes` long in JSON. It is bounded beside the size that was received,
/// because defaults and numbers may be written longer.
fn encoded_bytes(payload: &Payload, json_bytes: usize) -> usize {
    /// What `MessagePack` needs more of than JSON is numbers such as `0.5`: 9 bytes, where
    /// JSON has 3 and a comma.
    const GROWTH_MAX: usize = 3;
    if json_bytes <= PUBLISHED_EVENT_BYTES_MAX / GROWTH_MAX {
        return json_bytes;
    }
    let mut packed = Counter(0);
    msgpack::write(&mut packed, payload);
    json_bytes.max(packed.0)
}

fn json_bytes(payload: &Payload) -> usize {
    let mut json = Counter(0);
    if let Err(error) = serde_json::to_writer(&mut json, payload) {
        // A counter takes every byte, and no payload has keys other than strings.
        unreachable!("a payload is JSON: {error}");
    }
    json.0
}

/// Counts what is written.
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

fn check_size(path: &str, bytes: usize) -> Result<(), PublishItemError> {
    if bytes <= PUBLISHED_EVENT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("{bytes} bytes, of at most {PUBLISHED_EVENT_BYTES_MAX}");
    Err(PublishItemError { code: ErrorCode::MessageTooLarge, path: path.to_owned(), message })
}

fn invalid(error: FieldError) -> PublishItemError {
    let FieldError { path, message } = error;
    PublishItemError { code: ErrorCode::InvalidMessage, path, message }
}

fn invalid_at(path: &str, message: &str) -> PublishItemError {
    invalid(FieldError::new(path, message))
}

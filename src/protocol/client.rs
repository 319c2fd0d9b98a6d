//! What clients say.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Batch, Collapse, ErrorCode, MessageError, Options, json, msgpack};
use crate::base::limits::{NESTING_DEPTH_MAX, SUBSCRIPTION_ID_BYTES_MAX};
use crate::event::{FieldError, shortened};
use crate::filter::{Filter, FilterSpec};

/// A message that was understood. `ref` is the client's own mark for its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// Adds the subscription, or replaces the filters of that id.
    Subscribe {
        subscription_id: String,
        /// What to repeat to the client.
        filters: Box<FilterSpec>,
        /// The same, compiled.
        filter: Box<Filter>,
        /// Where to begin; with what comes next where it is absent.
        from: Option<From>,
        /// Wants to be told how far it has got.
        checkpoints: bool,
        /// How its live events are to be sent.
        options: Options,
        r#ref: Option<Value>,
    },
    Unsubscribe {
        subscription_id: String,
        r#ref: Option<Value>,
    },
    /// Answered with the same text.
    Ping {
        timestamp: String,
        r#ref: Option<Value>,
    },
    Ack {
        message_id: Uuid,
        r#ref: Option<Value>,
    },
    /// Holds events back, or lets them go on.
    FlowControl {
        pause: bool,
        r#ref: Option<Value>,
    },
}

/// Where in the past a subscription is to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// After an event of a sequence.
    Position { epoch: String, after: u64 },
    /// With the events of this moment or later.
    Time(jiff::Timestamp),
}

/// Bytes of a `ref` that is a string.
const REF_BYTES_MAX: usize = 256;

/// Messages of the protocol that this version does not offer.
const MESSAGES_NOT_OFFERED: [&str; 2] = ["authenticate", "checkpoint"];
/// What is a message of its own and no option of `subscribe`.
const NO_OPTION: &str = "flow_control";
const HOW_TO_PUBLISH: &str = "publishing over the socket needs an authenticated connection; publish over HTTP instead: \
     POST /api/v1/events";

/// Asked before a filter is compiled, which is dear: whether a change of subscriptions is allowed.
pub type Permit<'a> = &'a mut dyn FnMut() -> Result<(), MessageError>;

/// Reads one text message. Unknown fields are ignored, save in filters.
///
/// # Errors
/// The answer to send; the connection goes on.
pub fn decode(text: &str) -> Result<ClientMessage, MessageError> {
    decode_with_permit(text, &mut || Ok(()))
}

/// Reads one binary message, as [`decode`] reads a text.
///
/// # Errors
/// The answer to send; the connection goes on.
pub fn decode_msgpack(bytes: &[u8]) -> Result<ClientMessage, MessageError> {
    decode_msgpack_with_permit(bytes, &mut || Ok(()))
}

/// As [`decode`], with the permit to change subscriptions taken as soon as it is known that the
/// message wants to.
///
/// # Errors
/// As there, and what `permit` answers.
pub fn decode_with_permit(text: &str, permit: Permit<'_>) -> Result<ClientMessage, MessageError> {
    decode_value(json::parse(text.as_bytes(), NESTING_DEPTH_MAX).map_err(invalid)?, permit)
}

/// As [`decode_with_permit`], for `MessagePack`.
///
/// # Errors
/// As there.
pub fn decode_msgpack_with_permit(
    bytes: &[u8],
    permit: Permit<'_>,
) -> Result<ClientMessage, MessageError> {
    decode_value(msgpack::parse(bytes, NESTING_DEPTH_MAX).map_err(invalid)?, permit)
}

fn decode_value(value: Value, permit: Permit<'_>) -> Result<ClientMessage, MessageError> {
    let Value::Object(mut object) = value else {
        return Err(MessageError::new(ErrorCode::InvalidMessage, "a message is an object"));
    };
    let subscription_id = match object.get("subscription_id") {
        Some(Value::String(id)) if is_valid_subscription_id(id) => Some(id.clone()),
        _ => None,
    };
    let (r#ref, ref_error) = match take_ref(&mut object) {
        Ok(r#ref) => (r#ref, None),
        Err(error) => (None, Some(error)),
    };
    let decoded = match ref_error {
        Some(error) => Err(error),
        None => decode_object(object, r#ref.clone(), permit),
    };
    decoded.map_err(|error| MessageError { subscription_id, r#ref, ..error })
}

#[derive(Deserialize)]
struct Subscribe {
    subscription_id: String,
    filters: Map<String, Value>,
    resume: Option<ResumeFrom>,
    since: Option<jiff::Timestamp>,
    checkpoints: Option<bool>,
    conflate: Option<bool>,
    batch: Option<Batch>,
    collapse: Option<Collapse>,
}

#[derive(Deserialize)]
struct ResumeFrom {
    epoch: String,
    after: u64,
}

#[derive(Deserialize)]
struct Unsubscribe {
    subscription_id: String,
}

#[derive(Deserialize)]
struct Ping {
    timestamp: String,
}

#[derive(Deserialize)]
struct Ack {
    message_id: Uuid,
}

#[derive(Deserialize)]
struct FlowControl {
    pause: bool,
}

fn decode_object(
    mut object: Map<String, Value>,
    r#ref: Option<Value>,
    permit: Permit<'_>,
) -> Result<ClientMessage, MessageError> {
    let kind = match object.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err(invalid_at("type", "must be a string")),
        None => return Err(invalid_at("type", "missing")),
    };
    match kind.as_str() {
        "subscribe" => decode_subscribe(object, r#ref, permit),
        "unsubscribe" => {
            let Unsubscribe { subscription_id } = typed(object)?;
            check_subscription_id(&subscription_id)?;
            permit()?;
            Ok(ClientMessage::Unsubscribe { subscription_id, r#ref })
        }
        "ping" => {
            let Ping { timestamp } = typed(object)?;
            Ok(ClientMessage::Ping { timestamp, r#ref })
        }
        "ack" => decode_ack(object, r#ref),
        "flow_control" => {
            let FlowControl { pause } = typed(object)?;
            Ok(ClientMessage::FlowControl { pause, r#ref })
        }
        "publish" => Err(MessageError::new(ErrorCode::Unauthorized, HOW_TO_PUBLISH)),
        kind if MESSAGES_NOT_OFFERED.contains(&kind) => Err(not_offered(kind)),
        kind => {
            let message = format!("unknown type of message `{}`", shortened(kind));
            Err(MessageError::new(ErrorCode::Unsupported, message))
        }
    }
}

fn decode_subscribe(
    mut object: Map<String, Value>,
    r#ref: Option<Value>,
    permit: Permit<'_>,
) -> Result<ClientMessage, MessageError> {
    Options::strip(&mut object);
    let asks_for =
        |option: &str| !matches!(object.get(option), None | Some(Value::Null | Value::Bool(false)));
    if asks_for("durable") {
        let message = "a durable subscription needs an authenticated connection, which this \
                       version does not offer yet";
        return Err(MessageError::new(ErrorCode::Unauthorized, message));
    }
    if asks_for(NO_OPTION) {
        return Err(not_offered(&format!("{NO_OPTION} in subscribe")));
    }
    let Subscribe {
        subscription_id,
        filters,
        resume,
        since,
        checkpoints,
        conflate,
        batch,
        collapse,
    } = typed(object)?;
    check_subscription_id(&subscription_id)?;
    let options = Options { conflate: conflate.unwrap_or(false), batch, collapse };
    options.check().map_err(invalid)?;
    let from = match (resume, since) {
        (Some(_), Some(_)) => return Err(invalid_at("since", "cannot be given beside `resume`")),
        (Some(ResumeFrom { epoch, after }), None) => Some(From::Position { epoch, after }),
        (None, since) => since.map(From::Time),
    };
    permit()?;
    let (filters, filter) = decode_filters(filters)?;
    let checkpoints = checkpoints.unwrap_or(from.is_some());
    Ok(ClientMessage::Subscribe {
        subscription_id,
        filters,
        filter,
        from,
        checkpoints,
        options,
        r#ref,
    })
}

/// As written and compiled: compiling is dear enough to be done once.
fn decode_filters(
    filters: Map<String, Value>,
) -> Result<(Box<FilterSpec>, Box<Filter>), MessageError> {
    let bad_filter = |error: FieldError| {
        MessageError::new(ErrorCode::InvalidFilter, error.within("filters").to_string())
    };
    let spec: FilterSpec = from_object(filters).map_err(bad_filter)?;
    match spec.compile() {
        Ok(filter) => Ok((Box::new(spec), Box::new(filter))),
        Err(error) => Err(bad_filter(FieldError::new(&error.path, &error.message))),
    }
}

fn decode_ack(
    object: Map<String, Value>,
    r#ref: Option<Value>,
) -> Result<ClientMessage, MessageError> {
    if !object.contains_key("message_id")
        && let Some(field) = ["seq", "up_to_seq"].into_iter().find(|&it| object.contains_key(it))
    {
        return Err(not_offered(&format!("ack by {field}")));
    }
    let Ack { message_id } = typed(object)?;
    Ok(ClientMessage::Ack { message_id, r#ref })
}

fn take_ref(object: &mut Map<String, Value>) -> Result<Option<Value>, MessageError> {
    match object.remove("ref") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > REF_BYTES_MAX => {
            Err(invalid_at("ref", &format!("longer than {REF_BYTES_MAX} bytes")))
        }
        Some(r#ref @ (Value::String(_) | Value::Number(_))) => Ok(Some(r#ref)),
        Some(_) => Err(invalid_at("ref", "must be a string or a number")),
    }
}

fn check_subscription_id(id: &str) -> Result<(), MessageError> {
    if is_valid_subscription_id(id) {
        return Ok(());
    }
    let message = format!("must be 1 to {SUBSCRIPTION_ID_BYTES_MAX} bytes long");
    Err(invalid_at("subscription_id", &message))
}

fn is_valid_subscription_id(id: &str) -> bool {
    (1..=SUBSCRIPTION_ID_BYTES_MAX).contains(&id.len())
}

fn typed<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, MessageError> {
    from_object(object).map_err(invalid)
}

fn from_object<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Value::Object(object))
        .map_err(|error| FieldError::from_serde(error.path(), &error.inner().to_string()))
}

fn not_offered(what: &str) -> MessageError {
    let message = format!("`{what}` is not offered yet in this version");
    MessageError::new(ErrorCode::Unsupported, message)
}

fn invalid(error: FieldError) -> MessageError {
    MessageError::new(ErrorCode::InvalidMessage, error.to_string())
}

fn invalid_at(path: &str, message: &str) -> MessageError {
    invalid(FieldError::new(path, message))
}

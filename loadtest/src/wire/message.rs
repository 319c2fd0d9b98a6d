//! The server's messages, as far as a load test looks into them.

use serde::Deserialize;
use serde_json::Value;

use crate::priority::{ByPriority, Priority};

/// Where a load event's mark sits in a `system_event`'s metadata.
pub const RUN_KEY: &str = "load_run";
pub const INDEX_KEY: &str = "load_index";
pub const DUE_KEY: &str = "load_due_ns";
pub const SENT_KEY: &str = "load_sent_ns";

/// Of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    MessagePack,
}

/// What a server's message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// With the newest event's seq, where it is told.
    Welcome {
        seq: Option<u64>,
    },
    Subscribed,
    Event(EventFacts),
    Dropped(Dropped),
    Closing,
    Error {
        code: String,
        message: String,
    },
    /// Of a type that does not matter here.
    Other,
}

/// What is remembered of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    pub seq: Option<u64>,
    pub priority: Option<Priority>,
    /// Absent for events that no load test published.
    pub mark: Option<Mark>,
}

/// What the server shed for a connection since the last such notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Dropped {
    /// The first and the last event that were shed.
    pub from_seq: u64,
    pub to_seq: u64,
    pub counts: ByPriority<u64>,
}

/// What the publisher writes into each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Tells one run's events from another's.
    pub run: u64,
    /// From zero, in publishing order.
    pub index: u32,
    /// When it should have been published, on [`crate::clock::now_ns`].
    pub due_ns: u64,
    /// When its request was made, the last one where the server asked to wait.
    pub sent_ns: u64,
}

/// The text is not one of the server's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an object with a `type`")]
pub struct MessageError;

/// Reads a message in JSON.
///
/// # Errors
/// When it is not JSON (or not UTF-8), or has no type.
pub fn read(text: &[u8]) -> Result<Message, MessageError> {
    understand(&serde_json::from_slice(text).map_err(|_| MessageError)?)
}

/// Reads a message.
///
/// # Errors
/// When it is not in that encoding, or has no type.
pub fn read_as(encoding: Encoding, payload: &[u8]) -> Result<Message, MessageError> {
    match encoding {
        Encoding::Json => read(payload),
        Encoding::MessagePack => {
            understand(&rmp_serde::from_slice(payload).map_err(|_| MessageError)?)
        }
    }
}

fn understand(value: &Value) -> Result<Message, MessageError> {
    let seq = value.get("seq").and_then(Value::as_u64);
    let string = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    match value.get("type").and_then(Value::as_str).ok_or(MessageError)? {
        "event" => {
            let priority = value.get("priority").and_then(Value::as_str).and_then(Priority::named);
            Ok(Message::Event(EventFacts { seq, priority, mark: mark(value) }))
        }
        "dropped" => Dropped::deserialize(value).map(Message::Dropped).map_err(|_| MessageError),
        "welcome" => Ok(Message::Welcome { seq }),
        "subscribed" => Ok(Message::Subscribed),
        "closing" => Ok(Message::Closing),
        "error" => Ok(Message::Error { code: string("code"), message: string("message") }),
        _ => Ok(Message::Other),
    }
}

fn mark(message: &Value) -> Option<Mark> {
    let metadata = message.get("event")?.get("metadata")?;
    let number = |key: &str| metadata.get(key)?.as_str()?.parse::<u64>().ok();
    let index = u32::try_from(number(INDEX_KEY)?).ok()?;
    let due_ns = number(DUE_KEY)?;
    let sent_ns = number(SENT_KEY).unwrap_or(due_ns);
    Some(Mark { run: number(RUN_KEY)?, index, due_ns, sent_ns })
}

/// Seq and priority of an event, from the text's beginning as Alarmcast writes it: for floods
/// that are too large to read whole. None for all else, which [`read`] reads.
pub fn event_head(text: &[u8]) -> Option<(u64, Priority)> {
    /// Message id and timestamp come before.
    const HEAD_BYTES_MAX: usize = 256;
    let head = text.strip_prefix(br#"{"type":"event","message_id":""#)?;
    let head = std::str::from_utf8(&head[..head.len().min(HEAD_BYTES_MAX)])
        .or_else(|error| std::str::from_utf8(&head[..error.valid_up_to()]))
        .ok()?;
    let (_, rest) = head.split_once(r#"","seq":"#)?;
    let (seq, rest) = rest.split_once(r#","priority":""#)?;
    let (priority, _) = rest.split_once('"')?;
    Some((seq.parse().ok()?, Priority::named(priority)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_event_is_known_by_its_mark() {
        let text =
            br#"{"type":"event","message_id":"m","seq":7,"priority":"low","event":{"event_type":"system_event",
            "metadata":{"load_run":"9","load_index":"3","load_due_ns":"123","load_sent_ns":"124"}}}"#;
        let mark = Some(Mark { run: 9, index: 3, due_ns: 123, sent_ns: 124 });
        let facts = EventFacts { seq: Some(7), priority: Some(Priority::Low), mark };
        assert_eq!(read(text), Ok(Message::Event(facts)));
        assert_eq!(event_head(text), Some((7, Priority::Low)));
    }

    #[test]
    fn only_an_events_beginning_has_a_head() {
        for text in [
            "",
            r#"{"type":"pong"}"#,
            r#"{"type":"event","message_id":"m"}"#,
            r#"{"type":"event","message_id":"m","seq":x,"priority":"low"}"#,
            r#"{"type":"event","message_id":"m","seq":1,"priority":"lower"}"#,
        ] {
            assert_eq!(event_head(text.as_bytes()), None, "{text}");
        }
        let long = format!(
            r#"{{"type":"event","message_id":"m","seq":3,"priority":"high","é{}"#,
            "é".repeat(300)
        );
        assert_eq!(event_head(long.as_bytes()), Some((3, Priority::High)));
    }

    #[test]
    fn both_encodings_say_the_same() {
        let text = br#"{"type":"event","seq":7,"priority":"low","event":{"metadata":{
            "load_run":"9","load_index":"3","load_due_ns":"123"}}}"#;
        let value: Value = serde_json::from_slice(text).expect("JSON");
        let packed = rmp_serde::to_vec_named(&value).expect("a value has a form");
        let read = read_as(Encoding::MessagePack, &packed);
        assert_eq!(read, read_as(Encoding::Json, text));
        assert!(matches!(read, Ok(Message::Event(EventFacts { mark: Some(_), .. }))), "{read:?}");
        assert_eq!(read_as(Encoding::MessagePack, &packed[1..]), Err(MessageError));
    }

    #[test]
    fn what_was_dropped_is_told_by_priority() {
        let text = br#"{"type":"dropped","from_seq":17,"to_seq":41,
            "counts":{"low":12,"normal":3,"high":1},"reason":"slow_consumer"}"#;
        let counts = ByPriority { critical: 0, high: 1, normal: 3, low: 12 };
        let dropped = Dropped { from_seq: 17, to_seq: 41, counts };
        assert_eq!(read(text), Ok(Message::Dropped(dropped)));
    }

    #[test]
    fn strangers_events_have_no_mark() {
        for event in [r#"{}"#, r#"{"metadata":3}"#, r#"{"metadata":{"load_run":9}}"#, "null"] {
            let text = format!(r#"{{"type":"event","event":{event}}}"#);
            let facts = EventFacts { seq: None, priority: None, mark: None };
            assert_eq!(read(text.as_bytes()), Ok(Message::Event(facts)));
        }
    }

    #[test]
    fn what_has_no_type_is_no_message() {
        for text in ["", "{", "[]", "{}", r#"{"type":3}"#] {
            assert_eq!(read(text.as_bytes()), Err(MessageError), "{text}");
        }
        assert_eq!(read(b"{\"type\":\"\xff\"}"), Err(MessageError));
    }
}

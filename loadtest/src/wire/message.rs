//! The server's messages, as far as a load test looks into them.

use serde_json::Value;

/// Where a load event's mark sits in a `system_event`'s metadata.
pub const RUN_KEY: &str = "load_run";
pub const INDEX_KEY: &str = "load_index";
pub const DUE_KEY: &str = "load_due_ns";

/// What a server's text message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// With the newest event's seq, where it is told.
    Welcome {
        seq: Option<u64>,
    },
    Subscribed,
    Event(EventFacts),
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
    /// Absent for events that no load test published.
    pub mark: Option<Mark>,
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
}

/// The text is not one of the server's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with a `type`")]
pub struct MessageError;

/// Reads a message.
///
/// # Errors
/// When it is not JSON (or not UTF-8), or has no type.
pub fn read(text: &[u8]) -> Result<Message, MessageError> {
    let value: Value = serde_json::from_slice(text).map_err(|_| MessageError)?;
    let seq = value.get("seq").and_then(Value::as_u64);
    let string = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    match value.get("type").and_then(Value::as_str).ok_or(MessageError)? {
        "event" => Ok(Message::Event(EventFacts { seq, mark: mark(&value) })),
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
    Some(Mark { run: number(RUN_KEY)?, index, due_ns: number(DUE_KEY)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_event_is_known_by_its_mark() {
        let text =
            br#"{"type":"event","message_id":"m","seq":7,"event":{"event_type":"system_event",
            "metadata":{"load_run":"9","load_index":"3","load_due_ns":"123"}}}"#;
        let mark = Some(Mark { run: 9, index: 3, due_ns: 123 });
        assert_eq!(read(text), Ok(Message::Event(EventFacts { seq: Some(7), mark })));
    }

    #[test]
    fn strangers_events_have_no_mark() {
        for event in [r#"{}"#, r#"{"metadata":3}"#, r#"{"metadata":{"load_run":9}}"#, "null"] {
            let text = format!(r#"{{"type":"event","event":{event}}}"#);
            let facts = EventFacts { seq: None, mark: None };
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

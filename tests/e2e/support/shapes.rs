//! What the server's messages look like: every field with its type.

use serde_json::Value;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text,
    Uuid,
    /// RFC 3339.
    Time,
    /// Not negative, without a fraction.
    Count,
    Object,
    /// As the client sent it.
    Mark,
}

#[derive(Debug)]
pub struct Shape {
    pub message: &'static str,
    /// Fields that existing clients rely on.
    pub base: &'static [(&'static str, Kind)],
    /// Further ones that are always there.
    pub extended: &'static [(&'static str, Kind)],
    /// Further ones that may be there.
    pub optional: &'static [(&'static str, Kind)],
}

use Kind::{Count, Mark, Object, Text, Time, Uuid};

pub const SHAPES: &[Shape] = &[
    Shape {
        message: "welcome",
        base: &[("session_id", Uuid), ("server_time", Time)],
        extended: &[
            ("epoch", Text),
            ("seq", Count),
            ("protocol", Text),
            ("heartbeat_interval_secs", Count),
            ("limits", Object),
        ],
        optional: &[],
    },
    Shape {
        message: "subscribed",
        base: &[("subscription_id", Text), ("filters", Object)],
        extended: &[],
        optional: &[("ref", Mark)],
    },
    Shape {
        message: "unsubscribed",
        base: &[("subscription_id", Text)],
        extended: &[],
        optional: &[("ref", Mark)],
    },
    Shape {
        message: "pong",
        base: &[("timestamp", Text)],
        extended: &[],
        optional: &[("ref", Mark)],
    },
    Shape {
        message: "event",
        base: &[("message_id", Uuid), ("timestamp", Time), ("event", Object)],
        extended: &[("seq", Count), ("priority", Text)],
        optional: &[],
    },
    Shape {
        message: "error",
        base: &[("code", Text), ("message", Text)],
        extended: &[],
        optional: &[("subscription_id", Text), ("ref", Mark)],
    },
    Shape {
        message: "closing",
        base: &[("reason", Text)],
        extended: &[("code", Count)],
        optional: &[("retry_after_ms", Count), ("resume", Object)],
    },
];

/// Checks that a message is one of the base protocol's, with at least that one's fields, and
/// each in the type that existing clients know.
#[track_caller]
pub fn assert_base(message: &Value) {
    for (field, kind) in shape_of(message).base {
        assert!(kind.describes(&message[field]), "{field} is not {kind:?}: {message}");
    }
}

/// Checks that a message has all of its fields in their types, and no other field.
#[track_caller]
pub fn assert_exact(message: &Value) {
    let shape = shape_of(message);
    for (field, kind) in shape.base.iter().chain(shape.extended) {
        assert!(kind.describes(&message[field]), "{field} is not {kind:?}: {message}");
    }
    for (field, value) in message.as_object().expect("an object") {
        let mut known = shape.base.iter().chain(shape.extended).chain(shape.optional);
        let known = known.find(|(name, _)| name == field);
        match known {
            Some((_, kind)) => assert!(kind.describes(value), "{field} is not {kind:?}: {message}"),
            None => assert_eq!(field, "type", "unknown field: {message}"),
        }
    }
}

#[track_caller]
fn shape_of(message: &Value) -> &'static Shape {
    let shape = SHAPES.iter().find(|shape| message["type"] == shape.message);
    shape.unwrap_or_else(|| panic!("not a message of the base protocol: {message}"))
}

impl Kind {
    fn describes(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Text => text.is_some_and(|text| !text.is_empty()),
            Self::Uuid => text.is_some_and(|text| text.parse::<uuid::Uuid>().is_ok()),
            Self::Time => text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            Self::Count => value.is_u64(),
            Self::Object => value.is_object(),
            Self::Mark => value.is_string() || value.is_number(),
        }
    }
}

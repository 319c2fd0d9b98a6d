use std::fmt;
use std::str::FromStr;

/// How messages are written on one connection. The model is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// JSON in text frames; also what is spoken where nothing is negotiated.
    #[default]
    Json = 0,
    /// `MessagePack` in binary frames: named maps, with UUIDs and timestamps as strings.
    MessagePack = 1,
}

/// A name that stands for no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an encoding is json or msgpack")]
pub struct UnknownEncoding;

impl Encoding {
    /// Every member, in declared order.
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in a query and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
        }
    }

    /// The WebSocket subprotocol that stands for it (RFC 6455 section 1.9).
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "alarmcast.v1.json",
            Self::MessagePack => "alarmcast.v1.msgpack",
        }
    }

    /// The encoding that a subprotocol stands for, where it is one of ours.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        Self::ALL.into_iter().find(|encoding| encoding.as_str() == name).ok_or(UnknownEncoding)
    }
}

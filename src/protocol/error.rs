use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::server::ServerMessage;

/// Why something was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not a message of the protocol.
    InvalidMessage,
    /// A message or option that this server does not offer.
    Unsupported,
    /// What the message names does not exist.
    NotFound,
    /// Needs an authenticated connection.
    Unauthorized,
    /// Too much at once; later it will do.
    RateLimited,
    /// A filter that cannot be used.
    InvalidFilter,
    /// Authenticated, and not allowed.
    Forbidden,
    /// Larger than the limit.
    MessageTooLarge,
    /// The connection holds as many subscriptions as it may.
    TooManySubscriptions,
    /// The server holds as many connections as it may.
    TooManyConnections,
    /// The token was good once.
    TokenExpired,
    /// The server cannot do it now; later it will do.
    Unavailable,
    /// The events that were asked for are not held any more.
    HistoryExpired,
    /// The position is one of another sequence.
    EpochChanged,
}

impl ErrorCode {
    pub const ALL: [Self; 14] = [
        Self::InvalidMessage,
        Self::Unsupported,
        Self::NotFound,
        Self::Unauthorized,
        Self::RateLimited,
        Self::InvalidFilter,
        Self::Forbidden,
        Self::MessageTooLarge,
        Self::TooManySubscriptions,
        Self::TooManyConnections,
        Self::TokenExpired,
        Self::Unavailable,
        Self::HistoryExpired,
        Self::EpochChanged,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::Unsupported => "UNSUPPORTED",
            Self::NotFound => "NOT_FOUND",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::RateLimited => "RATE_LIMITED",
            Self::InvalidFilter => "INVALID_FILTER",
            Self::Forbidden => "FORBIDDEN",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::TooManySubscriptions => "TOO_MANY_SUBSCRIPTIONS",
            Self::TooManyConnections => "TOO_MANY_CONNECTIONS",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::Unavailable => "UNAVAILABLE",
            Self::HistoryExpired => "HISTORY_EXPIRED",
            Self::EpochChanged => "EPOCH_CHANGED",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The answer to a client message that was refused. The connection goes on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct MessageError {
    pub code: ErrorCode,
    /// For people; cut so that a long value does not come back whole.
    pub message: String,
    /// The subscription concerned, where it could be read.
    pub subscription_id: Option<String>,
    /// The client's own mark, where it could be read.
    pub r#ref: Option<Value>,
    /// When the same message makes sense again, where time is what is missing.
    pub retry_after_ms: Option<u64>,
}

impl MessageError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            subscription_id: None,
            r#ref: None,
            retry_after_ms: None,
        }
    }

    /// What the client is told.
    pub fn as_message(&self) -> ServerMessage<'_> {
        ServerMessage::Error {
            code: self.code,
            message: &self.message,
            subscription_id: self.subscription_id.as_deref(),
            r#ref: self.r#ref.as_ref(),
            retry_after_ms: self.retry_after_ms,
        }
    }
}

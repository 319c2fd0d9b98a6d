use std::fmt;

/// Why a connection ends (RFC 6455 section 7.4). Private codes tell the client
/// what to do: 4000–4499 reconnect, 4500–4999 do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    Normal = 1000,
    /// The server stops; another may answer.
    GoingAway = 1001,
    /// The client broke RFC 6455.
    ProtocolError = 1002,
    /// A kind of data that is not taken here.
    UnsupportedData = 1003,
    InvalidUtf8 = 1007,
    PolicyViolation = 1008,
    MessageTooBig = 1009,
    /// A fault of the server.
    InternalError = 1011,
    TryAgainLater = 1013,
    /// This server is being emptied: reconnect.
    Drain = 4001,
    /// Nothing was heard for too long.
    Idle = 4008,
    /// The client reads more slowly than events come.
    SlowConsumer = 4009,
    /// Renew the token, then reconnect.
    TokenExpired = 4010,
    RateLimited = 4029,
    Unauthorized = 4501,
    Forbidden = 4503,
    /// A newer connection took over the durable consumer.
    Replaced = 4509,
}

impl CloseCode {
    pub const ALL: [Self; 17] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::PolicyViolation,
        Self::MessageTooBig,
        Self::InternalError,
        Self::TryAgainLater,
        Self::Drain,
        Self::Idle,
        Self::SlowConsumer,
        Self::TokenExpired,
        Self::RateLimited,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Replaced,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code behind the number, where the protocol has one.
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code() == number)
    }

    /// The `reason` of `closing`; the close frame's own is a sentence for people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::PolicyViolation => "policy_violation",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::TryAgainLater => "try_again_later",
            Self::Drain => "drain",
            Self::Idle => "idle",
            Self::SlowConsumer => "slow_consumer",
            Self::TokenExpired => "token_expired",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Replaced => "replaced",
        }
    }

    /// Whether a client does well to connect again.
    pub const fn invites_reconnect(self) -> bool {
        match self {
            Self::GoingAway
            | Self::InternalError
            | Self::TryAgainLater
            | Self::Drain
            | Self::Idle
            | Self::SlowConsumer
            | Self::TokenExpired
            | Self::RateLimited => true,
            Self::Normal
            | Self::ProtocolError
            | Self::UnsupportedData
            | Self::InvalidUtf8
            | Self::PolicyViolation
            | Self::MessageTooBig
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Replaced => false,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_codes_tell_whether_to_reconnect() {
        for code in CloseCode::ALL.into_iter().filter(|code| code.code() >= 4000) {
            assert_eq!(code.invites_reconnect(), code.code() < 4500, "{code}");
        }
    }

    #[test]
    fn a_reason_fits_a_close_frame_beside_its_code() {
        for code in CloseCode::ALL {
            assert!(code.reason().len() <= 123);
        }
    }
}

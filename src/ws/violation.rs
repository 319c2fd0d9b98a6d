//! What a peer did wrong, and the close code that tells it so.

use thiserror::Error;
use tungstenite::protocol::frame::coding::CloseCode;

/// The peer broke RFC 6455 or a limit: the connection is to be failed (section
/// 7.1.7) with a close frame of this code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason} (close code {code})")]
pub struct Violation {
    /// 1002, 1007, 1008 or 1009 of RFC 6455 section 7.4.1.
    pub code: u16,
    pub reason: &'static str,
}

impl Violation {
    /// 1002: the bytes are not the protocol.
    pub(super) fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::Protocol.into(), reason }
    }

    /// 1007: text that is not UTF-8.
    pub(super) fn not_utf8() -> Self {
        Self { code: CloseCode::Invalid.into(), reason: "text must be UTF-8" }
    }

    /// 1008: more fragments than allowed.
    pub(super) fn fragments() -> Self {
        Self { code: CloseCode::Policy.into(), reason: "message has too many fragments" }
    }

    /// 1009: more bytes than allowed.
    pub(super) fn too_big() -> Self {
        Self { code: CloseCode::Size.into(), reason: "message is too big" }
    }
}

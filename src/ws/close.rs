//! The close frame's payload (RFC 6455 sections 5.5.1 and 7.4).

use tungstenite::protocol::frame::coding::{CloseCode, Control, OpCode};

use super::frame::{header_bytes, put_header};
use super::header::CONTROL_PAYLOAD_BYTES_MAX;
use super::violation::Violation;

/// Bytes of a close reason: a control payload less the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// Registered after RFC 6455 (bad gateway); tungstenite does not know it.
const BAD_GATEWAY: u16 = 1014;

/// A whole close frame. A longer reason is cut at a character's boundary.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    debug_assert!(is_code_allowed(code), "close code {code} may not be sent");
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    let payload_bytes = 2 + reason.len();
    let mut out = Vec::with_capacity(header_bytes(payload_bytes) + payload_bytes);
    put_header(&mut out, OpCode::Control(Control::Close), payload_bytes);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
    out
}

/// Reads a close frame's payload: nothing, or a code and a reason.
///
/// # Errors
/// 1002 for a payload of one byte or a code that may not be sent, 1007 for a
/// reason that is not UTF-8.
pub fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::protocol("close payload must be empty or start with a code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_code_allowed(code) {
        return Err(Violation::protocol("close code is not allowed"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::not_utf8())?;
    Ok(Some((code, reason)))
}

/// Whether a peer may put this code into a close frame (RFC 6455 section 7.4 and
/// the registry that it founded).
pub fn is_code_allowed(code: u16) -> bool {
    code == BAD_GATEWAY || CloseCode::from(code).is_allowed()
}

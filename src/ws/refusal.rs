//! The answer to a handshake that is not accepted.

use http::StatusCode;

use crate::base::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX};

/// Why a handshake is refused. The connection closes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What the client is to do.
    pub reason: &'static str,
    /// Seconds after which trying again makes sense.
    pub retry_after_secs: Option<u32>,
}

impl Refusal {
    pub fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason, retry_after_secs: None }
    }

    /// Adds a `Retry-After` of so many seconds.
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_secs: Some(seconds), ..self }
    }

    /// The complete response, with a JSON body of `code` and `message`.
    pub fn response(&self) -> Vec<u8> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let phrase = status.canonical_reason().unwrap_or("Refused");
        let code = phrase.to_uppercase().replace([' ', '-'], "_");
        let body = serde_json::json!({ "code": code, "message": self.reason }).to_string();
        let mut response = format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16());
        response.push_str(match status {
            // RFC 9110 section 15.5.22 wants `Upgrade`, and section 7.8 its connection option.
            StatusCode::UPGRADE_REQUIRED => {
                "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            }
            StatusCode::METHOD_NOT_ALLOWED => "Connection: close\r\nAllow: GET\r\n",
            _ => "Connection: close\r\n",
        });
        if let Some(seconds) = self.retry_after_secs {
            response.push_str(&format!("Retry-After: {seconds}\r\n"));
        }
        let length = body.len();
        response.push_str("Content-Type: application/json\r\n");
        response.push_str(&format!("Content-Length: {length}\r\n\r\n{body}"));
        response.into_bytes()
    }

    pub(crate) fn bad_request(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    pub(super) fn too_large() -> Self {
        const { assert!(HANDSHAKE_BYTES_MAX == 16 * 1024 && HANDSHAKE_HEADERS_MAX == 100) };
        Self::new(431, "send at most 16 KiB and 100 header fields")
    }
}

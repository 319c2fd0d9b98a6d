//! Answers: refusals with a code and a reason, and JSON with a status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::hub::PublishError;
use crate::protocol::{ErrorCode, PublishItemError};

/// A request that was refused as a whole.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    code: ErrorCode,
    path: String,
    message: String,
    retry_after_secs: Option<u64>,
    first_seq: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: ErrorCode,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<u64>,
}

impl Refusal {
    pub fn new(status: u16, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            path: String::new(),
            message: message.into(),
            retry_after_secs: None,
            first_seq: None,
        }
    }

    /// The events that were asked for are not held, but those from `first_seq` on.
    pub fn gone(code: ErrorCode, message: impl Into<String>, first_seq: u64) -> Self {
        Self { first_seq: Some(first_seq), ..Self::new(410, code, message) }
    }

    /// As [`Refusal::gone`], because they are too old.
    pub fn expired(first_seq: u64) -> Self {
        let message = format!("history begins with event {first_seq}: reload, then go on after it");
        Self::gone(ErrorCode::HistoryExpired, message, first_seq)
    }

    /// Tells the client when another attempt makes sense.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds.max(1));
        self
    }

    /// The status to use where senders give up on 4xx and come back after 5xx.
    pub fn into_server_error(mut self) -> Self {
        if self.status == 429 {
            self.status = 503;
            self.code = ErrorCode::Unavailable;
        }
        self
    }
}

impl From<PublishItemError> for Refusal {
    fn from(error: PublishItemError) -> Self {
        let status = match error.code {
            ErrorCode::MessageTooLarge => 413,
            _ => 400,
        };
        Self { path: error.path, ..Self::new(status, error.code, error.message) }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::Full { retry_after, .. } => {
                Self::new(429, ErrorCode::RateLimited, message).retry_after(retry_after.as_secs())
            }
            PublishError::TooLarge { .. } => Self::new(413, ErrorCode::MessageTooLarge, message),
            PublishError::Draining { retry_after } => {
                Self::new(503, ErrorCode::Unavailable, message).retry_after(retry_after.as_secs())
            }
            PublishError::Invalid(_) => Self::new(400, ErrorCode::InvalidMessage, message),
            PublishError::Stopped => Self::new(503, ErrorCode::Unavailable, message).retry_after(1),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { code, message, path, first_seq, .. } = &self;
        let body = Body { code: *code, message, path, first_seq: *first_seq };
        let mut response = json(self.status, &body);
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// `body` as JSON under `status`.
pub fn json(status: u16, body: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (status, [kind], bytes).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

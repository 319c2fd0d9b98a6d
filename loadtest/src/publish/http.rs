//! What the publishers over HTTP have in common.

use std::time::Duration;

use ureq::http::Response;
use ureq::http::header::RETRY_AFTER;
use ureq::{Agent, Body};

use super::WAIT_DEFAULT;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A client that keeps its connection and takes every status for an answer.
pub fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(ANSWER_TIMEOUT));
    config.build().new_agent()
}

/// How long to wait when the server is full; absent when it is not.
pub fn retry_after(response: &Response<Body>) -> Option<Duration> {
    if !matches!(response.status().as_u16(), 429 | 503) {
        return None;
    }
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    Some(asked.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX))
}

/// The beginning of an answer, for a message.
pub fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(200).collect()
}

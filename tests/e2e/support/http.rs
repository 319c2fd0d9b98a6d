//! HTTP as any client speaks it.

use serde_json::Value;
use ureq::Agent;

use super::wait::DEADLINE;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub content_type: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub fn assert_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The time to wait is told in whole seconds (RFC 9110 section 10.2.3).
    #[track_caller]
    pub fn assert_retry_after(&self) {
        let seconds = self.retry_after.as_deref().and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0), "{self:?}");
    }

    fn read(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().expect("a header in ASCII").to_owned())
        };
        let (retry_after, content_type) = (header("retry-after"), header("content-type"));
        Self {
            status: response.status().as_u16(),
            retry_after,
            content_type: content_type.unwrap_or_default(),
            body: response.body_mut().read_to_string().expect("a body in UTF-8"),
        }
    }
}

pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(DEADLINE))
        .build()
        .new_agent()
}

#[track_caller]
pub fn get(agent: &Agent, url: &str) -> Answer {
    let response = agent.get(url).call().unwrap_or_else(|error| panic!("GET {url}: {error}"));
    Answer::read(response)
}

#[track_caller]
pub fn delete(agent: &Agent, url: &str) -> Answer {
    let response = agent.delete(url).call().unwrap_or_else(|error| panic!("DELETE {url}: {error}"));
    Answer::read(response)
}

#[track_caller]
pub fn post(agent: &Agent, url: &str, content_type: &str, body: &[u8]) -> Answer {
    let response = agent
        .post(url)
        .header("content-type", content_type)
        .send(body)
        .unwrap_or_else(|error| panic!("POST {url}: {error}"));
    Answer::read(response)
}

//! The HTTP API as a client of the command line sees it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::{Response, Uri, header};

use super::Failure;
use super::stop::Stop;
use crate::base::logged::Logged;

/// Of `--control`.
pub const DEFAULT_CONTROL: &str = "http://127.0.0.1:9090";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// For a server that says only that it is full.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The control endpoint of a server.
#[derive(Debug)]
pub struct Api {
    agent: Agent,
    base: String,
}

/// What became of one event of a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct ItemResult {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct ItemError {
    pub code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    pub message: String,
}

#[derive(Debug, Deserialize)]
struct Results {
    results: Vec<ItemResult>,
}

/// The answer to a publishing request.
#[derive(Debug)]
pub enum Answer {
    Results(Vec<ItemResult>),
    /// Nothing of the request was taken; try it again.
    Wait {
        after: Duration,
        why: String,
    },
}

/// What a server says, whatever that is.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The server's words of a refusal.
    pub fn refusal(&self) -> String {
        refusal_text(self.status, &self.body)
    }
}

impl Api {
    /// # Errors
    /// When `control` is not an `http://` URL of a host.
    pub fn new(control: &str) -> Result<Self, Failure> {
        let base = control.trim_end_matches('/').to_owned();
        let uri: Option<Uri> = base.parse().ok();
        let usable = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some();
        if !uri.as_ref().is_some_and(usable) {
            return Err(Failure::new(format!(
                "--control takes a URL such as {DEFAULT_CONTROL}, not `{}`",
                Logged(control)
            )));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        Ok(Self { agent, base })
    }

    /// Asks for a path, perhaps with a query; none where nobody answers.
    ///
    /// # Errors
    /// When the answer does not come, or not whole.
    pub fn get(&self, path: &str) -> Result<Option<Reply>, Failure> {
        match self.agent.get(format!("{}{path}", self.base)).call() {
            Ok(response) => self.reply(response).map(Some),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Posts a value as JSON.
    ///
    /// # Errors
    /// When no server answers, or not whole.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<Reply, Failure> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.content_type("application/json");
        let sent = request.send(body.to_string().as_bytes());
        self.reply(sent.map_err(|error| self.explain(&error))?)
    }

    /// Asks for the end of what is at a path.
    ///
    /// # Errors
    /// When no server answers, or not whole.
    pub fn delete(&self, path: &str) -> Result<Reply, Failure> {
        let sent = self.agent.delete(format!("{}{path}", self.base)).call();
        self.reply(sent.map_err(|error| self.explain(&error))?)
    }

    fn reply(&self, mut response: Response<ureq::Body>) -> Result<Reply, Failure> {
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| self.explain(&error))?;
        Ok(Reply { status: response.status().as_u16(), body })
    }

    /// That no server answers, and what to do about it.
    pub fn nobody(&self) -> Failure {
        Failure::new(format!(
            "no server answers at {}: start one with `alarmcast serve`, or pass --control URL",
            self.base
        ))
    }

    /// Posts events, one a line.
    ///
    /// # Errors
    /// When no server answers, or not as this one does.
    pub fn publish(&self, lines: &[u8]) -> Result<Answer, Failure> {
        let url = format!("{}/api/v1/events", self.base);
        let request = self.agent.post(&url).content_type("application/x-ndjson");
        let response = request.send(lines).map_err(|error| self.explain(&error))?;
        let after = retry_after(&response);
        let reply = self.reply(response)?;
        if matches!(reply.status, 429 | 503) {
            return Ok(Answer::Wait { after, why: reply.refusal() });
        }
        match serde_json::from_slice(&reply.body) {
            Ok(Results { results }) => Ok(Answer::Results(results)),
            Err(_) => {
                let text = reply.refusal();
                Err(Failure::new(format!("{} did not take the events: {text}", self.base)))
            }
        }
    }

    /// Like [`Api::publish`], but waits as long as the server asks, `retries` times at most.
    /// Returns how often it had to wait too.
    ///
    /// # Errors
    /// When the server is still full after the last retry; see also [`Api::publish`].
    pub fn publish_patiently(
        &self,
        lines: &[u8],
        retries: u32,
        stop: &Stop,
    ) -> Result<(Vec<ItemResult>, u32), Failure> {
        for attempt in 0.. {
            match self.publish(lines)? {
                Answer::Results(results) => return Ok((results, attempt)),
                Answer::Wait { why, .. } if attempt >= retries => {
                    let message = format!("{why} (gave up after {retries} retries)");
                    return Err(Failure::new(message));
                }
                Answer::Wait { after, .. } => {
                    if stop.wait(after) {
                        return Err(Failure::Interrupted);
                    }
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    fn explain(&self, error: &ureq::Error) -> Failure {
        if is_nobody(error) {
            return self.nobody();
        }
        Failure::new(format!("the request to {} failed: {error}", self.base))
    }
}

fn is_nobody(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        ureq::Error::Timeout(at) => matches!(at, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        _ => false,
    }
}

fn refusal_text(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        code: String,
        message: String,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => format!("{}: {}", Logged(&refused.code), Logged(&refused.message)),
        Err(_) => format!(
            "HTTP {status}, and not in the words of an Alarmcast server: {}",
            Logged(&String::from_utf8_lossy(body))
        ),
    }
}

fn retry_after(response: &Response<ureq::Body>) -> Duration {
    let text = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    seconds.map_or(DEFAULT_WAIT, Duration::from_secs).min(WAIT_MAX)
}

//! A flood of events of all priorities: as fast as the fast subscribers take them.

use std::thread;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;

use crate::Error;
use crate::priority::{ByPriority, Priority};
use crate::publish::of_priority;
use crate::slow::audit::Published;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const WAIT: Duration = Duration::from_millis(200);

/// Publishes, and keeps book of it.
pub struct Publisher {
    agent: Agent,
    url: String,
    texts: ByPriority<String>,
    pub published: Published,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    seq: u64,
}

impl Publisher {
    /// To the control endpoint `http://HOST:PORT`; `event_bytes`: an event's JSON, at least.
    pub fn new(control: &str, event_bytes: usize) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIMEOUT));
        Self {
            agent: config.build().new_agent(),
            url: format!("{}/api/v1/events", control.trim_end_matches('/')),
            texts: ByPriority::from_fn(|priority| text(priority, event_bytes)),
            published: Published::default(),
        }
    }

    /// Publishes one event of each of these priorities, together; gives the highest seq.
    ///
    /// # Errors
    /// When the server does not take them all, or somebody else publishes too.
    pub fn publish(&mut self, priorities: &[Priority]) -> Result<u64, Error> {
        let lines: Vec<&str> =
            priorities.iter().map(|&priority| self.texts[priority].as_str()).collect();
        let Answer { results } = self.post(lines.join("\n").as_bytes())?;
        if results.len() != priorities.len() {
            return Err(Error::Usage("not every event was answered".to_owned()));
        }
        // The urgent ones of a request may get their places before the others.
        let mut places: Vec<_> = results.iter().map(|item| item.seq).zip(priorities).collect();
        places.sort_unstable_by_key(|(seq, _)| *seq);
        let published = &mut self.published;
        if published.priorities.is_empty() {
            published.first_seq = places.first().map_or(0, |(seq, _)| *seq);
        }
        for &(seq, &priority) in &places {
            if seq != published.first_seq + published.priorities.len() as u64 {
                return Err(Error::Usage("somebody else publishes to this server".to_owned()));
            }
            published.push(priority);
        }
        Ok(places.last().map_or(0, |(seq, _)| *seq))
    }

    fn post(&self, body: &[u8]) -> Result<Answer, Error> {
        let failed = |error: ureq::Error| Error::Usage(format!("{}: {error}", self.url));
        loop {
            let request = self.agent.post(&self.url).content_type("application/x-ndjson");
            let mut response = request.send(body).map_err(failed)?;
            let status = response.status().as_u16();
            if matches!(status, 429 | 503) {
                thread::sleep(WAIT);
                continue;
            }
            let text = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
            let text = text.map_err(failed)?;
            return serde_json::from_slice(&text).map_err(|_| {
                let text: String = String::from_utf8_lossy(&text).chars().take(200).collect();
                Error::Usage(format!("{}: HTTP {status}: {text}", self.url))
            });
        }
    }
}

fn text(priority: Priority, event_bytes: usize) -> String {
    let event = |padding: &str| of_priority(priority, padding).to_string();
    event(&"x".repeat(event_bytes.saturating_sub(event("").len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_has_events_of_the_size_asked_for() {
        for priority in Priority::ALL {
            assert_eq!(text(priority, 400).len(), 400);
            assert!(text(priority, 0).len() > 20);
        }
    }
}

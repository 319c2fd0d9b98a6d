//! An open-loop publisher over HTTP: events are due at a steady rate whatever the server does,
//! and carry the moment they were due, so that a stalled server does not look fast.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::header::RETRY_AFTER;

use crate::clock::now_ns;
use crate::filters::resource;
use crate::tally::empty_histogram;
use crate::wire::message::{DUE_KEY, INDEX_KEY, RUN_KEY, SENT_KEY};

/// Events in one request, at most: what became due while the last one was under way.
const BATCH_MAX: u32 = 100;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_DEFAULT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
const TRANSPORT_TRIES: u32 = 3;

/// What to publish.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The control endpoint, `http://HOST:PORT`.
    pub control: String,
    pub run: u64,
    pub events: u32,
    /// Events per second.
    pub rate: f64,
    /// Size of an event's JSON, at least.
    pub event_bytes: usize,
    pub kind: Kind,
}

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Low events for everybody.
    Low,
    /// Low events for so many classes of connections in turn, numbered within each class.
    LowByClass { classes: u32 },
    /// Incidents of severity P0.
    Critical,
}

/// How publishing went.
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub accepted: u32,
    /// Events that were not taken, by error code.
    pub refused: BTreeMap<String, u64>,
    /// How often the server asked to wait (429, 503).
    pub waits: u64,
    /// From the first event's due time to the last answer.
    pub elapsed_ns: u64,
    /// From an event's due time to its answer, in µs: the median and the 99th percentile.
    pub answer_p50_us: u64,
    pub answer_p99_us: u64,
    /// Why publishing ended before all events were out.
    pub failure: Option<String>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Transport(#[from] ureq::Error),
    #[error("HTTP {status}, and not in the words of an Alarmcast server: {text}")]
    Answer { status: u16, text: String },
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    code: String,
}

/// Publishes all events; returns when the last one is answered, or when no server answers, or
/// not as Alarmcast does.
pub fn publish(plan: &Plan) -> Published {
    let mut publisher = Publisher::new(plan);
    let mut answers = empty_histogram();
    let start_ns = now_ns();
    let due_ns = |index: u32| start_ns + (f64::from(index) * 1e9 / plan.rate) as u64;
    let mut next = 0;
    while next < plan.events {
        sleep_until(due_ns(next));
        let now = now_ns();
        let batch_end = plan.events.min(next + BATCH_MAX);
        let due = (next..batch_end).take_while(|&index| due_ns(index) <= now).count() as u32;
        let batch = next..next + due.max(1);
        if let Err(fault) = publisher.post(batch.clone().map(|index| (index, due_ns(index)))) {
            publisher.published.failure = Some(format!("{}: {fault}", publisher.url));
            break;
        }
        let answered = now_ns();
        batch.clone().for_each(|index| {
            answers.saturating_record(answered.saturating_sub(due_ns(index)) / 1_000);
        });
        next = batch.end;
    }
    let mut published = publisher.published;
    published.elapsed_ns = now_ns() - start_ns;
    published.answer_p50_us = answers.value_at_quantile(0.5);
    published.answer_p99_us = answers.value_at_quantile(0.99);
    published
}

fn sleep_until(due_ns: u64) {
    let wait_ns = due_ns.saturating_sub(now_ns());
    if wait_ns > 0 {
        thread::sleep(Duration::from_nanos(wait_ns));
    }
}

struct Publisher<'a> {
    plan: &'a Plan,
    agent: Agent,
    url: String,
    published: Published,
}

impl<'a> Publisher<'a> {
    fn new(plan: &'a Plan) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIMEOUT));
        let agent = config.build().new_agent();
        let url = format!("{}/api/v1/events", plan.control.trim_end_matches('/'));
        Self { plan, agent, url, published: Published::default() }
    }

    /// Posts events until the server has taken or refused each of them.
    fn post(&mut self, events: impl Iterator<Item = (u32, u64)>) -> Result<(), Fault> {
        let events: Vec<_> = events.collect();
        let mut failures = 0;
        loop {
            let sent_ns = now_ns();
            let line = |&(index, due_ns): &(u32, u64)| self.event(index, due_ns, sent_ns);
            let body = events.iter().map(line).collect::<Vec<_>>().join("\n");
            match self.attempt(body.as_bytes()) {
                Ok(None) => return Ok(()),
                Ok(Some(wait)) => {
                    self.published.waits += 1;
                    thread::sleep(wait);
                }
                // The keys of idempotency make it safe to send the same again.
                Err(Fault::Transport(_)) if failures < TRANSPORT_TRIES => {
                    failures += 1;
                    thread::sleep(WAIT_DEFAULT);
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// One request; how long to wait when the server is full.
    fn attempt(&mut self, body: &[u8]) -> Result<Option<Duration>, Fault> {
        let request = self.agent.post(&self.url).content_type("application/x-ndjson");
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        if matches!(status, 429 | 503) {
            let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let asked = asked.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            return Ok(Some(asked.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX)));
        }
        let text = response.body_mut().read_to_vec()?;
        let Ok(Answer { results }) = serde_json::from_slice(&text) else {
            let text = String::from_utf8_lossy(&text).chars().take(200).collect();
            return Err(Fault::Answer { status, text });
        };
        for item in results {
            match item.error {
                None => self.published.accepted += 1,
                Some(ItemError { code }) => *self.published.refused.entry(code).or_default() += 1,
            }
        }
        Ok(None)
    }

    fn event(&self, index: u32, due_ns: u64, sent_ns: u64) -> String {
        let Plan { run, kind, event_bytes, .. } = self.plan;
        let missing_bytes =
            event_bytes.saturating_sub(self.padded(index, due_ns, sent_ns, 0).to_string().len());
        let mut event = self.padded(index, due_ns, sent_ns, missing_bytes);
        let name = if *kind == Kind::Critical { "critical" } else { "load" };
        event["idempotency_key"] = format!("{name}-{run}-{index}").into();
        event.to_string()
    }

    fn padded(&self, index: u32, due_ns: u64, sent_ns: u64, padding_bytes: usize) -> Value {
        const INCIDENT: &str = "019ca8e1-9f40-7000-8000-0000000000aa";
        let text = format!("load event {index} {}", "x".repeat(padding_bytes));
        let metadata = |index: u32| {
            json!({
                RUN_KEY: self.plan.run.to_string(),
                INDEX_KEY: index.to_string(),
                DUE_KEY: due_ns.to_string(),
                SENT_KEY: sent_ns.to_string(),
            })
        };
        let low = |index: u32| {
            json!({
                "event_type": "system_event", "category": "load", "message": text,
                "metadata": metadata(index),
            })
        };
        match self.plan.kind {
            Kind::Low => low(index),
            Kind::LowByClass { classes } => {
                let mut event = low(index / classes);
                event["context"] = json!({"affected_resources": [resource(index % classes)]});
                event
            }
            // Fields that the server does not know, such as metadata here, are passed on.
            Kind::Critical => json!({
                "event_type": "incident_created",
                "incident": {
                    "id": INCIDENT, "severity": "P0", "source": "load", "title": "load",
                    "description": text,
                },
                "metadata": metadata(index),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_asked_for_and_its_mark() {
        let plan = Plan {
            control: "http://127.0.0.1:1".to_owned(),
            run: 7,
            events: 1,
            rate: 1.0,
            event_bytes: 512,
            kind: Kind::Low,
        };
        let text = Publisher::new(&plan).event(3, 9, 10);
        let mut event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["metadata"][INDEX_KEY], "3");
        assert_eq!(event["metadata"][DUE_KEY], "9");
        let key = event.as_object_mut().and_then(|event| event.remove("idempotency_key"));
        assert_eq!(key, Some("load-7-3".into()));
        assert_eq!(event.to_string().len(), 512);
    }

    #[test]
    fn events_of_classes_are_numbered_within_each() {
        let plan = Plan {
            control: "http://127.0.0.1:1".to_owned(),
            run: 7,
            events: 1,
            rate: 1.0,
            event_bytes: 0,
            kind: Kind::LowByClass { classes: 10 },
        };
        let text = Publisher::new(&plan).event(37, 9, 10);
        let event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["metadata"][INDEX_KEY], "3");
        assert_eq!(event["context"]["affected_resources"][0], "class-7");
    }
}

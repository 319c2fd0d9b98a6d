//! Publishing to Alarmcast: one event a line, an answer for each.

use std::thread;

use serde::Deserialize;
use ureq::Agent;

use super::event::event;
use super::http::{agent, retry_after, shown};
use super::{Due, Fault, Plan, Post, Published, WAIT_DEFAULT};
use crate::clock::now_ns;

/// What became due while the last request was under way goes into one, up to this.
const BATCH_MAX: u32 = 100;
const TRANSPORT_TRIES: u32 = 3;

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

pub struct Alarmcast<'a> {
    plan: &'a Plan,
    agent: Agent,
    url: String,
}

impl<'a> Alarmcast<'a> {
    pub fn new(plan: &'a Plan, control: &str) -> Self {
        let url = format!("{}/api/v1/events", control.trim_end_matches('/'));
        Self { plan, agent: agent(), url }
    }

    /// One request; false when the server was full, after the wait that it asked for.
    fn attempt(&self, body: &[u8], published: &mut Published) -> Result<bool, Fault> {
        let request = self.agent.post(&self.url).content_type("application/x-ndjson");
        let mut response = request.send(body)?;
        if let Some(wait) = retry_after(&response) {
            published.waits += 1;
            thread::sleep(wait);
            return Ok(false);
        }
        let text = response.body_mut().read_to_vec()?;
        let Ok(Answer { results }) = serde_json::from_slice(&text) else {
            let status = response.status().as_u16();
            return Err(Fault::Answer { status, text: shown(&text) });
        };
        for item in results {
            match item.error {
                None => published.accepted += 1,
                Some(ItemError { code }) => *published.refused.entry(code).or_default() += 1,
            }
        }
        Ok(true)
    }
}

impl Post for Alarmcast<'_> {
    fn batch_max(&self) -> u32 {
        BATCH_MAX
    }

    fn place(&self) -> &str {
        &self.url
    }

    /// Posts events until the server has taken or refused each of them.
    fn post(&mut self, events: &[Due], published: &mut Published) -> Result<(), Fault> {
        let mut failures = 0;
        loop {
            let sent_ns = now_ns();
            let lines: Vec<_> = events.iter().map(|due| event(self.plan, *due, sent_ns)).collect();
            match self.attempt(lines.join("\n").as_bytes(), published) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // The keys of idempotency make it safe to send the same again.
                Err(Fault::Transport(_)) if failures < TRANSPORT_TRIES => {
                    failures += 1;
                    thread::sleep(WAIT_DEFAULT);
                }
                Err(fault) => return Err(fault),
            }
        }
    }
}

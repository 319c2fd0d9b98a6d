//! What one client was sent and told, taken in as it comes and checked against the model.

use alarmcast::event::Priority;
use serde_json::Value;

use crate::client::{Client, Received};
use crate::model::Expected;

/// By [`Priority::index`], of what the model has matched: the first so many are `passed`, which
/// is to say delivered or missing.
#[derive(Debug, Default)]
pub struct Account {
    /// Frames that were taken in.
    taken: usize,
    passed: [usize; 4],
    missing: [u64; 4],
    /// As `dropped` notices had it.
    dropped: [u64; 4],
    /// The ranges of the notices, first and last.
    told: Vec<(u64, u64)>,
    is_welcome: bool,
    is_subscribed: bool,
    is_paused: bool,
}

impl Account {
    /// Takes in what came since the last call.
    ///
    /// # Panics
    /// When an event came that was not matched, twice, or out of its priority's order; when one
    /// did not come and was not told before the next of its priority; when a message came before
    /// its time.
    pub fn update(&mut self, client: &Client, expected: Option<&Expected>) {
        let nothing = Expected::default();
        let expected = expected.unwrap_or(&nothing);
        for received in &client.received[self.taken..] {
            if let Received::Text(message) | Received::Packed(message) = received {
                self.take_message(message, expected);
            }
        }
        if self.taken < client.received.len() {
            self.taken = client.received.len();
            check_close(client);
        }
    }

    /// What must be true once a client that is still there has read everything.
    ///
    /// # Panics
    /// When delivered and dropped are not together what was matched.
    pub fn settle(&self, expected: &Expected) {
        for priority in Priority::ALL {
            let index = priority.index();
            let matched = expected.matched[index].len() as u64;
            let delivered = self.passed[index] as u64 - self.missing[index];
            let dropped = self.dropped[index];
            assert_eq!(
                delivered + dropped,
                matched,
                "{priority} events: {delivered} delivered, {dropped} dropped, {matched} matched"
            );
        }
    }

    fn take_message(&mut self, message: &Value, expected: &Expected) {
        let kind = message["type"].as_str().expect("a type");
        assert!(self.is_welcome || kind == "welcome", "{kind} before the welcome");
        match kind {
            "welcome" => self.is_welcome = true,
            "subscribed" => self.is_subscribed = true,
            "flow_control" => self.is_paused = message["pause"] == true,
            "event" | "dropped" if self.is_paused => panic!("{message} although it is paused"),
            "event" => self.take_event(message, expected),
            "dropped" => self.take_notice(message),
            "closing" => self.take_position(message, expected),
            _ => {}
        }
    }

    fn take_event(&mut self, event: &Value, expected: &Expected) {
        assert!(self.is_subscribed, "an event before `subscribed`");
        let name = event["priority"].as_str().expect("a priority");
        let index = name.parse::<Priority>().expect("a priority").index();
        let seq = event["seq"].as_u64().expect("a seq");
        let (passed, waiting) = expected.matched[index].split_at(self.passed[index]);
        assert!(waiting.is_sorted(), "{name} events were queued out of order: {waiting:?}");
        let Some(skipped) = waiting.iter().position(|matched| *matched == seq) else {
            assert!(!passed.contains(&seq), "{name} event {seq} came twice or out of order");
            panic!("{name} event {seq} came, and was not matched");
        };
        let mut missing = waiting[..skipped].iter();
        let silent = missing.find(|seq| !self.is_told(**seq));
        assert_eq!(silent, None, "a {name} event is missing at {seq} and nobody was told");
        self.missing[index] += skipped as u64;
        self.passed[index] += skipped + 1;
        let (missing, dropped) = (self.missing[index], self.dropped[index]);
        assert!(missing <= dropped, "{missing} {name} events are missing, {dropped} were told");
    }

    fn take_notice(&mut self, notice: &Value) {
        let place = |name: &str| notice[name].as_u64().expect("a seq");
        let range = (place("from_seq"), place("to_seq"));
        assert!(range.0 <= range.1, "{notice}");
        assert_eq!(notice["reason"], "slow_consumer");
        self.told.push(range);
        for (name, count) in notice["counts"].as_object().expect("counts") {
            let priority: Priority = name.parse().expect("a priority");
            assert_ne!(priority, Priority::Critical, "critical events are never shed");
            self.dropped[priority.index()] += count.as_u64().expect("a count");
        }
    }

    /// Up to the position at which a client is closed, it knows everything.
    fn take_position(&self, closing: &Value, expected: &Expected) {
        let after = closing["resume"]["after"].as_u64().expect("a position");
        for priority in Priority::ALL {
            let index = priority.index();
            let mut rest = expected.matched[index][self.passed[index]..].iter();
            let silent = rest.find(|seq| **seq <= after && !self.is_told(**seq));
            assert_eq!(silent, None, "a {priority} event is behind the position {after}");
        }
    }

    fn is_told(&self, seq: u64) -> bool {
        self.told.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }
}

/// A close of the server's own has its reason in `closing` before it.
fn check_close(client: &Client) {
    if let Some(Received::Close(Some(code))) = client.received.last()
        && !client.is_raw
        && *code != 1000
    {
        assert_eq!(client.closing_code(), Some(u64::from(*code)), "{:?}", client.received);
    }
}

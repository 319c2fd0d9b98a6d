//! What one client was sent and told, taken in as it comes and checked against the model.

use alarmcast::event::Priority;
use serde_json::Value;

use crate::client::{Client, Received};
use crate::model::{Expected, May};

/// By [`Priority::index`], of what the model has matched: the first so many are `passed`, which
/// is to say delivered or missing.
#[derive(Debug, Default)]
pub struct Account {
    /// Frames that were taken in.
    taken: usize,
    passed: [usize; 4],
    missing: [Vec<u64>; 4],
    /// Of these, those that may have been collapsed, which is told later.
    perhaps_collapsed: [u64; 4],
    /// As `dropped` notices had it, whatever the reason.
    dropped: [u64; 4],
    /// As those for newer events had it.
    replaced: [u64; 4],
    /// As `collapsed` messages had it.
    collapsed: [u64; 4],
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
    /// When delivered, dropped and collapsed are not together what was matched, or when more was
    /// replaced or collapsed than may be.
    pub fn settle(&self, expected: &Expected) {
        for priority in Priority::ALL {
            let index = priority.index();
            let matched = expected.matched[index].len() as u64;
            let delivered = (self.passed[index] - self.missing[index].len()) as u64;
            let (dropped, collapsed) = (self.dropped[index], self.collapsed[index]);
            assert_eq!(
                delivered + dropped + collapsed,
                matched,
                "{priority} events: {delivered} delivered, {dropped} dropped, {collapsed} \
                 collapsed, {matched} matched"
            );
            let may = |it: fn(&May) -> bool| {
                let of_priority = expected.matched[index].iter();
                let may = of_priority.filter_map(|seq| expected.optional.get(seq));
                may.filter(|may| it(may)).count() as u64
            };
            let replaced = self.replaced[index];
            assert!(replaced <= may(|it| it.be_replaced), "{replaced} {priority} were replaced");
            assert!(collapsed <= may(|it| it.be_collapsed), "{collapsed} {priority} collapsed");
        }
    }

    fn take_message(&mut self, message: &Value, expected: &Expected) {
        let kind = message["type"].as_str().expect("a type");
        assert!(self.is_welcome || kind == "welcome", "{kind} before the welcome");
        match kind {
            "welcome" => self.is_welcome = true,
            "subscribed" => self.is_subscribed = true,
            "flow_control" => self.is_paused = message["pause"] == true,
            "event" | "batch" | "dropped" if self.is_paused => {
                panic!("{message} although it is paused")
            }
            "event" => self.take_event(message, expected),
            "batch" => {
                let events = message["events"].as_array().expect("a list");
                assert!(events.len() > 1, "{message}");
                for event in events {
                    let may = event["seq"].as_u64().and_then(|seq| expected.optional.get(&seq));
                    assert!(may.is_some_and(|may| may.be_batched), "in a batch: {event}");
                    self.take_event(event, expected);
                }
            }
            "dropped" => self.take_notice(message),
            "collapsed" => self.take_collapsed(message),
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
        let may_collapse =
            |seq: &u64| expected.optional.get(seq).is_some_and(|may| may.be_collapsed);
        let silent = missing.find(|seq| !self.is_told(**seq) && !may_collapse(seq));
        assert_eq!(silent, None, "a {name} event is missing at {seq} and nobody was told");
        let collapsible = waiting[..skipped].iter().filter(|seq| may_collapse(seq)).count();
        self.perhaps_collapsed[index] += collapsible as u64;
        self.missing[index].extend(&waiting[..skipped]);
        self.passed[index] += skipped + 1;
        let (missing, dropped) = (self.missing[index].len() as u64, self.dropped[index]);
        let surely = missing - self.perhaps_collapsed[index];
        assert!(surely <= dropped, "{surely} {name} events are missing, {dropped} were told");
    }

    fn take_notice(&mut self, notice: &Value) {
        let place = |name: &str| notice[name].as_u64().expect("a seq");
        let range = (place("from_seq"), place("to_seq"));
        assert!(range.0 <= range.1, "{notice}");
        let is_conflated = notice["reason"] == "conflated";
        assert!(is_conflated || notice["reason"] == "slow_consumer", "{notice}");
        self.told.push(range);
        for (name, count) in notice["counts"].as_object().expect("counts") {
            let priority: Priority = name.parse().expect("a priority");
            assert_ne!(priority, Priority::Critical, "critical events are never shed");
            let count = count.as_u64().expect("a count");
            self.dropped[priority.index()] += count;
            self.replaced[priority.index()] += u64::from(is_conflated) * count;
        }
    }

    fn take_collapsed(&mut self, collapsed: &Value) {
        let number = |name: &str| collapsed[name].as_u64().expect("a number");
        let range = (number("first_seq"), number("last_seq"));
        assert!(range.0 <= range.1, "{collapsed}");
        self.told.push(range);
        let mut sum = 0;
        for (name, count) in collapsed["counts"].as_object().expect("counts") {
            let priority: Priority = name.parse().expect("a priority");
            let count = count.as_u64().expect("a count");
            self.collapsed[priority.index()] += count;
            sum += count;
        }
        assert_eq!(number("count"), sum, "{collapsed}");
        assert!(sum > 0, "{collapsed}");
    }

    /// Up to the position at which a client is closed, it knows everything.
    fn take_position(&self, closing: &Value, expected: &Expected) {
        let after = closing["resume"]["after"].as_u64().expect("a position");
        for priority in Priority::ALL {
            let index = priority.index();
            let mut rest = expected.matched[index][self.passed[index]..].iter();
            let silent = rest.find(|seq| **seq <= after && !self.is_told(**seq));
            assert_eq!(silent, None, "a {priority} event is behind the position {after}");
            let told = self.dropped[index] + self.collapsed[index];
            let missing = self.missing[index].iter().filter(|seq| **seq <= after).count() as u64;
            assert!(missing <= told, "{missing} {priority} events are missing, {told} were told");
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

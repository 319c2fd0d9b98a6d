//! A slow reader over a real socket: what it is sent and what it is told of add up.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Raw, Server, events};

#[derive(Debug, Default)]
struct Account {
    delivered: BTreeMap<String, u64>,
    dropped: BTreeMap<String, u64>,
}

impl Account {
    fn add(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("event") => {
                let priority = message["priority"].as_str().expect("a priority").to_owned();
                *self.delivered.entry(priority).or_default() += 1;
            }
            Some("dropped") => {
                for (priority, count) in message["counts"].as_object().expect("counts") {
                    let count = count.as_u64().expect("a count");
                    *self.dropped.entry(priority.clone()).or_default() += count;
                }
            }
            _ => panic!("neither sent nor lost: {message}"),
        }
    }

    fn of(counts: &BTreeMap<String, u64>, priority: &str) -> u64 {
        counts.get(priority).copied().unwrap_or(0)
    }

    fn sum(&self) -> u64 {
        self.delivered.values().chain(self.dropped.values()).sum()
    }
}

#[test]
fn a_slow_reader_gets_or_is_told_of_every_event_and_loses_no_critical_one() {
    const ROUNDS_MAX: u32 = 2_000;
    let server = Server::with(&["limits.outbox_messages_max=32"]);
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade_by_name();
    slow.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(slow.message()["type"], "subscribed");
    let mut quick = server.subscriber(&json!({}));
    let (mut published, mut critical) = (0, 0);
    // Until something was shed, and some rounds more.
    let mut rounds_left = ROUNDS_MAX;
    while rounds_left > 0 {
        for event in [events::large("low", 10_000), events::large("low", 10_000)] {
            server.publish(&event);
            quick.expect_event();
            published += 1;
        }
        if rounds_left.is_multiple_of(10) {
            server.publish(&events::created(rounds_left, "P0"));
            quick.expect_event();
            published += 1;
            critical += 1;
        }
        let shed = server.metrics().sum_with("alarmcast_events_shed_total", "priority", "low");
        if shed > 0.0 && rounds_left > 20 {
            rounds_left = 20;
        }
        rounds_left -= 1;
    }
    let mut account = Account::default();
    while account.sum() < published {
        account.add(&slow.message());
    }
    assert_eq!(account.sum(), published, "{account:?}");
    assert_eq!(Account::of(&account.delivered, "critical"), critical, "{account:?}");
    assert!(Account::of(&account.dropped, "low") > 0, "{account:?}");
    let metrics = server.metrics();
    let shed = |priority| metrics.sum_with("alarmcast_events_shed_total", "priority", priority);
    assert_eq!(shed("low") as u64, Account::of(&account.dropped, "low"));
    assert_eq!(shed("critical"), 0.0);
    assert_eq!(metrics.sum("alarmcast_slow_consumers_closed_total"), 0.0);
}

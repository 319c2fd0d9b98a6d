//! A slow reader over a real socket: what it is sent and what it is told of add up.

use alarmcast::event::Priority;
use serde_json::json;

use crate::ledger::{Ledger, Owed};
use crate::support::{Raw, Server, events};

#[test]
fn a_slow_reader_gets_or_is_told_of_every_event_and_loses_no_critical_one() {
    const ROUNDS_MAX: u32 = 2_000;
    let server = Server::with(&["limits.outbox_messages_max=32"]);
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade_by_name();
    slow.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(slow.message()["type"], "subscribed");
    let mut quick = server.subscriber(&json!({}));
    let mut owed = Owed::default();
    // Until something was shed, and some rounds more.
    let mut rounds_left = ROUNDS_MAX;
    while rounds_left > 0 {
        for event in [events::large("low", 10_000), events::large("low", 10_000)] {
            owed.matched[Priority::Low.index()].push(server.publish(&event).seq);
            quick.expect_event();
        }
        if rounds_left.is_multiple_of(10) {
            let receipt = server.publish(&events::created(rounds_left, "P0"));
            owed.matched[Priority::Critical.index()].push(receipt.seq);
            quick.expect_event();
        }
        let shed = server.metrics().sum_with("alarmcast_events_shed_total", "priority", "low");
        if shed > 0.0 && rounds_left > 20 {
            rounds_left = 20;
        }
        rounds_left -= 1;
    }
    let (mut ledger, mut told) = (Ledger::default(), 0);
    while ledger.unsettled(&owed).is_some() {
        let message = slow.message();
        told += message["counts"]["low"].as_u64().unwrap_or(0);
        ledger.take(&message, &owed);
    }
    assert!(told > 0);
    let metrics = server.metrics();
    let shed = |priority| metrics.sum_with("alarmcast_events_shed_total", "priority", priority);
    assert_eq!(shed("low") as u64, told);
    assert_eq!(shed("critical"), 0.0);
    assert_eq!(metrics.sum("alarmcast_slow_consumers_closed_total"), 0.0);
}

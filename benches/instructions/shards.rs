//! The way of connections and events through a shard.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::Work;
use crate::crowd::{Crowd, Network, Simulated, Wishes, event};
use crate::null_shard;

const SUBSCRIBERS: u32 = 200;
const ROUNDS: u64 = 20;

/// For each connection: accept, upgrade, welcome, subscription to everything.
pub fn connect() -> Work {
    Box::new(|| {
        let (_shard, handle) = null_shard::shard(SUBSCRIBERS);
        assert_eq!(handle.stats().subscriptions_active.get(), u64::from(SUBSCRIBERS));
        u64::from(SUBSCRIBERS)
    })
}

/// For each delivery, one of them in each send.
pub fn deliver_one_event() -> Work {
    deliver(1)
}

/// For each delivery, eight of them gathered in each send.
pub fn deliver_eight_events() -> Work {
    deliver(8)
}

fn deliver(events: u64) -> Work {
    let (mut shard, handle) = null_shard::shard(SUBSCRIBERS);
    let event = null_shard::event();
    Box::new(move || {
        for _ in 0..ROUNDS {
            for _ in 0..events {
                assert!(handle.push_event(Arc::clone(&event)).is_ok());
            }
            assert!(matches!((shard.turn(), shard.turn()), (Ok(true), Ok(true))));
        }
        assert_eq!(handle.stats().outbox_bytes.get(), 0);
        ROUNDS * events * u64::from(SUBSCRIBERS)
    })
}

/// For each delivery on the simulated network: both encodings, filters, one event or five in a
/// turn, and some that never read and lose what can be shed.
pub fn deliver_to_a_mixed_crowd() -> Work {
    const READERS: usize = 200;
    const STALLED: usize = 20;
    let mut crowd = Crowd::<Simulated>::new();
    crowd.join(READERS, |number| (wishes(number), usize::MAX));
    crowd.join(STALLED, |number| (wishes(number), 0));
    // Sockets of those that do not read are full, and their lanes as well.
    (0..60).for_each(|round| publish_and_read(&mut crowd, round));
    Box::new(move || {
        let before = crowd.stats.events_delivered.get();
        (0..ROUNDS).for_each(|round| publish_and_read(&mut crowd, round));
        crowd.stats.events_delivered.get() - before
    })
}

fn wishes(number: usize) -> Wishes {
    let filters = match number % 4 {
        0 => json!({"none_of": [{"min_priority": "critical"}]}),
        1 => json!({"min_priority": "high", "none_of": [{"min_priority": "critical"}]}),
        2 => json!({"labels": {"team": {"prefix": "pay"}}, "sources": ["api"]}),
        _ => json!({"severities": ["P0", "P1"]}),
    };
    Wishes {
        subscription_id: format!("subscription {number}"),
        filters,
        is_packed: number % 2 == 1,
        is_versioned: true,
    }
}

fn publish_and_read(crowd: &mut Crowd<Simulated>, round: u64) {
    let events = if round.is_multiple_of(3) { 1 } else { 5 };
    for number in round..round + events {
        let priority = ["low", "normal", "high"][(number % 3) as usize];
        crowd.publish(event(number as usize, priority));
    }
    crowd.turns();
    crowd.read();
    crowd.network.pass(Duration::from_millis(50));
}

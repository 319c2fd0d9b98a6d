//! Memory of idle connections.

use std::time::Duration;

use serde_json::{Value, json};

use crate::crowd::{Crowd, Network, Simulated, Wishes};

/// Bytes for each, when all have the same filter.
pub fn with_a_filter_for_all() -> i64 {
    idle_bytes(|_| json!({"severities": ["P0", "P1"]}))
}

/// Bytes for each, when each has a filter of its own: compiled, interned and indexed for one
/// connection alone.
pub fn with_filters_of_their_own() -> i64 {
    idle_bytes(|number| json!({"labels": {"team": format!("team-{number}")}}))
}

/// Bytes for each of many idle connections with one subscription, everything included that a
/// shard and its driver allocated for them.
fn idle_bytes(filters: impl Fn(usize) -> Value) -> i64 {
    const CONNECTIONS: usize = 10_000;
    let mut crowd = Crowd::<Simulated>::new();
    crowd.join(CONNECTIONS, |number| {
        let subscription_id = format!("subscription-{number}");
        let filters = filters(number);
        (Wishes { subscription_id, filters, is_packed: false, is_versioned: false }, usize::MAX)
    });
    // What the crowd's arrival took for the moment is given back after a while.
    for _ in 0..3 {
        crowd.network.pass(Duration::from_secs(61));
        crowd.publish(json!({"event_type": "system_event", "category": "test", "message": "x"}));
        crowd.turns();
    }
    assert_eq!(crowd.stats.subscriptions_active.get(), CONNECTIONS as u64);
    crowd.counted.live_bytes / CONNECTIONS as i64
}

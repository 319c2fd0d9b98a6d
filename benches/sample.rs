//! An event that benches share.

use alarmcast::base::clock::Instant;
use alarmcast::event::{Event, Publish};
use alarmcast::protocol::parse_bytes;
use serde_json::json;

/// A usual incident, about 1 KB on the wire.
pub fn item() -> String {
    json!({"event_type": "incident_created", "incident": {
        "id": "019ca8e1-9f40-7000-8000-0000000000aa", "severity": "P1", "source": "prometheus",
        "title": "Checkout is slow", "description": "p99 above 2 s for 5 minutes. ".repeat(12),
        "affected_resources": ["checkout", "db-1"],
        "labels": {"team": "team-7", "env": "prod", "region": "eu-1", "service": "checkout"},
    }})
    .to_string()
}

fn publish() -> Publish {
    match parse_bytes(item().as_bytes(), jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    }
}

pub fn event() -> Event {
    let Publish { payload, .. } = publish();
    Event {
        seq: 1,
        message_id: uuid::Uuid::from_u128(1),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        priority: payload.priority(),
        context: payload.own_context(),
        payload,
        accepted_at: Instant::default(),
    }
}

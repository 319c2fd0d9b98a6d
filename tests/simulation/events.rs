//! Events of every priority, small, with something to filter on.

use std::cell::RefCell;
use std::collections::HashMap;

use alarmcast::event::{Priority, Publish};
use alarmcast::protocol::parse_item;
use serde_json::{Value, json};

pub const SOURCES: [&str; 3] = ["api", "db", "edge"];

fn publish(item: Value) -> Publish {
    match parse_item(item, jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    }
}

fn incident(severity: &str, source: &str) -> Value {
    json!({
        "id": "019ca8e1-9f40-7000-8000-0000000000aa", "severity": severity, "source": source,
        "title": "Checkout is slow", "labels": {"team": source},
    })
}

/// An event of this priority from this source.
pub fn of(priority: Priority, source: &'static str) -> Publish {
    thread_local! {
        /// Parsing takes longer than all that a shard does with an event.
        static MADE: RefCell<HashMap<(Priority, &'static str), Publish>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| {
        made.entry((priority, source)).or_insert_with(|| make(priority, source)).clone()
    })
}

fn make(priority: Priority, source: &str) -> Publish {
    publish(match priority {
        Priority::Critical => {
            json!({"event_type": "incident_created", "incident": incident("P0", source)})
        }
        Priority::High => {
            json!({"event_type": "incident_created", "incident": incident("P1", source)})
        }
        Priority::Normal => {
            json!({"event_type": "incident_resolved", "incident": incident("P2", source)})
        }
        Priority::Low => json!({
            "event_type": "system_event", "category": source, "message": "m", "metadata": {},
            "context": {"source": source},
        }),
    })
}

/// One of the many that a storm brings: an update of one of few incidents, or one of few alerts.
pub fn of_storm(number: usize) -> Publish {
    thread_local! {
        static MADE: RefCell<HashMap<usize, Publish>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| made.entry(number).or_insert_with(|| make_storm(number)).clone())
}

fn make_storm(number: usize) -> Publish {
    let source = SOURCES[number % SOURCES.len()];
    let severity = ["P3", "P1"][number / 8 % 2];
    publish(if number.is_multiple_of(4) {
        json!({"event_type": "alert_received", "alert": {
            "id": "019ca8e1-9f40-7000-8000-0000000000bb", "severity": severity, "source": source,
            "title": format!("Alert {}", number % 3),
        }})
    } else {
        let mut incident = incident(severity, source);
        incident["id"] = format!("019ca8e1-9f40-7000-8000-0000000000{:02}", number % 5).into();
        if !number.is_multiple_of(3) {
            incident["fingerprint"] = format!("f{}", number % 4).into();
        }
        json!({"event_type": "incident_updated", "incident": incident})
    })
}

/// A normal alert with this fingerprint.
pub fn alert_of(fingerprint: &str) -> Publish {
    publish(json!({"event_type": "alert_received", "alert": {
        "id": "019ca8e1-9f40-7000-8000-0000000000bb", "severity": "P3", "source": "api",
        "title": "Disk is full", "fingerprint": fingerprint,
    }}))
}

/// A low event of about this many bytes on the wire.
pub fn of_bytes(bytes: usize) -> Publish {
    publish(json!({
        "event_type": "system_event", "category": "api", "message": "m".repeat(bytes),
        "metadata": {},
    }))
}

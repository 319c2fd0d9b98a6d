use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Random;

pub const SOURCES: [&str; 4] = ["api", "db", "edge", "web-1"];
/// Most important first.
pub const PRIORITIES: [&str; 4] = ["critical", "high", "normal", "low"];

/// Of an event, what filters and lanes look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Place in [`SOURCES`].
    pub source: usize,
    /// Place in [`PRIORITIES`].
    pub priority: usize,
}

/// Events by seq, with the millisecond in which each was sequenced.
pub type Published = BTreeMap<u64, (Fact, u64)>;

impl Fact {
    /// Any, the lower ones more often.
    pub fn any(random: &mut Random) -> Self {
        let priority = random.pick(&[0, 1, 2, 2, 3, 3]);
        Self { source: random.below(SOURCES.len()), priority }
    }

    /// An event of this kind, as it is published.
    pub fn item(self) -> Value {
        const ID: &str = "019ca8e1-9f40-7000-8000-0000000000aa";
        let source = SOURCES[self.source];
        let subject = |severity: &str| json!({"id": ID, "severity": severity, "source": source, "title": "Checkout is slow"});
        match self.priority {
            0 => json!({"event_type": "incident_created", "incident": subject("P0")}),
            1 => json!({"event_type": "alert_received", "alert": subject("P1")}),
            2 => json!({"event_type": "incident_resolved", "incident": subject("P2")}),
            _ => json!({
                "event_type": "system_event", "category": source, "message": "m", "metadata": {},
                "context": {"source": source},
            }),
        }
    }

    /// What an `event` message says of itself.
    ///
    /// # Panics
    /// When it is none that [`Fact::item`] made.
    pub fn of(message: &Value) -> Self {
        let event = &message["event"];
        let subjects =
            [&event["incident"]["source"], &event["alert"]["source"], &event["category"]];
        let source = subjects.into_iter().find_map(Value::as_str);
        let place = |names: &[&str], name: Option<&str>| {
            names.iter().position(|it| Some(*it) == name).unwrap_or_else(|| panic!("{message}"))
        };
        let priority = place(&PRIORITIES, message["priority"].as_str());
        Self { source: place(&SOURCES, source), priority }
    }
}

//! What connections subscribe to: all the same, or each its part of the events.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Filters of a run's connections, which are numbered from zero over all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filters {
    /// Everybody has these.
    Same(Value),
    /// Connection `n` is of class `n % classes`. Events are for all classes in turn, or for class
    /// zero: then every kind of filters has the same deliveries.
    Classes { classes: u32, kind: Kind, in_turn: bool },
    /// Everybody is sent all events, which are for class zero; so many of a hundred connections
    /// share a filter, and each of the others has its own.
    Mixed { sharing_percent: u32 },
}

/// How many filters there are, where each event goes to one class of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// As many as connections: each has its class and a resource of its own, which never occurs.
    Distinct,
    /// As many as classes: each connection has its class.
    ByClass,
    /// One: class zero, which all events are for, shares a filter; the others share one that
    /// never matches.
    One,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Distinct, Self::ByClass, Self::One];

    pub fn name(self) -> &'static str {
        match self {
            Self::Distinct => "distinct",
            Self::ByClass => "by-class",
            Self::One => "one",
        }
    }
}

impl Filters {
    /// Of one connection.
    pub fn of(&self, number: u32) -> Value {
        let class = self.class(number);
        match self {
            Self::Same(filters) => filters.clone(),
            Self::Mixed { sharing_percent } if number % 100 < *sharing_percent => {
                json!({"affected_resources": [resource(0)]})
            }
            Self::Mixed { .. } => {
                json!({"affected_resources": [resource(0), format!("own-{number}")]})
            }
            Self::Classes { kind: Kind::Distinct, .. } => {
                json!({"affected_resources": [resource(class), format!("own-{number}")]})
            }
            Self::Classes { kind: Kind::One, .. } if class > 0 => {
                json!({"affected_resources": ["never"]})
            }
            Self::Classes { .. } => json!({"affected_resources": [resource(class)]}),
        }
    }

    pub fn class(&self, number: u32) -> u32 {
        match self {
            Self::Same(_) | Self::Mixed { .. } => 0,
            Self::Classes { classes, .. } => number % classes,
        }
    }

    /// Everybody is sent every event there is.
    pub fn is_everything(&self) -> bool {
        let Self::Same(filters) = self else { return false };
        filters.as_object().is_none_or(serde_json::Map::is_empty)
    }

    /// Classes that events are published for, in turn.
    pub fn published_classes(&self) -> u32 {
        match self {
            Self::Classes { kind: Kind::One, .. } => 1,
            Self::Classes { classes, in_turn: true, .. } => *classes,
            Self::Same(_) | Self::Mixed { .. } | Self::Classes { .. } => 1,
        }
    }

    /// Of the first `events` of a run, how many a connection is due.
    pub fn due(&self, number: u32, events: u32) -> u32 {
        let (class, classes) = (self.class(number), self.published_classes());
        if class >= classes { 0 } else { (events + classes - 1 - class) / classes }
    }

    /// Of the first `events` of a run, how many all connections are due together.
    pub fn due_to_all(&self, connections: u32, events: u32) -> u64 {
        (0..connections).map(|number| u64::from(self.due(number, events))).sum()
    }
}

/// Of a connection's further subscriptions, which no event matches.
pub fn never(number: u32, subscription: u32) -> Value {
    json!({"affected_resources": [format!("never-{number}-{subscription}")]})
}

/// What events of a class affect.
pub fn resource(class: u32) -> String {
    format!("class-{class}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_kinds_differ_in_filters_and_not_in_deliveries() {
        let filters = Kind::ALL.map(|kind| Filters::Classes { classes: 10, kind, in_turn: false });
        let counts = filters.clone().map(|filters| {
            (0..100).map(|number| filters.of(number).to_string()).collect::<BTreeSet<_>>().len()
        });
        assert_eq!(counts, [100, 10, 2]);
        for number in 0..20 {
            let due = if number % 10 == 0 { 37 } else { 0 };
            assert_eq!(filters.clone().map(|filters| filters.due(number, 37)), [due; 3]);
        }
    }

    #[test]
    fn some_share_a_filter_and_all_are_due_everything() {
        let filters = Filters::Mixed { sharing_percent: 30 };
        let count = (0..200).map(|number| filters.of(number).to_string()).collect::<BTreeSet<_>>();
        assert_eq!(count.len(), 1 + 140);
        assert_eq!(filters.due_to_all(200, 7), 1_400);
    }

    #[test]
    fn events_go_to_classes_in_turn() {
        let filters = Filters::Classes { classes: 3, kind: Kind::ByClass, in_turn: true };
        assert_eq!([0, 1, 2, 3].map(|number| filters.due(number, 4)), [2, 1, 1, 2]);
        assert_eq!(filters.due_to_all(30, 4), 40);
        let filters = Filters::Classes { classes: 3, kind: Kind::One, in_turn: true };
        assert_eq!([0, 1, 2, 3].map(|number| filters.due(number, 4)), [4, 0, 0, 4]);
    }
}

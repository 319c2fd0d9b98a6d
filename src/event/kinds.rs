//! The closed sets of names: each is one byte in memory and one word on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is in none of the lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not one of {expected}")]
pub struct UnknownName {
    pub name: String,
    pub expected: String,
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $kind {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $kind {
            /// Every member, in declared order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownName {
                        name: name.to_owned(),
                        expected: [$($name),+].join(", "),
                    }),
                }
            }
        }
    };
}

names! {
    /// The urgency that decides the lane. The most urgent is the least in order.
    Priority {
        Critical = "critical",
        High = "high",
        Normal = "normal",
        Low = "low",
    }
}

names! {
    /// How bad it is; `P0` is the worst and the least in order.
    Severity {
        P0 = "P0",
        P1 = "P1",
        P2 = "P2",
        P3 = "P3",
        P4 = "P4",
    }
}

names! {
    /// Where an incident is in its life.
    IncidentState {
        Detected = "Detected",
        Triaged = "Triaged",
        Investigating = "Investigating",
        Remediating = "Remediating",
        Resolved = "Resolved",
        Closed = "Closed",
    }
}

names! {
    /// What an incident or alert is about.
    IncidentType {
        Infrastructure = "Infrastructure",
        Application = "Application",
        Security = "Security",
        Data = "Data",
        Performance = "Performance",
        Availability = "Availability",
        Compliance = "Compliance",
        Unknown = "Unknown",
    }
}

names! {
    /// The tag `event_type` of a payload.
    EventType {
        IncidentCreated = "incident_created",
        IncidentUpdated = "incident_updated",
        IncidentResolved = "incident_resolved",
        IncidentClosed = "incident_closed",
        AlertReceived = "alert_received",
        AlertConverted = "alert_converted",
        Escalated = "escalated",
        PlaybookStarted = "playbook_started",
        PlaybookActionExecuted = "playbook_action_executed",
        PlaybookCompleted = "playbook_completed",
        NotificationSent = "notification_sent",
        AssignmentChanged = "assignment_changed",
        CommentAdded = "comment_added",
        SystemEvent = "system_event",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_same_for_serde_parse_and_display() {
        for kind in EventType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse::<EventType>().unwrap(), kind);
            assert_eq!(kind.to_string(), kind.as_str());
            assert_eq!(EventType::ALL[kind.index()], kind);
        }
        assert_eq!(EventType::ALL.len(), 14);
        assert_eq!(Severity::ALL.map(Severity::as_str), ["P0", "P1", "P2", "P3", "P4"]);
        assert_eq!(IncidentState::ALL.len(), 6);
        assert_eq!(IncidentType::ALL.len(), 8);
    }

    #[test]
    fn an_unknown_name_is_told_what_would_be_known() {
        let error = "P9".parse::<Severity>().unwrap_err();
        assert_eq!(error.to_string(), "`P9` is not one of P0, P1, P2, P3, P4");
    }

    #[test]
    fn the_most_urgent_priority_comes_first() {
        assert!(Priority::Critical < Priority::High && Priority::Normal < Priority::Low);
        assert_eq!(Priority::ALL.map(Priority::index), [0, 1, 2, 3]);
    }
}

//! The closed sets of names: each is one byte in memory and one word on the wire.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::shortened;

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
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$variant_doc])* $variant,)+
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

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        /// From a string and nothing else: serde's own reader would take `{"P0": null}` too.
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(NameVisitor(PhantomData))
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownName {
                        name: shortened(name),
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

impl Priority {
    /// Critical or high: goes ahead of the others wherever events wait.
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Critical | Self::High)
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

names! {
    /// Who or what resolved an incident.
    ResolutionMethod {
        Automated = "Automated",
        Manual = "Manual",
        AutoAssistedManual = "AutoAssistedManual",
    }
}

struct NameVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = UnknownName>> de::Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name in a string")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        name.parse().map_err(E::custom)
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
    fn a_name_is_a_string_and_nothing_else() {
        for text in [r#"{"P0":null}"#, "0", "null", r#"["P0"]"#, r#""p0""#] {
            assert!(serde_json::from_str::<Severity>(text).is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Severity>(r#""P0""#).unwrap(), Severity::P0);
    }

    #[test]
    fn the_most_urgent_priority_comes_first() {
        assert!(Priority::Critical < Priority::High && Priority::Normal < Priority::Low);
        assert_eq!(Priority::ALL.map(Priority::index), [0, 1, 2, 3]);
    }
}

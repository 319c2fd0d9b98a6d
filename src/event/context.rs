use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EventType, IncidentState, Priority, Severity};

/// What filters look at, where the payload itself does not say it. A publisher
/// may attach it; the server remembers the last one of each incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<IncidentState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affected_resources: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Context {
    /// Each field of its own, or else that of `fallback`.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            severity: self.severity.or(fallback.severity),
            state: self.state.or(fallback.state),
            source: self.source.or(fallback.source),
            affected_resources: self.affected_resources.or(fallback.affected_resources),
            labels: self.labels.or(fallback.labels),
        }
    }

    /// [`Self::or`], cloning only what is needed.
    #[must_use]
    pub fn or_cloned(self, fallback: &Self) -> Self {
        Self {
            severity: self.severity.or(fallback.severity),
            state: self.state.or(fallback.state),
            source: self.source.or_else(|| fallback.source.clone()),
            affected_resources: self
                .affected_resources
                .or_else(|| fallback.affected_resources.clone()),
            labels: self.labels.or_else(|| fallback.labels.clone()),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn weight_bytes(&self) -> usize {
        /// What a string or a map entry takes beside its text.
        const ENTRY_BYTES: usize = 48;
        let source = self.source.as_ref().map_or(0, String::len);
        let resources = self.affected_resources.iter().flatten();
        let resources: usize = resources.map(|resource| ENTRY_BYTES + resource.len()).sum();
        let labels = self.labels.iter().flatten();
        let labels: usize =
            labels.map(|(key, value)| 2 * ENTRY_BYTES + key.len() + value.len()).sum();
        size_of::<Self>() + source + resources + labels
    }
}

/// What a filter is evaluated on: the event's kind and its merged context, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub event_type: EventType,
    pub priority: Priority,
    pub severity: Option<Severity>,
    pub state: Option<IncidentState>,
    pub source: Option<&'a str>,
    /// The incident's or alert's, where the payload carries one.
    pub title: Option<&'a str>,
    pub affected_resources: Option<&'a [String]>,
    pub labels: Option<&'a BTreeMap<String, String>>,
    pub incident_id: Option<Uuid>,
}

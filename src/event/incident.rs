use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::defaults::{or_default, short_text};
use super::{Extra, IncidentState, IncidentType, ResolutionMethod, Severity, Timestamp};

/// An incident as its publisher knows it. `id`, `severity`, `source` (1–255
/// characters) and `title` (1–500) are required; [`Incident::new`] and the
/// publishing parser fill in the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default = "detected")]
    pub state: IncidentState,
    pub severity: Severity,
    #[serde(default = "unknown_type")]
    pub incident_type: IncidentType,
    #[serde(deserialize_with = "short_text::<255, _>")]
    pub source: String,
    #[serde(deserialize_with = "short_text::<500, _>")]
    pub title: String,
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "or_default")]
    pub affected_resources: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub related_incidents: Vec<Uuid>,
    #[serde(default)]
    pub active_playbook: Option<String>,
    #[serde(default)]
    pub resolution: Option<Resolution>,
    #[serde(default, deserialize_with = "or_default")]
    pub timeline: Vec<TimelineEntry>,
    #[serde(default, deserialize_with = "or_default")]
    pub assignees: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub notes: Vec<Note>,
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Kept as written: 1 stays 1 and does not become 1.0.
    #[serde(default)]
    pub correlation_score: Option<serde_json::Number>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Incident {
    /// A newly detected incident that carries only what must be known.
    pub fn new(
        id: Uuid,
        severity: Severity,
        source: impl Into<String>,
        title: impl Into<String>,
        now: jiff::Timestamp,
    ) -> Self {
        Self {
            id,
            created_at: now.into(),
            updated_at: now.into(),
            state: detected(),
            severity,
            incident_type: unknown_type(),
            source: source.into(),
            title: title.into(),
            description: String::new(),
            affected_resources: Vec::new(),
            labels: BTreeMap::new(),
            related_incidents: Vec::new(),
            active_playbook: None,
            resolution: None,
            timeline: Vec::new(),
            assignees: Vec::new(),
            notes: Vec::new(),
            fingerprint: None,
            correlation_score: None,
            extra: Extra::new(),
        }
    }
}

/// How an incident ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    pub resolved_at: Timestamp,
    pub resolved_by: String,
    pub resolution_method: ResolutionMethod,
    #[serde(default)]
    pub root_cause: Option<String>,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// One line of an incident's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub timestamp: Timestamp,
    /// Free text: the incident's own history knows more kinds than the stream.
    pub event_type: String,
    pub actor: String,
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// A remark on an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub id: Uuid,
    pub author: String,
    pub content: String,
    pub created_at: Timestamp,
    #[serde(flatten)]
    pub extra: Extra,
}

fn detected() -> IncidentState {
    IncidentState::Detected
}

fn unknown_type() -> IncidentType {
    IncidentType::Unknown
}

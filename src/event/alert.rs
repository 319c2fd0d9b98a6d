use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::defaults::{or_default, short_text};
use super::{Extra, IncidentType, Severity, Timestamp};

/// An alert as its publisher knows it. `id`, `severity`, `source` (1–255
/// characters) and `title` (1–500) are required; [`Alert::new`] and the
/// publishing parser fill in the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub id: Uuid,
    #[serde(default, deserialize_with = "or_default")]
    pub external_id: String,
    #[serde(deserialize_with = "short_text::<255, _>")]
    pub source: String,
    pub timestamp: Timestamp,
    pub received_at: Timestamp,
    pub severity: Severity,
    #[serde(default = "unknown_type")]
    pub alert_type: IncidentType,
    #[serde(deserialize_with = "short_text::<500, _>")]
    pub title: String,
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub affected_services: Vec<String>,
    #[serde(default)]
    pub runbook_url: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub incident_id: Option<Uuid>,
    #[serde(default, deserialize_with = "or_default")]
    pub deduplicated: bool,
    #[serde(default)]
    pub parent_alert_id: Option<Uuid>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Alert {
    /// An alert received now that carries only what must be known.
    pub fn new(
        id: Uuid,
        severity: Severity,
        source: impl Into<String>,
        title: impl Into<String>,
        now: jiff::Timestamp,
    ) -> Self {
        Self {
            id,
            external_id: String::new(),
            source: source.into(),
            timestamp: now.into(),
            received_at: now.into(),
            severity,
            alert_type: unknown_type(),
            title: title.into(),
            description: String::new(),
            labels: BTreeMap::new(),
            affected_services: Vec::new(),
            runbook_url: None,
            annotations: BTreeMap::new(),
            incident_id: None,
            deduplicated: false,
            parent_alert_id: None,
            extra: Extra::new(),
        }
    }
}

fn unknown_type() -> IncidentType {
    IncidentType::Unknown
}

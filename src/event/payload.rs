//! The fourteen kinds of event and what each carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::defaults::{self, or_default};
use super::{
    Alert, Context, EventType, Extra, FieldError, Incident, IncidentState, Priority, Severity,
    Timestamp,
};

/// What was published, by type. Serialises with the tag `event_type` first;
/// fields that this version does not know are kept at every level.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum Payload {
    IncidentCreated(IncidentEvent),
    IncidentUpdated(IncidentUpdated),
    IncidentResolved(IncidentEvent),
    IncidentClosed(IncidentEvent),
    AlertReceived(AlertReceived),
    AlertConverted(AlertConverted),
    Escalated(Escalated),
    PlaybookStarted(PlaybookStarted),
    PlaybookActionExecuted(PlaybookActionExecuted),
    PlaybookCompleted(PlaybookCompleted),
    NotificationSent(NotificationSent),
    AssignmentChanged(AssignmentChanged),
    CommentAdded(CommentAdded),
    SystemEvent(SystemEvent),
}

/// `incident_created`, `incident_resolved`, `incident_closed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentEvent {
    pub incident: Box<Incident>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentUpdated {
    pub incident: Box<Incident>,
    #[serde(default)]
    pub previous_state: Option<IncidentState>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertReceived {
    pub alert: Box<Alert>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertConverted {
    pub alert: Box<Alert>,
    pub incident_id: Uuid,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Escalated {
    pub incident_id: Uuid,
    pub from_severity: Severity,
    pub to_severity: Severity,
    #[serde(default, deserialize_with = "or_default")]
    pub reason: String,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaybookStarted {
    pub incident_id: Uuid,
    pub playbook_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub playbook_name: String,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaybookActionExecuted {
    pub incident_id: Uuid,
    pub playbook_id: String,
    pub action_name: String,
    pub success: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaybookCompleted {
    pub incident_id: Uuid,
    pub playbook_id: String,
    pub success: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub actions_executed: u64,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationSent {
    pub incident_id: Uuid,
    pub channel: String,
    pub success: bool,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentChanged {
    pub incident_id: Uuid,
    /// Empty when nobody is assigned any more.
    #[serde(deserialize_with = "or_default")]
    pub assignees: Vec<String>,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommentAdded {
    pub incident_id: Uuid,
    pub author: String,
    pub comment: String,
    pub timestamp: Timestamp,
    #[serde(flatten)]
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemEvent {
    pub category: String,
    pub message: String,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Payload {
    /// Reads what a publisher sent; `now` stands for the moments that it left out.
    ///
    /// # Errors
    /// Names the first field that is missing or wrong.
    pub fn from_published(
        mut object: Map<String, Value>,
        now: jiff::Timestamp,
    ) -> Result<Self, FieldError> {
        let event_type = take_event_type(&mut object)?;
        defaults::fill(&mut object, event_type, now);
        Self::from_fields(event_type, object)
    }

    /// Reads a payload that is complete, such as one that this server encoded.
    ///
    /// # Errors
    /// Names the first field that is missing or wrong.
    pub fn from_object(mut object: Map<String, Value>) -> Result<Self, FieldError> {
        let event_type = take_event_type(&mut object)?;
        Self::from_fields(event_type, object)
    }

    pub fn event_type(&self) -> EventType {
        match self {
            Self::IncidentCreated(_) => EventType::IncidentCreated,
            Self::IncidentUpdated(_) => EventType::IncidentUpdated,
            Self::IncidentResolved(_) => EventType::IncidentResolved,
            Self::IncidentClosed(_) => EventType::IncidentClosed,
            Self::AlertReceived(_) => EventType::AlertReceived,
            Self::AlertConverted(_) => EventType::AlertConverted,
            Self::Escalated(_) => EventType::Escalated,
            Self::PlaybookStarted(_) => EventType::PlaybookStarted,
            Self::PlaybookActionExecuted(_) => EventType::PlaybookActionExecuted,
            Self::PlaybookCompleted(_) => EventType::PlaybookCompleted,
            Self::NotificationSent(_) => EventType::NotificationSent,
            Self::AssignmentChanged(_) => EventType::AssignmentChanged,
            Self::CommentAdded(_) => EventType::CommentAdded,
            Self::SystemEvent(_) => EventType::SystemEvent,
        }
    }

    /// The lane that the event takes. It follows from the payload alone: a
    /// publisher cannot choose it.
    pub fn priority(&self) -> Priority {
        match self {
            Self::IncidentCreated(event) => match event.incident.severity {
                Severity::P0 => Priority::Critical,
                Severity::P1 => Priority::High,
                Severity::P2 | Severity::P3 | Severity::P4 => Priority::Normal,
            },
            Self::Escalated(event) if event.to_severity == Severity::P0 => Priority::Critical,
            Self::Escalated(_) => Priority::High,
            Self::AlertReceived(event) => match event.alert.severity {
                Severity::P0 | Severity::P1 => Priority::High,
                Severity::P2 | Severity::P3 | Severity::P4 => Priority::Normal,
            },
            Self::CommentAdded(_) | Self::PlaybookActionExecuted(_) | Self::SystemEvent(_) => {
                Priority::Low
            }
            Self::IncidentUpdated(_)
            | Self::IncidentResolved(_)
            | Self::IncidentClosed(_)
            | Self::AlertConverted(_)
            | Self::PlaybookStarted(_)
            | Self::PlaybookCompleted(_)
            | Self::NotificationSent(_)
            | Self::AssignmentChanged(_) => Priority::Normal,
        }
    }

    /// The incident that the event is about, where there is one.
    pub fn incident_id(&self) -> Option<Uuid> {
        match self {
            Self::IncidentCreated(event)
            | Self::IncidentResolved(event)
            | Self::IncidentClosed(event) => Some(event.incident.id),
            Self::IncidentUpdated(event) => Some(event.incident.id),
            Self::AlertReceived(event) => event.alert.incident_id,
            Self::AlertConverted(event) => Some(event.incident_id),
            Self::Escalated(event) => Some(event.incident_id),
            Self::PlaybookStarted(event) => Some(event.incident_id),
            Self::PlaybookActionExecuted(event) => Some(event.incident_id),
            Self::PlaybookCompleted(event) => Some(event.incident_id),
            Self::NotificationSent(event) => Some(event.incident_id),
            Self::AssignmentChanged(event) => Some(event.incident_id),
            Self::CommentAdded(event) => Some(event.incident_id),
            Self::SystemEvent(_) => None,
        }
    }

    /// The title of the incident or alert that the payload carries.
    pub fn title(&self) -> Option<&str> {
        match self {
            Self::IncidentCreated(event)
            | Self::IncidentResolved(event)
            | Self::IncidentClosed(event) => Some(&event.incident.title),
            Self::IncidentUpdated(event) => Some(&event.incident.title),
            Self::AlertReceived(event) => Some(&event.alert.title),
            Self::AlertConverted(event) => Some(&event.alert.title),
            Self::Escalated(_)
            | Self::PlaybookStarted(_)
            | Self::PlaybookActionExecuted(_)
            | Self::PlaybookCompleted(_)
            | Self::NotificationSent(_)
            | Self::AssignmentChanged(_)
            | Self::CommentAdded(_)
            | Self::SystemEvent(_) => None,
        }
    }

    /// What the payload itself says about severity, state, source, resources
    /// and labels. An escalation says the severity that it leads to.
    pub fn own_context(&self) -> Context {
        match self {
            Self::IncidentCreated(event)
            | Self::IncidentResolved(event)
            | Self::IncidentClosed(event) => incident_context(&event.incident),
            Self::IncidentUpdated(event) => incident_context(&event.incident),
            Self::AlertReceived(event) => alert_context(&event.alert),
            Self::AlertConverted(event) => alert_context(&event.alert),
            Self::Escalated(event) => {
                Context { severity: Some(event.to_severity), ..Context::default() }
            }
            Self::PlaybookStarted(_)
            | Self::PlaybookActionExecuted(_)
            | Self::PlaybookCompleted(_)
            | Self::NotificationSent(_)
            | Self::AssignmentChanged(_)
            | Self::CommentAdded(_)
            | Self::SystemEvent(_) => Context::default(),
        }
    }

    fn from_fields(event_type: EventType, fields: Map<String, Value>) -> Result<Self, FieldError> {
        Ok(match event_type {
            EventType::IncidentCreated => Self::IncidentCreated(typed(fields)?),
            EventType::IncidentUpdated => Self::IncidentUpdated(typed(fields)?),
            EventType::IncidentResolved => Self::IncidentResolved(typed(fields)?),
            EventType::IncidentClosed => Self::IncidentClosed(typed(fields)?),
            EventType::AlertReceived => Self::AlertReceived(typed(fields)?),
            EventType::AlertConverted => Self::AlertConverted(typed(fields)?),
            EventType::Escalated => Self::Escalated(typed(fields)?),
            EventType::PlaybookStarted => Self::PlaybookStarted(typed(fields)?),
            EventType::PlaybookActionExecuted => Self::PlaybookActionExecuted(typed(fields)?),
            EventType::PlaybookCompleted => Self::PlaybookCompleted(typed(fields)?),
            EventType::NotificationSent => Self::NotificationSent(typed(fields)?),
            EventType::AssignmentChanged => Self::AssignmentChanged(typed(fields)?),
            EventType::CommentAdded => Self::CommentAdded(typed(fields)?),
            EventType::SystemEvent => Self::SystemEvent(typed(fields)?),
        })
    }
}

/// As [`Payload::from_object`].
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_object(Map::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn take_event_type(object: &mut Map<String, Value>) -> Result<EventType, FieldError> {
    let error = |message: &str| FieldError::new("event_type", message);
    match object.remove("event_type") {
        Some(Value::String(name)) => {
            name.parse().map_err(|unknown: super::UnknownName| error(&unknown.to_string()))
        }
        Some(_) => Err(error("must be a string")),
        None => Err(error("missing")),
    }
}

fn typed<T: de::DeserializeOwned>(fields: Map<String, Value>) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(Value::Object(fields))
        .map_err(|error| FieldError::from_serde(error.path(), &error.inner().to_string()))
}

fn incident_context(incident: &Incident) -> Context {
    Context {
        severity: Some(incident.severity),
        state: Some(incident.state),
        source: Some(incident.source.clone()),
        affected_resources: Some(incident.affected_resources.clone()),
        labels: Some(incident.labels.clone()),
    }
}

fn alert_context(alert: &Alert) -> Context {
    Context {
        severity: Some(alert.severity),
        state: None,
        source: Some(alert.source.clone()),
        affected_resources: Some(alert.affected_services.clone()),
        labels: Some(alert.labels.clone()),
    }
}

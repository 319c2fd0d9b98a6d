//! What a publisher may leave out, and what stands there instead.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::EventType;

/// The default also stands for `null`, which some languages write for an empty list or map.
pub(super) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A text of 1 to `MAX` characters.
pub(super) fn short_text<'de, const MAX: usize, D>(deserializer: D) -> Result<String, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    // Bytes are never fewer than characters: the usual text is not counted.
    if text.is_empty() || (text.len() > MAX && text.chars().count() > MAX) {
        return Err(de::Error::custom(format_args!("must be 1 to {MAX} characters long")));
    }
    Ok(text)
}

/// Fills in the defaults that depend on the moment or on the type of event,
/// which serde cannot know. What has the wrong shape is left for serde to refuse.
pub(super) fn fill(event: &mut Map<String, Value>, event_type: EventType, now: jiff::Timestamp) {
    match event_type {
        EventType::IncidentCreated | EventType::IncidentUpdated => {
            fill_incident(event, "Detected", now);
        }
        EventType::IncidentResolved => fill_incident(event, "Resolved", now),
        EventType::IncidentClosed => fill_incident(event, "Closed", now),
        EventType::AlertReceived | EventType::AlertConverted => {
            if let Some(Value::Object(alert)) = event.get_mut("alert") {
                fill_moment(alert, "timestamp", now);
                fill_moment(alert, "received_at", now);
                drop_null(alert, "alert_type");
            }
        }
        EventType::CommentAdded => fill_moment(event, "timestamp", now),
        EventType::Escalated
        | EventType::PlaybookStarted
        | EventType::PlaybookActionExecuted
        | EventType::PlaybookCompleted
        | EventType::NotificationSent
        | EventType::AssignmentChanged
        | EventType::SystemEvent => {}
    }
}

fn fill_incident(event: &mut Map<String, Value>, state: &str, now: jiff::Timestamp) {
    let Some(Value::Object(incident)) = event.get_mut("incident") else { return };
    fill_moment(incident, "created_at", now);
    fill_moment(incident, "updated_at", now);
    drop_null(incident, "incident_type");
    if is_absent(incident, "state") {
        incident.insert("state".to_owned(), state.into());
    }
    if let Some(Value::Object(resolution)) = incident.get_mut("resolution") {
        fill_moment(resolution, "resolved_at", now);
    }
    for (list, field) in [("timeline", "timestamp"), ("notes", "created_at")] {
        let Some(Value::Array(entries)) = incident.get_mut(list) else { continue };
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            fill_moment(entry, field, now);
        }
    }
}

fn fill_moment(object: &mut Map<String, Value>, field: &str, now: jiff::Timestamp) {
    if is_absent(object, field) {
        object.insert(field.to_owned(), now.to_string().into());
    }
}

fn drop_null(object: &mut Map<String, Value>, field: &str) {
    if is_absent(object, field) {
        object.remove(field);
    }
}

fn is_absent(object: &Map<String, Value>, field: &str) -> bool {
    matches!(object.get(field), None | Some(Value::Null))
}

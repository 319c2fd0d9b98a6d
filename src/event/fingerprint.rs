//! What the events of one storm have in common.

use std::borrow::Cow;

use super::{Alert, Payload};

/// Where alerts that carry a fingerprint carry it: in a field of that name, or in a label.
const NAME: &str = "fingerprint";

impl Payload {
    /// The fingerprint of the incident or alert that the payload carries. An alert without one
    /// has its source and title instead; an incident has none then.
    pub fn fingerprint(&self) -> Option<Cow<'_, str>> {
        let of_incident = match self {
            Self::IncidentCreated(event)
            | Self::IncidentResolved(event)
            | Self::IncidentClosed(event) => &event.incident.fingerprint,
            Self::IncidentUpdated(event) => &event.incident.fingerprint,
            Self::AlertReceived(event) => return Some(of_alert(&event.alert)),
            Self::AlertConverted(event) => return Some(of_alert(&event.alert)),
            Self::Escalated(_)
            | Self::PlaybookStarted(_)
            | Self::PlaybookActionExecuted(_)
            | Self::PlaybookCompleted(_)
            | Self::NotificationSent(_)
            | Self::AssignmentChanged(_)
            | Self::CommentAdded(_)
            | Self::SystemEvent(_) => return None,
        };
        of_incident.as_deref().filter(|text| !text.is_empty()).map(Cow::Borrowed)
    }
}

fn of_alert(alert: &Alert) -> Cow<'_, str> {
    let field = alert.extra.get(NAME).and_then(serde_json::Value::as_str);
    let label = alert.labels.get(NAME).map(String::as_str);
    let own = [field, label].into_iter().flatten().find(|text| !text.is_empty());
    own.map_or_else(|| Cow::Owned(format!("{}/{}", alert.source, alert.title)), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fingerprint(event: Value) -> Option<String> {
        let Value::Object(fields) = event else { panic!("an object") };
        let payload = Payload::from_published(fields, jiff::Timestamp::UNIX_EPOCH).unwrap();
        payload.fingerprint().map(Cow::into_owned)
    }

    const ID: &str = "019ca8e1-9f40-7000-8000-0000000000aa";

    #[test]
    fn an_incident_has_its_own_or_none() {
        let event = |fingerprint: Value| {
            json!({"event_type": "incident_updated", "incident": {
                "id": ID, "severity": "P2", "source": "s", "title": "t", "fingerprint": fingerprint,
            }})
        };
        assert_eq!(fingerprint(event(json!("f"))).as_deref(), Some("f"));
        assert_eq!(fingerprint(event(json!(""))), None);
        assert_eq!(fingerprint(event(json!(null))), None);
        let comment = json!({
            "event_type": "comment_added", "incident_id": ID, "author": "a", "comment": "c",
        });
        assert_eq!(fingerprint(comment), None);
    }

    #[test]
    fn an_alert_has_its_field_or_its_label_or_its_source_and_title() {
        let alert = |more: Value| {
            let mut alert = json!({"id": ID, "severity": "P2", "source": "s", "title": "t"});
            let fields = more.as_object().unwrap().clone();
            alert.as_object_mut().unwrap().extend(fields);
            fingerprint(json!({"event_type": "alert_received", "alert": alert})).unwrap()
        };
        let labels = json!({"fingerprint": "label"});
        assert_eq!(alert(json!({"fingerprint": "field", "labels": labels})), "field");
        assert_eq!(alert(json!({"fingerprint": "", "labels": labels})), "label");
        assert_eq!(alert(json!({"fingerprint": 7, "labels": {}})), "s/t");
    }
}

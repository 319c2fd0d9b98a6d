use serde_json::{Value, json};

use super::*;

const ID: &str = "0198c0de-0000-7000-8000-000000000001";

fn now() -> jiff::Timestamp {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn parse(value: Value) -> Result<Payload, FieldError> {
    let Value::Object(object) = value else { panic!("an object") };
    Payload::from_published(object, now())
}

/// An incident with every field, and unknown ones at every level.
fn whole_incident() -> Value {
    json!({
        "id": ID, "created_at": "2026-03-01T09:00:00.120Z",
        "updated_at": "2026-03-01T10:00:00+01:00", "state": "Investigating", "severity": "P2",
        "incident_type": "Performance", "source": "prometheus", "title": "Latency über 2 s",
        "description": "", "affected_resources": ["api-1", "api-2"],
        "labels": {"team": "core", "": "empty"}, "related_incidents": [ID],
        "active_playbook": "restart", "timeline": [{
            "timestamp": "2026-03-01T09:00:00Z", "event_type": "created", "actor": "system",
            "description": "found", "metadata": {"k": "v"}, "x_line": [1, {"a": null}],
        }],
        "resolution": {
            "resolved_at": "2026-03-01T11:00:00Z", "resolved_by": "ann",
            "resolution_method": "AutoAssistedManual", "root_cause": null, "notes": "ok",
            "x_resolution": 18_446_744_073_709_551_615_u64,
        },
        "assignees": ["ann"], "notes": [{
            "id": ID, "author": "bob", "content": "…", "created_at": "2026-03-01T09:30:00Z",
            "x_note": i64::MIN,
        }],
        "fingerprint": "f00", "correlation_score": 1, "x_incident": {"deep": [0.1, 1e300, -0.5]},
    })
}

fn whole_alert() -> Value {
    json!({
        "id": ID, "external_id": "e-1", "source": "alertmanager",
        "timestamp": "2026-03-01T09:00:00Z", "received_at": "2026-03-01T09:00:01Z",
        "severity": "P1", "alert_type": "Availability", "title": "Down", "description": "d",
        "labels": {"job": "api"}, "affected_services": ["api"], "runbook_url": "https://r",
        "annotations": {"summary": "s"}, "incident_id": null, "deduplicated": true,
        "parent_alert_id": ID, "x_alert": "kept",
    })
}

/// Every type, fully specified, with an unknown field beside the known ones.
fn whole_events() -> Vec<Value> {
    let events = vec![
        json!({"event_type": "incident_created", "incident": whole_incident()}),
        json!({"event_type": "incident_updated", "incident": whole_incident(),
            "previous_state": "Detected"}),
        json!({"event_type": "incident_resolved", "incident": whole_incident()}),
        json!({"event_type": "incident_closed", "incident": whole_incident()}),
        json!({"event_type": "alert_received", "alert": whole_alert()}),
        json!({"event_type": "alert_converted", "alert": whole_alert(), "incident_id": ID}),
        json!({"event_type": "escalated", "incident_id": ID, "from_severity": "P2",
            "to_severity": "P1", "reason": "worse"}),
        json!({"event_type": "playbook_started", "incident_id": ID, "playbook_id": ID,
            "playbook_name": "restart"}),
        json!({"event_type": "playbook_action_executed", "incident_id": ID, "playbook_id": "pb",
            "action_name": "drain", "success": false, "message": "no"}),
        json!({"event_type": "playbook_completed", "incident_id": ID, "playbook_id": "pb",
            "success": true, "actions_executed": 3}),
        json!({"event_type": "notification_sent", "incident_id": ID, "channel": "slack",
            "success": true}),
        json!({"event_type": "assignment_changed", "incident_id": ID, "assignees": ["a", "b"]}),
        json!({"event_type": "comment_added", "incident_id": ID, "author": "ann",
            "comment": "\u{1F525}", "timestamp": "2026-03-01T09:00:00.000Z"}),
        json!({"event_type": "system_event", "category": "deploy", "message": "v2",
            "metadata": {"by": "ci"}}),
    ];
    events
        .into_iter()
        .map(|mut event| {
            event["x_event"] = json!([{"exactly": 9_007_199_254_740_993_u64}, null, -1, 1.0]);
            event
        })
        .collect()
}

#[test]
fn every_type_comes_out_as_it_was_published() {
    let events = whole_events();
    assert_eq!(events.len(), EventType::ALL.len());
    for (event, kind) in events.into_iter().zip(EventType::ALL) {
        let payload = parse(event.clone()).unwrap();
        assert_eq!(payload.event_type(), kind);
        assert_eq!(serde_json::to_value(&payload).unwrap(), event);
        let text = serde_json::to_string(&payload).unwrap();
        assert!(text.starts_with(&format!(r#"{{"event_type":"{kind}","#)), "{text}");
        assert_eq!(serde_json::from_str::<Payload>(&text).unwrap(), payload);
    }
}

#[test]
fn what_an_incident_leaves_out_gets_its_default() {
    let minimal = json!({"id": ID, "severity": "P3", "source": "s", "title": "t"});
    for (kind, state) in [
        ("incident_created", "Detected"),
        ("incident_updated", "Detected"),
        ("incident_resolved", "Resolved"),
        ("incident_closed", "Closed"),
    ] {
        let payload = parse(json!({"event_type": kind, "incident": minimal})).unwrap();
        let mut filled = json!({
            "id": ID, "created_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
            "state": state, "severity": "P3", "incident_type": "Unknown", "source": "s",
            "title": "t", "description": "", "affected_resources": [], "labels": {},
            "related_incidents": [], "active_playbook": null, "resolution": null, "timeline": [],
            "assignees": [], "notes": [], "fingerprint": null, "correlation_score": null,
        });
        assert_eq!(serde_json::to_value(&payload).unwrap()["incident"], filled);
        filled["state"] = json!("Detected");
        let new = Incident::new(ID.parse().unwrap(), Severity::P3, "s", "t", now());
        assert_eq!(serde_json::to_value(&new).unwrap(), filled);
    }
}

#[test]
fn what_an_alert_leaves_out_gets_its_default() {
    let minimal = json!({"id": ID, "severity": "P3", "source": "s", "title": "t"});
    let payload = parse(json!({"event_type": "alert_received", "alert": minimal})).unwrap();
    let filled = json!({
        "id": ID, "external_id": "", "source": "s", "timestamp": "2026-03-01T10:00:00Z",
        "received_at": "2026-03-01T10:00:00Z", "severity": "P3", "alert_type": "Unknown",
        "title": "t", "description": "", "labels": {}, "affected_services": [],
        "runbook_url": null, "annotations": {}, "incident_id": null, "deduplicated": false,
        "parent_alert_id": null,
    });
    assert_eq!(serde_json::to_value(&payload).unwrap()["alert"], filled);
    let new = Alert::new(ID.parse().unwrap(), Severity::P3, "s", "t", now());
    assert_eq!(serde_json::to_value(&new).unwrap(), filled);
}

#[test]
fn null_stands_for_a_field_left_out() {
    let with_nulls = json!({"event_type": "incident_created", "incident": {
        "id": ID, "severity": "P3", "source": "s", "title": "t", "created_at": null, "state": null,
        "incident_type": null, "description": null, "labels": null, "assignees": null,
        "timeline": [{"event_type": "e", "actor": "a", "timestamp": null, "metadata": null}],
        "resolution": {"resolved_by": "r", "resolution_method": "Manual"},
    }});
    let incident = serde_json::to_value(parse(with_nulls).unwrap()).unwrap()["incident"].take();
    assert_eq!(incident["created_at"], "2026-03-01T10:00:00Z");
    assert_eq!(incident["timeline"][0]["timestamp"], "2026-03-01T10:00:00Z");
    assert_eq!(incident["resolution"]["resolved_at"], "2026-03-01T10:00:00Z");
    assert_eq!(incident["labels"], json!({}));
    assert_eq!(incident["incident_type"], "Unknown");
}

#[test]
fn an_error_names_the_field() {
    let incident = |field: &str, value: Value| {
        let mut incident = whole_incident();
        incident[field] = value;
        json!({"event_type": "incident_created", "incident": incident})
    };
    let without = |field: &str| {
        let mut event = json!({"event_type": "alert_received", "alert": whole_alert()});
        event["alert"].as_object_mut().unwrap().remove(field);
        event
    };
    for (event, path) in [
        (json!({}), "event_type"),
        (json!({"event_type": 7}), "event_type"),
        (json!({"event_type": "incident_deleted"}), "event_type"),
        (json!({"event_type": "incident_created"}), "incident"),
        (json!({"event_type": "incident_created", "incident": [1]}), "incident"),
        (incident("severity", json!("P9")), "incident.severity"),
        (incident("source", json!("")), "incident.source"),
        (incident("source", json!("ß".repeat(256))), "incident.source"),
        (incident("title", json!("x".repeat(501))), "incident.title"),
        (incident("labels", json!({"a": 1})), "incident.labels.a"),
        (incident("related_incidents", json!([ID, "no"])), "incident.related_incidents[1]"),
        (incident("created_at", json!("yesterday")), "incident.created_at"),
        (incident("notes", json!([{"id": ID, "author": "a"}])), "incident.notes[0].content"),
        (
            incident("resolution", json!({"resolved_by": "a"})),
            "incident.resolution.resolution_method",
        ),
        (incident("correlation_score", json!("1")), "incident.correlation_score"),
        (without("id"), "alert.id"),
        (without("severity"), "alert.severity"),
        (without("source"), "alert.source"),
        (without("title"), "alert.title"),
        (
            json!({"event_type": "escalated", "incident_id": ID, "from_severity": "P1"}),
            "to_severity",
        ),
        (json!({"event_type": "assignment_changed", "incident_id": ID}), "assignees"),
    ] {
        assert_eq!(parse(event.clone()).unwrap_err().path, path, "{event}");
    }
    assert!(parse(incident("source", json!("ß".repeat(255)))).is_ok());
    assert!(parse(incident("title", json!("ß".repeat(500)))).is_ok());
}

#[test]
fn priorities_follow_the_table() {
    let incident = |kind: &str, severity: &str| {
        let incident = json!({"id": ID, "severity": severity, "source": "s", "title": "t"});
        parse(json!({"event_type": kind, "incident": incident})).unwrap().priority()
    };
    let alert = |kind: &str, severity: &str| {
        let alert = json!({"id": ID, "severity": severity, "source": "s", "title": "t"});
        let event = json!({"event_type": kind, "alert": alert, "incident_id": ID});
        parse(event).unwrap().priority()
    };
    let escalated = |to: &str| {
        let event = json!({"event_type": "escalated", "incident_id": ID, "from_severity": "P0",
            "to_severity": to});
        parse(event).unwrap().priority()
    };
    use Priority::{Critical, High, Low, Normal};
    let by_severity = |lane: &dyn Fn(&str) -> Priority| ["P0", "P1", "P2", "P3", "P4"].map(lane);
    let created = by_severity(&|severity| incident("incident_created", severity));
    assert_eq!(created, [Critical, High, Normal, Normal, Normal]);
    assert_eq!(by_severity(&escalated), [Critical, High, High, High, High]);
    let received = by_severity(&|severity| alert("alert_received", severity));
    assert_eq!(received, [High, High, Normal, Normal, Normal]);
    assert_eq!(by_severity(&|severity| alert("alert_converted", severity)), [Normal; 5]);
    for kind in ["incident_updated", "incident_resolved", "incident_closed"] {
        assert_eq!(by_severity(&|severity| incident(kind, severity)), [Normal; 5], "{kind}");
    }
    let rest: Vec<_> =
        whole_events()[7..].iter().map(|event| parse(event.clone()).unwrap().priority()).collect();
    assert_eq!(rest, [Normal, Low, Normal, Normal, Normal, Low, Low]);
}

#[test]
fn each_type_tells_its_incident_and_its_own_context() {
    for event in whole_events() {
        let kind = event["event_type"].as_str().unwrap().to_owned();
        let payload = parse(event).unwrap();
        let context = payload.own_context();
        let has_incident = !matches!(kind.as_str(), "alert_received" | "system_event");
        assert_eq!(payload.incident_id().is_some(), has_incident, "{kind}");
        assert_eq!(context.state.is_some(), kind.starts_with("incident_"), "{kind}");
        let has_labels = kind.starts_with("incident_") || kind.starts_with("alert_");
        assert_eq!(context.labels.is_some(), has_labels, "{kind}");
        assert_eq!(context.source.is_some(), has_labels, "{kind}");
        let has_severity = has_labels || kind == "escalated";
        assert_eq!(context.severity.is_some(), has_severity, "{kind}");
        if kind.starts_with("alert_") {
            assert_eq!(context.affected_resources.unwrap(), ["api"]);
        }
    }
}

#[test]
fn a_context_prefers_what_it_says_itself() {
    let own = Context { severity: Some(Severity::P0), ..Context::default() };
    let other = Context {
        severity: Some(Severity::P4),
        source: Some("s".to_owned()),
        ..Context::default()
    };
    let merged = own.clone().or(other.clone());
    assert_eq!(merged.severity, Some(Severity::P0));
    assert_eq!(merged.source.as_deref(), Some("s"));
    assert_eq!(own.clone().or_cloned(&other), merged);
    assert_eq!(Context::default().or(other.clone()), other);
    assert!(!own.is_empty() && Context::default().is_empty());
    assert!(merged.weight_bytes() > own.weight_bytes());
    assert!(serde_json::from_value::<Context>(json!({"severety": "P0"})).is_err());
}

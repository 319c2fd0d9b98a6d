//! Events to publish.

use std::path::PathBuf;

use serde_json::{Value, json};

/// An id; the same number is always the same one.
pub fn id(number: u32) -> String {
    format!("01934f00-0000-7000-8000-{number:012x}")
}

/// An incident at this severity, with what publishers usually know.
pub fn incident(number: u32, severity: &str) -> Value {
    json!({
        "id": id(number), "severity": severity, "state": "Detected", "source": "tests",
        "title": format!("Incident {number}"),
    })
}

pub fn created(number: u32, severity: &str) -> Value {
    json!({"event_type": "incident_created", "incident": incident(number, severity)})
}

pub fn alert(number: u32, severity: &str) -> Value {
    json!({"event_type": "alert_received", "alert": {
        "id": id(number), "severity": severity, "source": "tests", "title": format!("Alert {number}"),
    }})
}

pub fn comment(number: u32, text: &str) -> Value {
    json!({
        "event_type": "comment_added", "incident_id": id(number), "author": "alice",
        "comment": text, "timestamp": "2026-01-02T03:04:05Z",
    })
}

/// Priority low, no attributes: overtakes nothing, and only filters on the type choose it.
pub fn system(message: &str) -> Value {
    json!({"event_type": "system_event", "category": "tests", "message": message, "metadata": {}})
}

/// A system event of about so many bytes.
pub fn large(message: &str, bytes: usize) -> Value {
    let mut event = system(message);
    event["metadata"] = json!({"filler": "x".repeat(bytes)});
    event
}

/// NDJSON with one event of every type, each with all fields and with unknown ones.
pub fn samples_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/events.ndjson")
}

/// The events of [`samples_file`].
pub fn samples() -> Vec<Value> {
    let text = std::fs::read_to_string(samples_file()).expect("the samples");
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

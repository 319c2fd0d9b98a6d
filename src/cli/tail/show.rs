//! An event as a line: for people, or as it came.

use std::io::{self, Write};

use anstyle::{AnsiColor, Color, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::base::logged::Logged;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Writes events to stdout, each at once.
#[derive(Debug)]
pub struct Printer {
    json: bool,
    zone: TimeZone,
}

impl Printer {
    pub fn new(json: bool) -> Self {
        Self { json, zone: TimeZone::system() }
    }

    /// Prints one `event` message, of which `text` is the wire form.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn event(&self, text: &str, message: &Value) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            // In JSON a raw line break only ever stands between tokens.
            out.write_all(text.replace(['\n', '\r'], " ").as_bytes())?;
            out.write_all(b"\n")?;
            return out.flush();
        }
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}", readable(message, &self.zone))?;
        out.flush()
    }
}

/// Time, priority, severity, type, and what happened.
fn readable(message: &Value, zone: &TimeZone) -> String {
    let event = &message["event"];
    let event_type = text(&event["event_type"]);
    let priority = text(&message["priority"]);
    let severity = severity(event);
    let priority_style = style_of(priority);
    let severity_style = severity_style(severity);
    let summary = summary(event_type, event);
    let seq = message["seq"].as_u64().map_or_else(String::new, |seq| format!(" #{seq}"));
    format!(
        "{DIM}{}{DIM:#} {priority_style}{:<8}{priority_style:#} \
         {severity_style}{:<2}{severity_style:#} {BOLD}{:<24}{BOLD:#} {summary}{DIM}{seq}{DIM:#}",
        time(text(&message["timestamp"]), zone),
        Logged(priority).to_string(),
        Logged(severity).to_string(),
        Logged(event_type).to_string(),
    )
}

fn time(timestamp: &str, zone: &TimeZone) -> String {
    match timestamp.parse::<Timestamp>() {
        Ok(moment) => moment.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string(),
        Err(_) => Logged(timestamp).to_string(),
    }
}

fn severity(event: &Value) -> &str {
    let places =
        [&event["incident"]["severity"], &event["alert"]["severity"], &event["to_severity"]];
    places.into_iter().find_map(Value::as_str).unwrap_or("-")
}

fn style_of(priority: &str) -> Style {
    match priority {
        "critical" => coloured(AnsiColor::Red).bold(),
        "high" => coloured(AnsiColor::Yellow),
        "low" => DIM,
        _ => Style::new(),
    }
}

fn severity_style(severity: &str) -> Style {
    match severity {
        "P0" => coloured(AnsiColor::Red).bold(),
        "P1" => coloured(AnsiColor::Yellow).bold(),
        "P2" => coloured(AnsiColor::Yellow),
        "P3" => coloured(AnsiColor::Cyan),
        _ => DIM,
    }
}

const fn coloured(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

fn summary(event_type: &str, event: &Value) -> String {
    let field = |name: &str| Logged(text(&event[name])).to_string();
    let outcome = if event["success"].as_bool() == Some(true) { "ok" } else { "failed" };
    let about = |what: String| format!("{what}  {DIM}{}{DIM:#}", field("incident_id"));
    match event_type {
        "incident_created" | "incident_resolved" | "incident_closed" => subject(&event["incident"]),
        "incident_updated" => {
            let state = Logged(text(&event["incident"]["state"])).to_string();
            let change = match event["previous_state"].as_str() {
                Some(before) => format!("{} → {state}: ", Logged(before)),
                None => format!("{state}: "),
            };
            change + &subject(&event["incident"])
        }
        "alert_received" => subject(&event["alert"]),
        "alert_converted" => about(subject(&event["alert"]) + " → incident"),
        "escalated" => about(format!(
            "{} → {}: {}",
            field("from_severity"),
            field("to_severity"),
            field("reason")
        )),
        "playbook_started" => {
            about(format!("{} ({})", field("playbook_name"), field("playbook_id")))
        }
        "playbook_action_executed" => {
            about(format!("{} {outcome}: {}", field("action_name"), field("message")))
        }
        "playbook_completed" => {
            let actions = &event["actions_executed"];
            about(format!("{} {outcome} after {actions} actions", field("playbook_id")))
        }
        "notification_sent" => about(format!("by {} {outcome}", field("channel"))),
        "assignment_changed" => {
            let names = event["assignees"].as_array().into_iter().flatten().map(text);
            let names = names.collect::<Vec<_>>().join(", ");
            about(if names.is_empty() { "nobody".into() } else { Logged(&names).to_string() })
        }
        "comment_added" => about(format!("{}: {}", field("author"), field("comment"))),
        "system_event" => format!("[{}] {}", field("category"), field("message")),
        _ => Logged(&event.to_string()).to_string(),
    }
}

/// An incident or alert: source, title, id.
fn subject(value: &Value) -> String {
    let field = |name: &str| Logged(text(&value[name])).to_string();
    format!("[{}] {}  {DIM}{}{DIM:#}", field("source"), field("title"), field("id"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(event: Value) -> String {
        let message = json!({
            "type": "event", "message_id": "m", "timestamp": "2026-01-02T03:04:05.678Z",
            "seq": 7, "priority": "high", "event": event,
        });
        anstream::adapter::strip_str(&readable(&message, &TimeZone::UTC)).to_string()
    }

    #[test]
    fn an_alert_is_one_readable_line() {
        let line = shown(json!({
            "event_type": "alert_received",
            "alert": {"id": "a1", "severity": "P1", "source": "gpu", "title": "Memory is full"},
        }));
        let expected =
            "03:04:05.678 high     P1 alert_received           [gpu] Memory is full  a1 #7";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_strangers_wrote_cannot_drive_the_terminal() {
        let line = shown(json!({
            "event_type": "comment_added", "incident_id": "i1",
            "author": "eve\u{1b}[2J", "comment": "a\nb",
        }));
        assert!(!line.contains('\n') && line.contains("eve\\u{1b}[2J: a\\nb  i1"), "{line}");
    }

    #[test]
    fn every_type_of_event_says_what_happened() {
        let incident = json!({"id": "i1", "source": "s", "title": "T", "state": "Triaged"});
        for (event, expected) in [
            (
                json!({"event_type": "incident_updated", "incident": incident,
                "previous_state": "Detected"}),
                "Detected → Triaged: [s] T  i1",
            ),
            (
                json!({"event_type": "escalated", "incident_id": "i1", "from_severity": "P2",
                "to_severity": "P0", "reason": "no answer"}),
                "P2 → P0: no answer  i1",
            ),
            (
                json!({"event_type": "playbook_action_executed", "incident_id": "i1",
                "action_name": "drain", "success": false, "message": "no host"}),
                "drain failed: no host  i1",
            ),
            (
                json!({"event_type": "playbook_completed", "incident_id": "i1", "playbook_id": "p",
                "success": true, "actions_executed": 3}),
                "p ok after 3 actions  i1",
            ),
            (
                json!({"event_type": "assignment_changed", "incident_id": "i1", "assignees": []}),
                "nobody  i1",
            ),
            (json!({"event_type": "system_event", "category": "c", "message": "m"}), "[c] m"),
            (json!({"event_type": "of_the_future", "x": 1}), "\"x\":1"),
        ] {
            let line = shown(event);
            assert!(line.contains(expected), "{line}");
        }
    }
}

//! One event from flags, for trying out and for shell scripts.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::{NoContext, Timestamp, Uuid};

use crate::base::clock::Clock;
use crate::cli::tail::{names, parse_label};
use crate::event::{IncidentType, Severity};

/// What can be published without writing JSON.
#[derive(Debug, Subcommand)]
pub enum Event {
    /// A new incident (incident_created)
    Incident(Subject),
    /// An alert (alert_received)
    Alert(Subject),
    /// A comment on an incident (comment_added)
    Comment(Comment),
    /// Word from the system itself (system_event)
    System(System),
}

#[derive(Debug, Args)]
pub struct Subject {
    /// What is wrong, in one line
    #[arg(long)]
    title: String,
    #[arg(long, value_parser = names(&Severity::ALL.map(Severity::as_str)), default_value = "P2")]
    severity: String,
    /// Who says so
    #[arg(long, default_value = "cli")]
    source: String,
    /// What more there is to say
    #[arg(long)]
    description: Option<String>,
    /// What it is about
    #[arg(long = "type", value_name = "TYPE",
        value_parser = names(&IncidentType::ALL.map(IncidentType::as_str)))]
    kind: Option<String>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// An affected resource or service; may be given several times
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<String>,
    /// By default a new one
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
}

#[derive(Debug, Args)]
pub struct Comment {
    /// The incident that the comment is about
    #[arg(long, value_name = "UUID")]
    incident: Uuid,
    #[arg(long, default_value = "cli")]
    author: String,
    /// What is said
    #[arg(long)]
    text: String,
}

#[derive(Debug, Args)]
pub struct System {
    #[arg(long, default_value = "cli")]
    category: String,
    #[arg(long)]
    message: String,
    /// Further facts; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    metadata: Vec<(String, String)>,
}

impl Event {
    /// The event as the HTTP API takes it.
    pub fn to_json(&self) -> Value {
        let clock = Clock::System;
        match self {
            Self::Incident(subject) => {
                let mut incident = subject.to_json(&clock);
                subject.put(&mut incident, "incident_type", "affected_resources");
                json!({ "event_type": "incident_created", "incident": incident })
            }
            Self::Alert(subject) => {
                let mut alert = subject.to_json(&clock);
                subject.put(&mut alert, "alert_type", "affected_services");
                json!({ "event_type": "alert_received", "alert": alert })
            }
            Self::Comment(Comment { incident, author, text }) => json!({
                "event_type": "comment_added",
                "incident_id": incident,
                "author": author,
                "comment": text,
                "timestamp": clock.wall(),
            }),
            Self::System(System { category, message, metadata }) => json!({
                "event_type": "system_event",
                "category": category,
                "message": message,
                "metadata": map_of(metadata),
            }),
        }
    }
}

impl Subject {
    fn to_json(&self, clock: &Clock) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("id".into(), json!(self.id.unwrap_or_else(|| new_id(clock))));
        object.insert("severity".into(), json!(self.severity));
        object.insert("source".into(), json!(self.source));
        object.insert("title".into(), json!(self.title));
        if let Some(description) = &self.description {
            object.insert("description".into(), json!(description));
        }
        if !self.labels.is_empty() {
            object.insert("labels".into(), map_of(&self.labels));
        }
        object
    }

    fn put(&self, object: &mut Map<String, Value>, kind_field: &str, resources_field: &str) {
        if let Some(kind) = &self.kind {
            object.insert(kind_field.into(), json!(kind));
        }
        if !self.resources.is_empty() {
            object.insert(resources_field.into(), json!(self.resources));
        }
    }
}

fn map_of(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

fn new_id(clock: &Clock) -> Uuid {
    let now = clock.wall().as_duration();
    let seconds = u64::try_from(now.as_secs()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanos()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::protocol::parse_item;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        event: Event,
    }

    fn published(line: &[&str]) -> Value {
        let words = ["publish"].iter().chain(line);
        let event = Line::try_parse_from(words).expect("valid").event.to_json();
        let publish = parse_item(event, Clock::System.wall()).expect("a valid event");
        serde_json::to_value(&publish.payload).expect("JSON")
    }

    #[test]
    fn flags_become_an_incident() {
        let event = published(&[
            "incident",
            "--title",
            "Down",
            "--severity",
            "P0",
            "--label",
            "team=sre",
            "--resource",
            "db",
            "--type",
            "Data",
        ]);
        assert_eq!(event["event_type"], "incident_created");
        let incident = &event["incident"];
        assert_eq!((&incident["severity"], &incident["source"]), (&json!("P0"), &json!("cli")));
        assert_eq!(incident["labels"], json!({ "team": "sre" }));
        assert_eq!(incident["affected_resources"], json!(["db"]));
        assert_eq!(incident["incident_type"], "Data");
    }

    #[test]
    fn flags_become_alerts_comments_and_system_events() {
        let id = "018f0000-0000-7000-8000-000000000001";
        let alert = published(&["alert", "--title", "Hot", "--resource", "gpu", "--id", id]);
        assert_eq!(alert["alert"]["affected_services"], json!(["gpu"]));
        assert_eq!(
            (&alert["alert"]["id"], &alert["alert"]["severity"]),
            (&json!(id), &json!("P2"))
        );
        let comment = published(&["comment", "--incident", id, "--text", "On it"]);
        assert_eq!((&comment["incident_id"], &comment["comment"]), (&json!(id), &json!("On it")));
        let system = published(&["system", "--message", "Hello", "--metadata", "a=b"]);
        assert_eq!(system["metadata"], json!({ "a": "b" }));
    }
}

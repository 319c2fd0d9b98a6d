//! The events of a run: their JSON, of the size asked for, with their marks.

use serde_json::{Value, json};

use super::{Due, Kind, Plan, Way};
use crate::filters::resource;
use crate::priority::Priority;
use crate::wire::mark;
use crate::wire::message::{DUE_KEY, INDEX_KEY, Mark, RUN_KEY, SENT_KEY};

const INCIDENT: &str = "019ca8e1-9f40-7000-8000-0000000000aa";

/// An event's JSON; Alarmcast's with its key of idempotency.
pub fn event(plan: &Plan, due: Due, sent_ns: u64) -> String {
    let missing_bytes =
        plan.event_bytes.saturating_sub(padded(plan, due, sent_ns, 0).to_string().len());
    let mut event = padded(plan, due, sent_ns, missing_bytes);
    if let Way::Alarmcast { .. } = plan.way {
        let name = match plan.kind {
            Kind::Of(priority) => priority.name(),
            Kind::Low | Kind::LowByClass { .. } => "load",
        };
        event["idempotency_key"] = format!("{name}-{}-{}", plan.run, due.index).into();
    }
    event.to_string()
}

fn padded(plan: &Plan, due: Due, sent_ns: u64, padding_bytes: usize) -> Value {
    let text = format!("load event {} {}", due.index, "x".repeat(padding_bytes));
    let low = |index: u32| {
        json!({
            "event_type": "system_event", "category": "load", "message": text,
            "metadata": metadata(plan, Due { index, ..due }, sent_ns),
        })
    };
    match plan.kind {
        Kind::Low => low(due.index),
        Kind::LowByClass { classes } => {
            let mut event = low(due.index / classes);
            event["context"] = json!({"affected_resources": [resource(due.index % classes)]});
            event
        }
        Kind::Of(priority) => {
            let mut event = of_priority(priority, &text);
            // Fields that the server does not know, such as metadata mostly, are passed on.
            event["metadata"] = metadata(plan, due, sent_ns);
            // An incident says itself what it affects.
            let place = if priority == Priority::Critical { "incident" } else { "context" };
            event[place]["affected_resources"] = json!([resource(0)]);
            event
        }
    }
}

/// An event that has this priority by itself.
pub fn of_priority(priority: Priority, text: &str) -> Value {
    match priority {
        Priority::Critical => json!({
            "event_type": "incident_created",
            "incident": {
                "id": INCIDENT, "severity": "P0", "source": "load", "title": "load",
                "description": text,
            },
        }),
        Priority::High => json!({
            "event_type": "escalated", "incident_id": INCIDENT,
            "from_severity": "P2", "to_severity": "P1", "reason": text,
        }),
        Priority::Normal => json!({
            "event_type": "playbook_started", "incident_id": INCIDENT,
            "playbook_id": "load", "playbook_name": text,
        }),
        Priority::Low => json!({
            "event_type": "system_event", "category": "load", "message": text,
        }),
    }
}

/// The mark; of another server's messages it is not known where they hold what.
fn metadata(plan: &Plan, due: Due, sent_ns: u64) -> Value {
    let (run, Due { index, due_ns }) = (plan.run, due);
    match plan.way {
        Way::Alarmcast { .. } => json!({
            RUN_KEY: run.to_string(),
            INDEX_KEY: index.to_string(),
            DUE_KEY: due_ns.to_string(),
            SENT_KEY: sent_ns.to_string(),
        }),
        Way::Other { .. } => json!({mark::KEY: mark::write(&Mark { run, index, due_ns, sent_ns })}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use crate::template::Publish;

    fn plan(event_bytes: usize, kind: Kind) -> Plan {
        let way = Way::Alarmcast { control: "http://127.0.0.1:1".to_owned() };
        Plan { way, run: 7, events: 1, rate: 1.0, event_bytes, kind }
    }

    #[test]
    fn an_event_has_the_size_asked_for_and_its_mark() {
        let text = event(&plan(512, Kind::Low), Due { index: 3, due_ns: 9 }, 10);
        let mut event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["metadata"][INDEX_KEY], "3");
        assert_eq!(event["metadata"][DUE_KEY], "9");
        let key = event.as_object_mut().and_then(|event| event.remove("idempotency_key"));
        assert_eq!(key, Some("load-7-3".into()));
        assert_eq!(event.to_string().len(), 512);
    }

    #[test]
    fn an_event_for_another_server_has_a_mark_that_is_found() {
        let publish = Publish::Http {
            path: "/".to_owned(),
            content_type: "text/plain".to_owned(),
            body: "{event}".to_owned(),
        };
        let target = Target::parse("ws://127.0.0.1:1").expect("a good URL");
        let way = Way::Other { control: "http://127.0.0.1:1".to_owned(), target, publish };
        let plan = Plan { way, ..plan(512, Kind::Low) };
        let text = event(&plan, Due { index: 3, due_ns: 9 }, 10);
        let mark = Mark { run: 7, index: 3, due_ns: 9, sent_ns: 10 };
        assert_eq!(mark::find_all(text.as_bytes()).collect::<Vec<_>>(), [mark]);
        assert_eq!(text.len(), 512);
    }

    #[test]
    fn events_of_classes_are_numbered_within_each() {
        let kind = Kind::LowByClass { classes: 10 };
        let text = event(&plan(0, kind), Due { index: 37, due_ns: 9 }, 10);
        let event: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["metadata"][INDEX_KEY], "3");
        assert_eq!(event["context"]["affected_resources"][0], "class-7");
    }
}

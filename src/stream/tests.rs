use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::contexts::Contexts;
use super::idempotency::{Idempotency, Outcome};
use super::*;
use crate::base::clock::Instant;
use crate::event::{Context, Event, IncidentState, Payload, Publish, Severity};

fn wall() -> jiff::Timestamp {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn payload(value: serde_json::Value) -> Payload {
    let serde_json::Value::Object(object) = value else { panic!("an object") };
    Payload::from_published(object, wall()).unwrap()
}

fn comment(incident: u128) -> Payload {
    payload(json!({
        "event_type": "comment_added", "incident_id": Uuid::from_u128(incident),
        "author": "a", "comment": "c",
    }))
}

fn incident(incident: u128, severity: Severity, state: IncidentState) -> Payload {
    payload(json!({"event_type": "incident_updated", "incident": {
        "id": Uuid::from_u128(incident), "severity": severity, "state": state, "source": "s",
        "title": "t", "labels": {"team": "core"}, "affected_resources": ["db"],
    }}))
}

fn sequence(sequencer: &mut Sequencer, publish: impl Into<Publish>) -> Event {
    let message_id = Uuid::from_u128(u128::from(sequencer.newest()) + 1000);
    match sequencer.sequence(publish.into(), Instant::from_nanos(5), wall(), message_id) {
        Sequenced::New(event) => *event,
        Sequenced::Duplicate { .. } => panic!("not a duplicate"),
    }
}

#[test]
fn an_event_is_what_was_published_with_its_place() {
    let mut sequencer = Sequencer::new("e1".to_owned());
    assert_eq!((sequencer.epoch(), sequencer.newest()), ("e1", 0));
    let event = sequence(&mut sequencer, incident(1, Severity::P2, IncidentState::Triaged));
    assert_eq!(event.seq, 1);
    assert_eq!(event.message_id, Uuid::from_u128(1000));
    assert_eq!(event.timestamp, wall());
    assert_eq!(event.accepted_at, Instant::from_nanos(5));
    assert_eq!(event.priority, event.payload.priority());
    let attributes = event.attributes();
    assert_eq!(attributes.event_type, event.payload.event_type());
    assert_eq!(attributes.severity, Some(Severity::P2));
    assert_eq!(attributes.state, Some(IncidentState::Triaged));
    assert_eq!(attributes.source, Some("s"));
    assert_eq!(attributes.affected_resources, Some(&["db".to_owned()][..]));
    assert_eq!(attributes.labels.unwrap()["team"], "core");
    assert_eq!(attributes.incident_id, Some(Uuid::from_u128(1)));
    assert_eq!(sequence(&mut sequencer, comment(1)).seq, 2);
    assert_eq!(sequencer.newest(), 2);
}

#[test]
fn a_comment_has_the_context_of_its_incident() {
    let mut sequencer = Sequencer::new("e".to_owned());
    assert!(sequence(&mut sequencer, comment(1)).context.is_empty());
    sequence(&mut sequencer, incident(1, Severity::P0, IncidentState::Detected));
    let context = sequence(&mut sequencer, comment(1)).context;
    assert_eq!(context.severity, Some(Severity::P0));
    assert_eq!(context.affected_resources.unwrap(), ["db"]);
    assert!(sequence(&mut sequencer, comment(2)).context.is_empty());
}

#[test]
fn an_escalation_changes_the_severity_that_is_remembered() {
    let mut sequencer = Sequencer::new("e".to_owned());
    sequence(&mut sequencer, incident(1, Severity::P3, IncidentState::Triaged));
    let escalated = payload(json!({
        "event_type": "escalated", "incident_id": Uuid::from_u128(1),
        "from_severity": "P3", "to_severity": "P1",
    }));
    let context = sequence(&mut sequencer, escalated).context;
    assert_eq!(context.severity, Some(Severity::P1));
    assert_eq!(context.state, Some(IncidentState::Triaged));
    assert_eq!(sequence(&mut sequencer, comment(1)).context, context);
}

#[test]
fn own_fields_win_then_the_publishers_then_the_remembered() {
    let mut sequencer = Sequencer::new("e".to_owned());
    let attached = Context {
        severity: Some(Severity::P4),
        source: Some("attached".to_owned()),
        ..Context::default()
    };
    let with = |payload| Publish { context: Some(attached.clone()), ..Publish::from(payload) };
    let event = sequence(&mut sequencer, with(incident(1, Severity::P0, IncidentState::Detected)));
    assert_eq!(event.context.severity, Some(Severity::P0));
    assert_eq!(event.context.source.as_deref(), Some("s"));

    let event = sequence(&mut sequencer, with(comment(1)));
    assert_eq!(event.context.severity, Some(Severity::P4));
    assert_eq!(event.context.source.as_deref(), Some("attached"));
    assert_eq!(event.context.state, Some(IncidentState::Detected));
    assert_eq!(sequence(&mut sequencer, comment(1)).context, event.context);
}

#[test]
fn an_alert_borrows_its_incidents_state_and_does_not_change_it() {
    let mut sequencer = Sequencer::new("e".to_owned());
    sequence(&mut sequencer, incident(1, Severity::P3, IncidentState::Triaged));
    let converted = payload(json!({
        "event_type": "alert_converted", "incident_id": Uuid::from_u128(1),
        "alert": {"id": Uuid::from_u128(9), "severity": "P0", "source": "alarm", "title": "t"},
    }));
    let event = sequence(&mut sequencer, converted);
    assert_eq!(event.context.severity, Some(Severity::P0));
    assert_eq!(event.context.state, Some(IncidentState::Triaged));
    let context = sequence(&mut sequencer, comment(1)).context;
    assert_eq!((context.severity, context.source.as_deref()), (Some(Severity::P3), Some("s")));
}

#[test]
fn what_an_overtaking_event_said_of_an_incident_stays_the_newest() {
    let mut sequencer = Sequencer::new("e".to_owned());
    let mut at = |publish: Payload, nanos| {
        let (now, id) = (Instant::from_nanos(nanos), Uuid::from_u128(u128::from(nanos)));
        match sequencer.sequence(publish.into(), now, wall(), id) {
            Sequenced::New(event) => event.context,
            Sequenced::Duplicate { .. } => panic!("no keys are used"),
        }
    };
    at(incident(1, Severity::P0, IncidentState::Triaged), 20);
    let overtaken = at(incident(1, Severity::P2, IncidentState::Detected), 10);
    assert_eq!(overtaken.severity, Some(Severity::P2), "an event says of itself what it says");
    let context = at(comment(1), 30);
    assert_eq!(context.severity, Some(Severity::P0));
    assert_eq!(context.state, Some(IncidentState::Triaged));
}

#[test]
fn a_repeated_key_is_answered_like_the_first_and_changes_nothing() {
    let mut sequencer = Sequencer::new("e".to_owned());
    let keyed =
        |payload| Publish { idempotency_key: Some("k".to_owned()), ..Publish::from(payload) };
    let first = sequence(&mut sequencer, keyed(comment(1)));
    let again = sequencer.sequence(
        keyed(incident(1, Severity::P0, IncidentState::Detected)),
        Instant::from_nanos(6),
        wall(),
        Uuid::from_u128(7),
    );
    let Sequenced::Duplicate { message_id, seq } = again else { panic!("a duplicate") };
    assert_eq!((message_id, seq), (first.message_id, first.seq));
    assert_eq!(sequencer.newest(), 1);
    assert!(sequence(&mut sequencer, comment(1)).context.is_empty());
}

#[test]
fn the_oldest_key_is_forgotten_first() {
    let mut keys = Idempotency::new(2);
    for seq in 1..=3 {
        keys.remember(&format!("k{seq}"), Outcome { message_id: Uuid::nil(), seq });
    }
    assert_eq!(keys.find("k1"), None);
    assert_eq!(keys.find("k2").unwrap().seq, 2);
    assert_eq!(keys.find("k3").unwrap().seq, 3);
}

#[test]
fn the_context_updated_longest_ago_is_forgotten_first() {
    let context = |severity| Context { severity: Some(severity), ..Context::default() };
    let mut contexts = Contexts::new(2, usize::MAX);
    let id = Uuid::from_u128;
    contexts.remember(id(1), context(Severity::P1), Instant::default());
    contexts.remember(id(2), context(Severity::P2), Instant::default());
    contexts.remember(id(1), context(Severity::P0), Instant::default());
    contexts.remember(id(3), context(Severity::P3), Instant::default());
    assert_eq!(contexts.find(id(2)), None);
    assert_eq!(contexts.find(id(1)).map(|(found, _)| found), Some(&context(Severity::P0)));
    assert_eq!(contexts.find(id(3)).map(|(found, _)| found), Some(&context(Severity::P3)));
}

#[test]
fn remembered_contexts_are_bounded_in_bytes_too() {
    let large = Context { source: Some("x".repeat(1000)), ..Context::default() };
    let mut contexts = Contexts::new(100, 3 * large.weight_bytes());
    for number in 0..10 {
        contexts.remember(Uuid::from_u128(number), large.clone(), Instant::default());
    }
    let held = (0..10).filter(|&number| contexts.find(Uuid::from_u128(number)).is_some());
    assert_eq!(held.collect::<Vec<_>>(), [7, 8, 9]);
    let huge = Context { source: Some("x".repeat(10_000)), ..Context::default() };
    contexts.remember(Uuid::from_u128(9), huge, Instant::default());
    assert!((0..10).all(|number| contexts.find(Uuid::from_u128(number)).is_none()));
}

proptest! {
    #[test]
    fn the_sequence_is_dense_and_each_key_counts_once(
        requests in prop::collection::vec(
            (prop::option::of(0..8_u8), 0..4_u128, any::<bool>()), 1..100),
    ) {
        let mut sequencer = Sequencer::new("e".to_owned());
        let mut keys: HashMap<u8, (Uuid, u64)> = HashMap::new();
        let mut known: HashMap<u128, Context> = HashMap::new();
        let mut newest = 0;
        for (place, (key, number, is_comment)) in requests.into_iter().enumerate() {
            let severity = Severity::ALL[place % 5];
            let payload = if is_comment {
                comment(number)
            } else {
                incident(number, severity, IncidentState::Triaged)
            };
            let own = payload.own_context();
            let idempotency_key = key.map(|key| key.to_string());
            let message_id = Uuid::from_u128(place as u128);
            let publish = Publish { payload, context: None, idempotency_key };
            match sequencer.sequence(publish, Instant::default(), wall(), message_id) {
                Sequenced::New(event) => {
                    prop_assert!(key.is_none_or(|key| !keys.contains_key(&key)));
                    newest += 1;
                    prop_assert_eq!(event.seq, newest);
                    prop_assert_eq!(event.message_id, message_id);
                    if let Some(key) = key {
                        keys.insert(key, (message_id, newest));
                    }
                    let expected = own.or(known.get(&number).cloned().unwrap_or_default());
                    prop_assert_eq!(&event.context, &expected);
                    known.insert(number, expected);
                }
                Sequenced::Duplicate { message_id, seq } => {
                    prop_assert_eq!(keys.get(&key.unwrap()), Some(&(message_id, seq)));
                }
            }
            prop_assert_eq!(sequencer.newest(), newest);
        }
    }
}

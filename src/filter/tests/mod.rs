mod evaluation;
mod operations;
mod scale;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::model::Sample;
use super::*;
use crate::base::limits::{FILTER_TERMS_MAX, FILTER_VALUE_BYTES_MAX};
use crate::event::{EventType, IncidentState, Priority, Severity};

/// An event that carries every attribute.
fn whole() -> Sample {
    Sample {
        event_type: EventType::IncidentCreated,
        priority: Priority::High,
        severity: Some(Severity::P1),
        state: Some(IncidentState::Triaged),
        source: Some("prometheus".to_owned()),
        title: Some("Checkout is slow".to_owned()),
        affected_resources: Some(vec!["api-1".to_owned(), "db".to_owned()]),
        labels: Some(labels(&[("team", "core"), ("env", "prod")])),
        incident_id: Some(Uuid::from_u128(1)),
    }
}

/// An event that carries nothing but its type and priority.
fn bare() -> Sample {
    Sample {
        event_type: EventType::IncidentCreated,
        priority: Priority::Low,
        severity: None,
        state: None,
        source: None,
        title: None,
        affected_resources: None,
        labels: None,
        incident_id: None,
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn spec(value: Value) -> FilterSpec {
    serde_json::from_value(value).unwrap()
}

fn filter(value: Value) -> Filter {
    spec(value).compile().unwrap()
}

#[test]
fn each_field_matches_as_the_table_says() {
    let id = |number: u128| Uuid::from_u128(number).to_string();
    for (filters, whole_matches, bare_matches) in [
        (json!({}), true, true),
        (json!({"event_types": [], "labels": {}, "sources": null}), true, true),
        (json!({"event_types": ["incident_created", "escalated"]}), true, true),
        (json!({"event_types": ["escalated"]}), false, false),
        (json!({"severities": ["P0", "P1"]}), true, false),
        (json!({"severities": ["P0", "P1", "P2", "P3", "P4"]}), true, false),
        (json!({"severities": ["P0"]}), false, false),
        (json!({"states": ["Triaged"]}), true, false),
        (json!({"states": ["Closed"]}), false, false),
        (json!({"sources": ["x", "prometheus"]}), true, false),
        (json!({"sources": ["prom"]}), false, false),
        (json!({"affected_resources": ["db", "x"]}), true, false),
        (json!({"affected_resources": ["api"]}), false, false),
        (json!({"labels": {"team": "core"}}), true, false),
        (json!({"labels": {"team": "core", "env": "prod"}}), true, false),
        (json!({"labels": {"team": "core", "env": "test"}}), false, false),
        (json!({"labels": {"region": "eu"}}), false, false),
        (json!({"incident_ids": [id(2), id(1)]}), true, false),
        (json!({"incident_ids": [id(2)]}), false, false),
        (json!({"severities": ["P1"], "sources": ["prometheus"]}), true, false),
        (json!({"severities": ["P1"], "sources": ["x"]}), false, false),
    ] {
        let compiled = filter(filters.clone());
        assert_eq!(compiled.matches(&whole().attributes()), whole_matches, "{filters} whole");
        assert_eq!(compiled.matches(&bare().attributes()), bare_matches, "{filters} bare");
    }
}

#[test]
fn filters_that_mean_the_same_are_equal() {
    let one = json!({"sources": ["b", "a", "b"], "severities": ["P1", "P0", "P1"]});
    let other = json!({"sources": ["a", "b"], "severities": ["P0", "P1"], "states": []});
    assert_eq!(filter(one), filter(other));
    let every_type = EventType::ALL.map(EventType::as_str);
    assert_eq!(filter(json!({"event_types": every_type})), filter(json!({})));
    let every_severity = Severity::ALL.map(Severity::as_str);
    assert_ne!(filter(json!({"severities": every_severity})), filter(json!({})));
}

#[test]
fn a_filter_beyond_its_limits_is_refused_with_its_place() {
    let many: Vec<String> = (0..FILTER_TERMS_MAX).map(|number| number.to_string()).collect();
    assert!(spec(json!({"sources": many})).compile().is_ok());
    let error = spec(json!({"sources": many, "states": ["Closed"]})).compile().unwrap_err();
    assert_eq!(error.path, "");
    assert!(error.message.contains("1001 values"), "{error}");

    let long = "x".repeat(FILTER_VALUE_BYTES_MAX + 1);
    assert!(spec(json!({"sources": [long[1..]]})).compile().is_ok());
    for (filters, path) in [
        (json!({"sources": ["ok", long]}), "sources[1]"),
        (json!({"affected_resources": [long]}), "affected_resources[0]"),
        (json!({"labels": {"team": long}}), "labels.team"),
        (json!({"labels": {long.clone(): "x"}}), "labels"),
    ] {
        assert_eq!(spec(filters).compile().unwrap_err().path, path);
    }
}

#[test]
fn a_connection_is_found_once_however_many_of_its_subscriptions_match() {
    let mut index = Index::new();
    let everything = index.subscribe(7, filter(json!({})));
    let severe = index.subscribe(7, filter(json!({"severities": ["P1"]})));
    index.subscribe(3, filter(json!({"severities": ["P1"]})));
    assert_eq!((index.len(), index.connections(), index.groups()), (3, 2, 2));

    let event = whole();
    let mut found = vec![99];
    index.matching(&event.attributes(), &mut found);
    found[1..].sort_unstable();
    assert_eq!(found, [99, 3, 7]);

    index.replace(severe, filter(json!({"severities": ["P4"]})));
    index.unsubscribe(everything);
    found.clear();
    index.matching(&event.attributes(), &mut found);
    assert_eq!(found, [3]);
    index.unsubscribe(severe);
    assert_eq!((index.len(), index.connections(), index.groups()), (1, 1, 1));
}

#[test]
fn ten_thousand_equal_filters_are_one_group_and_leave_in_any_order() {
    let mut index = Index::new();
    let keys: Vec<_> =
        (0..10_000).map(|connection| index.subscribe(connection, filter(json!({})))).collect();
    assert_eq!(index.groups(), 1);
    index.invariants();
    for key in keys.iter().step_by(2).chain(keys.iter().skip(1).step_by(2).rev()) {
        index.unsubscribe(*key);
    }
    index.invariants();
    assert_eq!((index.len(), index.connections(), index.groups()), (0, 0, 0));
}

#[test]
#[should_panic(expected = "not in the index")]
fn a_key_is_good_for_one_removal() {
    let mut index = Index::new();
    let key = index.subscribe(0, Filter::default());
    index.unsubscribe(key);
    index.unsubscribe(key);
}

#[test]
fn matching_allocates_nothing_once_its_output_has_grown() {
    let mut index = Index::new();
    for connection in 0..100 {
        index.subscribe(connection, filter(json!({"sources": [format!("s{connection}")]})));
        index.subscribe(connection, filter(json!({})));
    }
    let event = whole();
    let mut found = Vec::with_capacity(100);
    let address = found.as_ptr();
    for _ in 0..10 {
        found.clear();
        index.matching(&event.attributes(), &mut found);
        assert_eq!(found.len(), 100);
        assert_eq!(found.as_ptr(), address);
    }
}

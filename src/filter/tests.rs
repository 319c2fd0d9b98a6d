use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::base::limits::{FILTER_TERMS_MAX, FILTER_VALUE_BYTES_MAX};
use crate::event::{Attributes, EventType, IncidentState, Priority, Severity};

/// An event's attributes, owned.
#[derive(Clone, Debug)]
struct Sample {
    event_type: EventType,
    severity: Option<Severity>,
    state: Option<IncidentState>,
    source: Option<String>,
    affected_resources: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    incident_id: Option<Uuid>,
}

impl Sample {
    /// An event that carries every attribute.
    fn whole() -> Self {
        Self {
            event_type: EventType::IncidentCreated,
            severity: Some(Severity::P1),
            state: Some(IncidentState::Triaged),
            source: Some("prometheus".to_owned()),
            affected_resources: Some(vec!["api-1".to_owned(), "db".to_owned()]),
            labels: Some(labels(&[("team", "core"), ("env", "prod")])),
            incident_id: Some(Uuid::from_u128(1)),
        }
    }

    /// An event that carries nothing but its type.
    fn bare() -> Self {
        Self {
            event_type: EventType::IncidentCreated,
            severity: None,
            state: None,
            source: None,
            affected_resources: None,
            labels: None,
            incident_id: None,
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            event_type: self.event_type,
            priority: Priority::Normal,
            severity: self.severity,
            state: self.state,
            source: self.source.as_deref(),
            affected_resources: self.affected_resources.as_deref(),
            labels: self.labels.as_ref(),
            incident_id: self.incident_id,
        }
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

/// What the words of the protocol say, without any cleverness.
fn is_wanted(spec: &FilterSpec, event: &Sample) -> bool {
    fn any<T: PartialEq>(wanted: &[T], value: Option<&T>) -> bool {
        wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
    }
    let resources = event.affected_resources.as_deref().unwrap_or_default();
    any(&spec.event_types, Some(&event.event_type))
        && any(&spec.severities, event.severity.as_ref())
        && any(&spec.states, event.state.as_ref())
        && any(&spec.sources, event.source.as_ref())
        && any(&spec.incident_ids, event.incident_id.as_ref())
        && (spec.affected_resources.is_empty()
            || resources.iter().any(|resource| spec.affected_resources.contains(resource)))
        && spec.labels.iter().all(|(key, value)| {
            event.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
        })
}

#[test]
fn each_field_matches_as_the_table_says() {
    let id = |number: u128| Uuid::from_u128(number).to_string();
    for (filters, whole, bare) in [
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
        assert_eq!(compiled.matches(&Sample::whole().attributes()), whole, "{filters} whole");
        assert_eq!(compiled.matches(&Sample::bare().attributes()), bare, "{filters} bare");
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

    let event = Sample::whole();
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
    let event = Sample::whole();
    let mut found = Vec::with_capacity(100);
    let address = found.as_ptr();
    for _ in 0..10 {
        found.clear();
        index.matching(&event.attributes(), &mut found);
        assert_eq!(found.len(), 100);
        assert_eq!(found.as_ptr(), address);
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Subscribe { connection: u32, spec: FilterSpec },
    Replace { pick: usize, spec: FilterSpec },
    Unsubscribe { pick: usize },
    Match(Sample),
}

/// Few values, so that filters often match and are often equal.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(
    all: &'static [T],
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::sample::select(all), 0..3)
}

fn specs() -> impl Strategy<Value = FilterSpec> {
    (
        some_of(&EventType::ALL),
        some_of(&Severity::ALL),
        some_of(&IncidentState::ALL),
        prop::collection::vec(word(), 0..2),
        prop::collection::vec(word(), 0..2),
        prop::collection::btree_map(word(), word(), 0..2),
        prop::collection::vec((0..3_u128).prop_map(Uuid::from_u128), 0..2),
    )
        .prop_map(
            |(event_types, severities, states, sources, affected_resources, labels, ids)| {
                FilterSpec {
                    event_types,
                    severities,
                    states,
                    sources,
                    affected_resources,
                    labels,
                    incident_ids: ids,
                }
            },
        )
}

fn samples() -> impl Strategy<Value = Sample> {
    (
        prop::sample::select(&EventType::ALL[..]),
        prop::option::of(prop::sample::select(&Severity::ALL[..])),
        prop::option::of(prop::sample::select(&IncidentState::ALL[..])),
        prop::option::of(word()),
        prop::option::of(prop::collection::vec(word(), 0..3)),
        prop::option::of(prop::collection::btree_map(word(), word(), 0..3)),
        prop::option::of((0..3_u128).prop_map(Uuid::from_u128)),
    )
        .prop_map(
            |(event_type, severity, state, source, affected_resources, labels, incident_id)| {
                Sample {
                    event_type,
                    severity,
                    state,
                    source,
                    affected_resources,
                    labels,
                    incident_id,
                }
            },
        )
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..6_u32, specs())
            .prop_map(|(connection, spec)| Operation::Subscribe { connection, spec }),
        1 => (any::<usize>(), specs()).prop_map(|(pick, spec)| Operation::Replace { pick, spec }),
        2 => any::<usize>().prop_map(|pick| Operation::Unsubscribe { pick }),
        4 => samples().prop_map(Operation::Match),
    ]
}

proptest! {
    #[test]
    fn a_compiled_filter_means_what_its_words_say(spec in specs(), sample in samples()) {
        let compiled = spec.compile().unwrap();
        prop_assert_eq!(compiled.matches(&sample.attributes()), is_wanted(&spec, &sample));
        let normal = serde_json::to_value(&spec).unwrap();
        prop_assert_eq!(normal.as_object().unwrap().len(), 7);
        let again: FilterSpec = serde_json::from_value(normal).unwrap();
        prop_assert_eq!(again.compile().unwrap(), compiled);
    }

    #[test]
    fn the_index_finds_what_asking_every_subscription_finds(
        operations in prop::collection::vec(operations(), 1..80),
    ) {
        let mut index = Index::new();
        let mut model: Vec<(SubscriptionKey, u32, FilterSpec)> = Vec::new();
        let mut found = Vec::new();
        for operation in operations {
            match operation {
                Operation::Subscribe { connection, spec } => {
                    let key = index.subscribe(connection, spec.compile().unwrap());
                    prop_assert!(model.iter().all(|(other, ..)| *other != key));
                    model.push((key, connection, spec));
                }
                Operation::Replace { pick, spec } if !model.is_empty() => {
                    let pick = pick % model.len();
                    index.replace(model[pick].0, spec.compile().unwrap());
                    model[pick].2 = spec;
                }
                Operation::Unsubscribe { pick } if !model.is_empty() => {
                    let (key, ..) = model.swap_remove(pick % model.len());
                    index.unsubscribe(key);
                }
                Operation::Replace { .. } | Operation::Unsubscribe { .. } => {}
                Operation::Match(sample) => {
                    found.clear();
                    index.matching(&sample.attributes(), &mut found);
                    found.sort_unstable();
                    let mut expected: Vec<u32> = model
                        .iter()
                        .filter(|(_, _, spec)| is_wanted(spec, &sample))
                        .map(|(_, connection, _)| *connection)
                        .collect();
                    expected.sort_unstable();
                    expected.dedup();
                    prop_assert_eq!(&found, &expected);
                }
            }
            index.invariants();
            prop_assert_eq!(index.len(), model.len());
            let mut connections: Vec<u32> =
                model.iter().map(|(_, connection, _)| *connection).collect();
            connections.sort_unstable();
            connections.dedup();
            prop_assert_eq!(index.connections(), connections.len());
        }
    }
}

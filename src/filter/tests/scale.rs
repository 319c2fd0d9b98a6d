//! What is compared with an event does not grow with what is subscribed.

use serde_json::{Value, json};

use super::{Filter, Index, Sample, filter, labels, whole};

fn index_of(filters: impl Iterator<Item = Value>) -> Index {
    let mut index = Index::new();
    for (connection, filters) in filters.enumerate() {
        index.subscribe(connection as u32, filter(filters));
    }
    index
}

/// How many filters the event is compared with, and how many connections want it.
fn asked(index: &mut Index, event: &Sample) -> (u64, usize) {
    let before = index.evaluated();
    let mut found = Vec::new();
    index.matching(&event.attributes(), &mut found);
    (index.evaluated() - before, found.len())
}

#[test]
fn an_event_is_compared_with_the_filters_that_could_match() {
    let event = Sample { labels: Some(labels(&[("team", "t7"), ("env", "prod")])), ..whole() };
    for groups in [1_000, 100_000] {
        let mut index = index_of((0..groups).map(|group| {
            json!({
                "severities": ["P1", "P0"],
                "labels": {"env": "prod", "team": format!("t{group}")},
            })
        }));
        assert_eq!(index.groups(), groups as usize);
        // The team is rare, `env=prod` is not: at most the first filter is filed under that.
        let (compared, found) = asked(&mut index, &event);
        assert!(compared <= 2, "{compared} of {groups}");
        assert_eq!(found, 1);
    }
}

#[test]
fn every_kind_of_filter_with_a_value_of_its_own_is_found_by_it() {
    let kinds: [fn(u32) -> Value; 7] = [
        |it| json!({"incident_ids": [uuid::Uuid::from_u128(it.into())], "severities": ["P1"]}),
        |it| json!({"affected_resources": [format!("r{it}"), format!("s{it}")]}),
        |it| json!({"sources": [format!("s{it}")], "event_types": ["incident_created"]}),
        |it| json!({"labels": {"team": [format!("t{it}"), format!("u{it}")]}}),
        |it| json!({"labels": {format!("l{it}"): {"exists": true}}, "sources": [{"glob": "p*"}]}),
        |it| json!({"any_of": [{"sources": [format!("a{it}")]}, {"labels": {"a": format!("{it}")}}]}),
        |it| json!({"severities": ["P1"], "any_of": [{"sources": [format!("b{it}")]}]}),
    ];
    for kind in kinds {
        let mut index = index_of((0..10_000).map(kind));
        let (compared, _) = asked(&mut index, &whole());
        assert!(compared <= 4, "{compared}: {}", kind(1));
        index.invariants();
    }
}

#[test]
fn small_sets_of_names_are_better_than_nothing() {
    let mut index = index_of(
        (0..1_000).map(|it| json!({"severities": ["P4"], "sources": [{"glob": format!("*{it}")}]})),
    );
    assert_eq!(asked(&mut index, &whole()), (0, 0));
    let event = Sample { severity: Some(crate::event::Severity::P4), ..whole() };
    assert_eq!(asked(&mut index, &event).0, 1_000);
}

#[test]
fn an_alternative_that_nothing_finds_leaves_the_other_conditions() {
    let pattern = json!({"sources": [{"prefix": "x"}]});
    let either = json!([{"sources": ["prometheus"]}, pattern]);
    let mut index = index_of([json!({"any_of": either})].into_iter());
    assert_eq!(asked(&mut index, &whole()), (1, 1));
    let elsewhere = Sample { source: Some("xyz".to_owned()), ..whole() };
    assert_eq!(asked(&mut index, &elsewhere), (1, 1));
    let mut index = index_of([json!({"any_of": either, "states": ["Closed"]})].into_iter());
    assert_eq!(asked(&mut index, &whole()), (0, 0));
}

#[test]
fn a_group_that_is_found_by_several_attributes_is_compared_once() {
    let mut index = index_of(std::iter::once(json!({"affected_resources": ["api-1", "db"]})));
    assert_eq!(asked(&mut index, &whole()), (1, 1));
    let mut twice = whole();
    twice.affected_resources = Some(vec!["db".to_owned(); 5]);
    assert_eq!(asked(&mut index, &twice), (1, 1));
}

#[test]
fn a_group_is_given_back_with_its_last_member() {
    let mut index = Index::new();
    let filter = |it: u32| filter(json!({"sources": [{"regex": "a"}, format!("s{it}")]}));
    let keys: Vec<_> = (0..500).map(|it| index.subscribe(it, filter(it / 2))).collect();
    assert_eq!(index.groups(), 250);
    for &key in &keys {
        index.replace(key, Filter::default());
    }
    assert_eq!(index.groups(), 1);
    keys.into_iter().for_each(|key| index.unsubscribe(key));
    index.invariants();
    assert_eq!((index.len(), index.groups()), (0, 0));
}

//! Distinct filters by the thousand, that benches share.

use alarmcast::filter::{Filter, FilterSpec, Index};
use serde_json::{Value, json};

/// What they compile to.
pub fn filter(filters: Value) -> Filter {
    let spec = serde_json::from_value::<FilterSpec>(filters);
    match spec.map(|spec| spec.compile()) {
        Ok(Ok(filter)) => filter,
        other => panic!("{other:?}"),
    }
}

/// So many connections, each with the filters that it is given.
pub fn index(groups: u32, filters: impl Fn(u32) -> Value) -> Index {
    let mut index = Index::new();
    for group in 0..groups {
        index.subscribe(group, filter(filters(group)));
    }
    assert_eq!(index.groups(), groups as usize);
    index
}

/// One team in a hundred gets the event, each of its filters being distinct: the
/// event's is team 7.
pub fn one_percent(group: u32) -> Value {
    json!({
        "severities": ["P1", "P0"],
        "labels": {"team": format!("team-{}", group % 100), "env": "prod"},
        "none_of": [{"sources": [format!("muted-{group}")]}],
    })
}

/// Nothing to find them by but a small set of names.
pub fn patterns(group: u32) -> Value {
    json!({"severities": ["P1"], "sources": [{"glob": format!("*-{group}")}]})
}

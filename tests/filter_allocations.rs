//! What matching and leaving do with memory, counted by an allocator of this
//! program's own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use alarmcast::event::{Attributes, EventType, IncidentState, Priority, Severity};
use alarmcast::filter::{Filter, FilterSpec, Index};
use serde_json::{Value, json};
use uuid::Uuid;

thread_local! {
    /// Of this thread, so that the test harness may do as it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: i64) {
    if bytes > 0 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
    LIVE_BYTES.set(LIVE_BYTES.get() + bytes);
}

// SAFETY: every call is passed to the system's allocator as it is; the counters
// are plain cells without a destructor and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn filter(filters: Value) -> Filter {
    serde_json::from_value::<FilterSpec>(filters).unwrap().compile().unwrap()
}

/// Filters of every kind, all distinct.
fn filters(number: u32) -> Value {
    let id = Uuid::from_u128(number.into());
    match number % 8 {
        0 => json!({"incident_ids": [id]}),
        1 => json!({"labels": {"team": format!("t{number}")}, "severities": ["P1"]}),
        2 => json!({"sources": [format!("s{number}"), "prometheus"]}),
        3 => json!({"affected_resources": ["api-1", "db", format!("r{number}")]}),
        4 => {
            json!({"labels": {"team": {"exists": true}}, "sources": [{"prefix": format!("{number}")}]})
        }
        5 => json!({"any_of": [{"sources": [format!("s{number}")]}, {"incident_ids": [id]}]}),
        6 => json!({"severities": ["P1"], "none_of": [{"sources": [format!("s{number}")]}]}),
        _ => json!({"labels": {"env": {"glob": "p*d"}}, "text": {"contains": format!("{number}")}}),
    }
}

fn attributes<'a>(
    resources: &'a [String],
    labels: &'a BTreeMap<String, String>,
    number: u32,
) -> Attributes<'a> {
    Attributes {
        event_type: EventType::ALL[number as usize % EventType::ALL.len()],
        priority: Priority::High,
        severity: Some(Severity::P1),
        state: Some(IncidentState::Triaged),
        source: Some("prometheus"),
        title: Some("Checkout is slow: 17 of 4711 requests"),
        affected_resources: Some(resources),
        labels: Some(labels),
        incident_id: Some(Uuid::from_u128(number.into())),
    }
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn matching_allocates_nothing_in_the_steady_state() {
    let mut index = Index::new();
    for number in 0..5_000 {
        index.subscribe(number, filter(filters(number)));
    }
    let regexes = ["^prom", "(?i)CHECKOUT", r"\d+ of \d+", "(slow|fast)+: ?[0-9]*"];
    for (number, regex) in (5_000..).zip(regexes) {
        index.subscribe(number, filter(json!({"text": {"regex": regex}})));
        index.subscribe(number, filter(json!({"sources": [{"regex": regex}]})));
    }
    let resources = ["db".to_owned(), "api-1".to_owned()];
    let labels = text_map(&[("team", "t9"), ("env", "prod")]);
    let mut found = Vec::new();
    let mut run = |rounds: u32| {
        let mut matches = 0;
        for number in 0..rounds {
            found.clear();
            index.matching(&attributes(&resources, &labels, number % 16), &mut found);
            matches += found.len();
        }
        matches
    };
    // The expressions remember what they met, and the output grows.
    run(64);
    let before = ALLOCATIONS.get();
    let matches = run(1_000);
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(matches > 100_000, "{matches}");
}

#[test]
fn what_leaves_gives_its_memory_back() {
    let mut index = Index::new();
    let before = LIVE_BYTES.get();
    let keys: Vec<_> = (0..20_000)
        .map(|number| {
            let values: Vec<String> =
                (0..20).map(|value| format!("value {number} {value}")).collect();
            index.subscribe(number % 100, filter(json!({"sources": values})))
        })
        .collect();
    let filled = LIVE_BYTES.get() - before;
    assert_eq!(index.groups(), 20_000);
    keys.into_iter().for_each(|key| index.unsubscribe(key));
    let left = LIVE_BYTES.get() - before;
    // The numbered slots of groups and subscriptions stay for the next ones.
    assert!(left * 10 < filled, "{left} of {filled} bytes are left");
}

/// Bytes that each of many subscriptions takes, everything included.
fn bytes_each(filters: impl Fn(u32) -> Value) -> i64 {
    const SUBSCRIPTIONS: u32 = 10_000;
    let mut index = Index::new();
    let before = LIVE_BYTES.get();
    for number in 0..SUBSCRIPTIONS {
        index.subscribe(number, filter(filters(number)));
    }
    (LIVE_BYTES.get() - before) / i64::from(SUBSCRIPTIONS)
}

#[test]
fn a_subscription_takes_little_memory() {
    let shared = bytes_each(|_| json!({"severities": ["P0", "P1"]}));
    assert!(shared <= 80, "{shared} bytes");
    let distinct = bytes_each(|number| json!({"labels": {"team": format!("team-{number}")}}));
    assert!(distinct <= 512, "{distinct} bytes");
}

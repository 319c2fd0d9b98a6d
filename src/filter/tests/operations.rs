//! The index against asking every subscription, over random filters and orders.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::fuzz::fuzz_filter;
use super::super::model::{Sample, is_wanted};
use super::super::{FilterSpec, Index, LabelMatcher, StringMatcher, SubscriptionKey, TextMatcher};
use crate::event::{EventType, IncidentState, Priority, Severity};

#[derive(Clone, Debug)]
enum Operation {
    Subscribe { connection: u32, spec: FilterSpec },
    Replace { pick: usize, spec: FilterSpec },
    Unsubscribe { pick: usize },
    Match(Sample),
}

/// Few values, so that filters often match and are often equal.
fn word() -> impl Strategy<Value = String> + Clone {
    prop::sample::select(vec!["a", "b", "ab"]).prop_map(str::to_owned)
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(
    all: &'static [T],
) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::sample::select(all), 0..3)
}

fn string() -> impl Strategy<Value = StringMatcher> + Clone {
    let of = |texts: &'static [&'static str]| prop::sample::select(texts).prop_map(str::to_owned);
    prop_oneof![
        6 => word().prop_map(StringMatcher::Exact),
        1 => word().prop_map(StringMatcher::Prefix),
        1 => of(&["*", "?", "a*", "[!a]*", "*b"]).prop_map(StringMatcher::Glob),
        1 => of(&["a", "^a$", "b$", "(?i)AB", "^(a|b)+$"]).prop_map(StringMatcher::Regex),
    ]
}

fn label() -> impl Strategy<Value = LabelMatcher> {
    prop_oneof![
        3 => string().prop_map(LabelMatcher::One),
        1 => prop::collection::vec(string(), 1..3).prop_map(LabelMatcher::AnyOf),
        1 => Just(LabelMatcher::Exists),
    ]
}

fn text() -> impl Strategy<Value = TextMatcher> {
    prop_oneof![word().prop_map(TextMatcher::Contains), Just(TextMatcher::Regex("a.?$".to_owned())),]
}

fn ids() -> impl Strategy<Value = Uuid> {
    (0..3_u128).prop_map(Uuid::from_u128)
}

/// The base fields, each usually empty.
fn flat_specs() -> impl Strategy<Value = FilterSpec> {
    let base = (
        some_of(&EventType::ALL[..4]),
        some_of(&Severity::ALL[..3]),
        some_of(&IncidentState::ALL[..3]),
        prop::collection::vec(string(), 0..2),
        prop::collection::vec(string(), 0..2),
        prop::collection::btree_map(word(), label(), 0..2),
        prop::collection::vec(ids(), 0..2),
        (
            prop::option::weighted(0.2, prop::sample::select(&Priority::ALL[..])),
            prop::option::weighted(0.1, text()),
        ),
        // Which of the fields are kept.
        any::<u8>(),
    );
    base.prop_map(
        |(types, severities, states, sources, resources, labels, ids, (least, text), kept)| {
            let mut spec = FilterSpec { min_priority: least, text, ..FilterSpec::default() };
            let keep = |bit: u32| kept >> bit & 1 == 1;
            keep(0).then(|| spec.event_types = types);
            keep(1).then(|| spec.severities = severities);
            keep(2).then(|| spec.states = states);
            keep(3).then(|| spec.sources = sources);
            keep(4).then(|| spec.affected_resources = resources);
            keep(5).then(|| spec.labels = labels);
            keep(6).then(|| spec.incident_ids = ids);
            spec
        },
    )
}

fn specs() -> impl Strategy<Value = FilterSpec> {
    flat_specs().prop_recursive(2, 8, 3, |nested| {
        (
            flat_specs(),
            prop::collection::vec(nested.clone(), 0..3),
            prop::collection::vec(nested, 0..2),
        )
            .prop_map(|(spec, any_of, none_of)| FilterSpec { any_of, none_of, ..spec })
    })
}

fn samples() -> impl Strategy<Value = Sample> {
    (
        prop::sample::select(&EventType::ALL[..4]),
        prop::sample::select(&Priority::ALL[..]),
        prop::option::of(prop::sample::select(&Severity::ALL[..3])),
        prop::option::of(prop::sample::select(&IncidentState::ALL[..3])),
        prop::option::of(word()),
        prop::option::of(word()),
        prop::option::of(prop::collection::vec(word(), 0..3)),
        prop::option::of(prop::collection::btree_map(word(), word(), 0..3)),
        prop::option::of(ids()),
    )
        .prop_map(
            |(event_type, priority, severity, state, source, title, resources, labels, id)| {
                Sample {
                    event_type,
                    priority,
                    severity,
                    state,
                    source,
                    title,
                    affected_resources: resources,
                    labels,
                    incident_id: id,
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
        let again: FilterSpec = serde_json::from_value(normal).unwrap();
        prop_assert_eq!(again.compile().unwrap(), compiled.clone());
        prop_assert_eq!(compiled.spec().compile().unwrap(), compiled);
        prop_assert_eq!(again, spec);
    }

    #[test]
    fn the_index_finds_what_asking_every_subscription_finds(
        operations in prop::collection::vec(operations(), 1..80),
    ) {
        let mut run = Run::default();
        for operation in operations {
            run.apply(operation)?;
        }
    }

    #[test]
    fn any_bytes_are_operations_that_hold(data in prop::collection::vec(any::<u8>(), 0..2048)) {
        fuzz_filter(&data);
    }
}

/// An index and what it should be.
#[derive(Default)]
struct Run {
    index: Index,
    model: Vec<(SubscriptionKey, u32, FilterSpec)>,
}

impl Run {
    fn apply(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        let Self { index, model } = self;
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
                let before = index.evaluated();
                let mut found = Vec::new();
                index.matching(&sample.attributes(), &mut found);
                prop_assert!(index.evaluated() - before <= index.groups() as u64);
                found.sort_unstable();
                prop_assert_eq!(&found, &self.connections(|spec| is_wanted(spec, &sample)));
            }
        }
        self.index.invariants();
        prop_assert_eq!(self.index.len(), self.model.len());
        prop_assert_eq!(self.index.connections(), self.connections(|_| true).len());
        Ok(())
    }

    /// Those with a subscription of this kind, in order.
    fn connections(&self, counts: impl Fn(&FilterSpec) -> bool) -> Vec<u32> {
        let counted = self.model.iter().filter(|(_, _, spec)| counts(spec));
        let mut connections: Vec<u32> = counted.map(|(_, connection, _)| *connection).collect();
        connections.sort_unstable();
        connections.dedup();
        connections
    }
}

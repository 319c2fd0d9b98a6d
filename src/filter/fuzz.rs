//! What must hold for any filters, events and order of operations. The fuzz
//! target and the unit tests call this.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::model::{Sample, is_wanted};
use super::{
    Filter, FilterSpec, Index, LabelMatcher, Parked, StringMatcher, SubscriptionKey, TextMatcher,
};
use crate::base::limits::FILTER_DEPTH_MAX;
use crate::event::{EventType, IncidentState, Priority, Severity};

const OPERATIONS_MAX: usize = 64;
const CONNECTIONS: u8 = 5;

/// Reads `data` as operations on an index: each filter is refused or means what
/// the model says, alone and in the index, and its normal form means the same.
///
/// # Panics
/// When one of that does not hold.
pub fn fuzz_filter(data: &[u8]) {
    let mut choices = Choices(data);
    let mut index = Index::new();
    let mut model: Vec<Subscription> = Vec::new();
    for _ in 0..OPERATIONS_MAX {
        if choices.0.is_empty() {
            break;
        }
        match choices.below(8) {
            0..=3 => {
                let spec = choices.filter(FILTER_DEPTH_MAX);
                let Ok(filter) = spec.compile() else { continue };
                check_normal_form(&spec);
                if model.is_empty() || choices.below(4) > 0 {
                    let connection = u32::from(choices.below(CONNECTIONS));
                    let key = index.subscribe(connection, filter.clone());
                    model.push(Subscription { key, connection, spec, filter, is_parked: false });
                } else {
                    let at = usize::from(choices.byte()) % model.len();
                    index.replace(model[at].key, filter.clone());
                    model[at] = Subscription { spec, filter, is_parked: false, ..model[at] };
                }
            }
            4 if !model.is_empty() => {
                let at = usize::from(choices.byte()) % model.len();
                index.unsubscribe(model.swap_remove(at).key);
            }
            5 if !model.is_empty() => {
                let at = usize::from(choices.byte()) % model.len();
                let Subscription { key, is_parked, .. } = &mut model[at];
                *is_parked = choices.below(2) == 0;
                match is_parked {
                    true => drop(index.park(*key)),
                    false => index.unpark(*key),
                }
            }
            _ => compare(&mut index, &model, &choices.event()),
        }
        assert_eq!(index.len(), model.len());
    }
    index.invariants();
}

struct Subscription {
    key: SubscriptionKey,
    connection: u32,
    spec: FilterSpec,
    filter: Filter,
    is_parked: bool,
}

fn check_normal_form(spec: &FilterSpec) {
    let again = serde_json::to_value(spec).and_then(serde_json::from_value::<FilterSpec>);
    assert_eq!(again.ok().as_ref(), Some(spec));
}

fn compare(index: &mut Index, model: &[Subscription], event: &Sample) {
    let before = index.evaluated();
    let mut found = Vec::new();
    index.matching(&event.attributes(), &mut found);
    assert!(index.evaluated() - before <= index.groups() as u64, "each group at most once");
    let (mut expected, mut parked) = (Vec::new(), BTreeMap::<u32, u32>::new());
    let mut told = BTreeMap::new();
    for Parked { group, subscriptions } in index.parked() {
        assert_eq!(told.insert(*group, *subscriptions), None, "each group once");
    }
    for Subscription { key, connection, spec, filter, is_parked } in model {
        let wanted = is_wanted(spec, event);
        assert_eq!(filter.matches(&event.attributes()), wanted, "{spec:?} {event:?}");
        match is_parked {
            // It is parked already: that tells its group.
            true if wanted => *parked.entry(index.park(*key)).or_default() += 1,
            false if wanted => expected.push(*connection),
            _ => {}
        }
    }
    assert_eq!(told, parked, "{event:?}");
    found.sort_unstable();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(found, expected, "{event:?}");
}

/// Filters and events out of bytes. They are small, so that they often match
/// and are often equal; spent input gives zeros.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// A filter's field: usually not there.
    fn seldom<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(5) == 4).then(|| value(self))
    }

    /// An event's attribute: usually there.
    fn often<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(5) != 4).then(|| value(self))
    }

    /// Usually empty.
    fn list<T>(&mut self, mut value: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(10).saturating_sub(7);
        (0..length).map(|_| value(self)).collect()
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    fn word(&mut self) -> String {
        self.one(&["a", "a", "b", "ab", "abba", "é", "", "[", "A\n"]).to_owned()
    }

    fn pattern(&mut self) -> String {
        const CHARACTERS: &[char] = &[
            'a', 'b', 'é', '*', '?', '[', ']', '!', '-', '\\', '^', '$', '.', '+', '(', ')', '|',
            '{', '2', '}', ',', 'w', 'A',
        ];
        let length = self.below(9);
        (0..length).map(|_| self.one(CHARACTERS)).collect()
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.below(3).into())
    }

    fn string(&mut self) -> StringMatcher {
        match self.below(8) {
            0 => StringMatcher::Glob(self.pattern()),
            1 => StringMatcher::Regex(self.pattern()),
            2 => StringMatcher::Prefix(self.word()),
            _ => StringMatcher::Exact(self.word()),
        }
    }

    fn label(&mut self) -> LabelMatcher {
        match self.below(4) {
            0 => LabelMatcher::Exists,
            1 => LabelMatcher::AnyOf(vec![self.string(), self.string()]),
            _ => LabelMatcher::One(self.string()),
        }
    }

    fn filter(&mut self, depth_left: usize) -> FilterSpec {
        let mut spec = FilterSpec {
            event_types: self.list(|it| it.one(&EventType::ALL[..3])),
            severities: self.list(|it| it.one(&Severity::ALL[..3])),
            states: self.list(|it| it.one(&IncidentState::ALL[..3])),
            sources: self.list(Self::string),
            affected_resources: self.list(Self::string),
            labels: self.list(|it| (it.word(), it.label())).into_iter().collect(),
            incident_ids: self.list(Self::id),
            min_priority: self.seldom(|it| it.one(&Priority::ALL)),
            text: self.seldom(|it| match it.below(2) {
                0 => TextMatcher::Contains(it.word()),
                _ => TextMatcher::Regex(it.pattern()),
            }),
            ..FilterSpec::default()
        };
        // Also one level more than is allowed.
        if depth_left > 0 {
            spec.any_of = self.list(|it| it.filter(depth_left - 1));
            spec.none_of = self.list(|it| it.filter(depth_left - 1));
        }
        spec
    }

    fn event(&mut self) -> Sample {
        Sample {
            event_type: self.one(&EventType::ALL[..3]),
            priority: self.one(&Priority::ALL),
            severity: self.often(|it| it.one(&Severity::ALL[..3])),
            state: self.often(|it| it.one(&IncidentState::ALL[..3])),
            source: self.often(Self::word),
            title: self.often(Self::word),
            affected_resources: self.often(|it| (0..it.below(4)).map(|_| it.word()).collect()),
            labels: self.often(|it| (0..it.below(4)).map(|_| (it.word(), it.word())).collect()),
            incident_id: self.often(Self::id),
        }
    }
}

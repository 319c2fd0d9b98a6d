//! By which attributes the groups of a filter are found.

use super::Filter;
use super::compile::LabelTest;
use super::table::{Attribute, Key, Table};
use crate::event::{EventType, IncidentState, Priority, Severity};

/// How many events an attribute of this kind usually sets apart; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Incident,
    /// A resource, a label with its value, or a source.
    Value,
    /// Whether a label is there.
    LabelKey,
    /// One of a small closed set.
    Name,
    Anything,
}

/// Attributes of which an event has at least one whenever the filter matches it.
#[derive(Debug)]
struct Way {
    rank: Rank,
    /// Groups that are found by these attributes already: values that many
    /// filters ask for are values that many events have.
    shared_with: usize,
    keys: Vec<Key>,
}

/// The most selective attributes to find `filter` by, without duplicates.
pub(super) fn keys(filter: &Filter, table: &Table) -> Vec<Key> {
    let mut keys = best_way(filter, table).keys;
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn best_way(filter: &Filter, table: &Table) -> Way {
    let mut ways = Ways { table, best: None };
    let incidents = filter.incident_ids.iter().copied();
    ways.offer(Rank::Incident, incidents.map(Attribute::Incident));
    if filter.affected_resources.patterns.is_empty() {
        let resources = filter.affected_resources.exact.iter();
        ways.offer(Rank::Value, resources.map(|resource| Attribute::Resource(resource)));
    }
    for (key, test) in &filter.labels {
        match test {
            LabelTest::AnyOf(values) if values.patterns.is_empty() => {
                let values = values.exact.iter();
                ways.offer(Rank::Value, values.map(|value| Attribute::Label(key, value)));
            }
            LabelTest::AnyOf(_) | LabelTest::Exists => {
                ways.offer(Rank::LabelKey, [Attribute::LabelKey(key)].into_iter());
            }
        }
    }
    if filter.sources.patterns.is_empty() {
        let sources = filter.sources.exact.iter();
        ways.offer(Rank::Value, sources.map(|source| Attribute::Source(source)));
    }
    let states = members(&IncidentState::ALL, filter.states.into());
    ways.offer(Rank::Name, states.map(Attribute::State));
    let severities = members(&Severity::ALL, filter.severities.into());
    ways.offer(Rank::Name, severities.map(Attribute::Severity));
    let event_types = members(&EventType::ALL, filter.event_types);
    ways.offer(Rank::Name, event_types.map(Attribute::EventType));
    let priorities = members(&Priority::ALL, filter.priorities.into());
    ways.offer(Rank::Name, priorities.map(Attribute::Priority));
    ways.offer_way(through_alternatives(filter, table));
    ways.best()
}

/// Each alternative's best way, together: as good as the worst of them.
fn through_alternatives(filter: &Filter, table: &Table) -> Option<Way> {
    let alternatives = filter.more.iter().flat_map(|more| &more.any_of);
    let mut ways = alternatives.map(|alternative| best_way(alternative, table));
    let mut all = ways.next()?;
    for way in ways {
        all.rank = all.rank.max(way.rank);
        all.shared_with += way.shared_with;
        all.keys.extend(way.keys);
    }
    // One that must be compared with every event makes the others' attributes needless.
    (all.rank < Rank::Anything).then_some(all)
}

struct Ways<'a> {
    table: &'a Table,
    best: Option<Way>,
}

impl Ways<'_> {
    /// Takes the attributes if they are better than all before; none are no way.
    fn offer<'b>(&mut self, rank: Rank, attributes: impl Iterator<Item = Attribute<'b>>) {
        let keys: Vec<Key> = attributes.map(|attribute| self.table.key(attribute)).collect();
        if keys.is_empty() {
            return;
        }
        let shared_with = keys.iter().map(|&key| self.table.len(key)).sum();
        self.offer_way(Some(Way { rank, shared_with, keys }));
    }

    fn offer_way(&mut self, way: Option<Way>) {
        let quality = |way: &Way| (way.rank, way.shared_with, way.keys.len());
        if let Some(way) = way
            && self.best.as_ref().is_none_or(|best| quality(&way) < quality(best))
        {
            self.best = Some(way);
        }
    }

    fn best(self) -> Way {
        let key = self.table.key(Attribute::Anything);
        self.best.unwrap_or(Way { rank: Rank::Anything, shared_with: 0, keys: vec![key] })
    }
}

fn members<T: Copy>(all: &[T], set: u16) -> impl Iterator<Item = T> {
    all.iter().enumerate().filter(move |(index, _)| set & (1 << index) != 0).map(|(_, &it)| it)
}

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::{fast, quality};
use uuid::Uuid;

use super::groups::number_of;
use super::room::Room;
use crate::event::{Attributes, EventType, IncidentState, Priority, Severity};

/// Something that an event has, by which a group can be found.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Attribute<'a> {
    Incident(Uuid),
    Resource(&'a str),
    Label(&'a str, &'a str),
    Source(&'a str),
    /// The label is there, with whatever value.
    LabelKey(&'a str),
    State(IncidentState),
    Severity(Severity),
    EventType(EventType),
    Priority(Priority),
    /// Every event has it.
    Anything,
}

/// Kinds of [`Attribute`].
const KINDS: usize = 10;

impl Attribute<'_> {
    fn kind(&self) -> usize {
        match self {
            Self::Incident(_) => 0,
            Self::Resource(_) => 1,
            Self::Label(..) => 2,
            Self::Source(_) => 3,
            Self::LabelKey(_) => 4,
            Self::State(_) => 5,
            Self::Severity(_) => 6,
            Self::EventType(_) => 7,
            Self::Priority(_) => 8,
            Self::Anything => 9,
        }
    }
}

/// An attribute's seeded hash. Two attributes with the same one are only seen
/// together: what is found is evaluated anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    hash: u64,
    kind: u8,
}

/// Groups by the attributes that an event needs to match them.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Clients choose what is hashed.
    seed: quality::RandomState,
    /// No text is kept: a key is a hash already, and evaluation decides.
    buckets: HashMap<Key, Vec<Entry>, fast::RandomState>,
    room: Room,
    /// Entries by kind: what nobody asks for is not looked up.
    entries: [usize; KINDS],
}

/// A group in a bucket, with the number of this entry among the group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub group: u32,
    pub number: u32,
}

/// Where an entry is: the way back from its group, for removal in constant time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub key: Key,
    pub position: u32,
}

impl Table {
    pub fn key(&self, attribute: Attribute<'_>) -> Key {
        Key { hash: self.seed.hash_one(attribute), kind: attribute.kind() as u8 }
    }

    /// Entries under `key`.
    pub fn len(&self, key: Key) -> usize {
        self.buckets.get(&key).map_or(0, Vec::len)
    }

    pub fn insert(&mut self, key: Key, entry: Entry) -> Place {
        // Most values are one filter's: room for one, not for the usual four.
        let bucket = self.buckets.entry(key).or_insert_with(|| Vec::with_capacity(1));
        let position = number_of(bucket.len());
        bucket.push(entry);
        self.room.grew(self.buckets.len());
        self.entries[usize::from(key.kind)] += 1;
        Place { key, position }
    }

    /// Gives the entry that is at `place` now, where there is one.
    ///
    /// # Panics
    /// When nothing is there.
    pub fn remove(&mut self, place: Place) -> Option<Entry> {
        let Some(bucket) = self.buckets.get_mut(&place.key) else { panic!("no such bucket") };
        bucket.swap_remove(place.position as usize);
        let moved = bucket.get(place.position as usize).copied();
        if bucket.is_empty() {
            self.buckets.remove(&place.key);
            if let Some(buckets) = self.room.shrank(self.buckets.len()) {
                self.buckets.shrink_to(buckets);
            }
        } else if bucket.len() * 4 < bucket.capacity() {
            bucket.shrink_to(bucket.len() * 2);
        }
        self.entries[usize::from(place.key.kind)] -= 1;
        moved
    }

    /// Calls `candidate` with each group that `event` could match; with the same
    /// one perhaps several times.
    pub fn probe(&self, event: &Attributes<'_>, mut candidate: impl FnMut(u32)) {
        let mut probe = |attribute: Attribute<'_>| {
            if self.entries[attribute.kind()] == 0 {
                return;
            }
            if let Some(bucket) = self.buckets.get(&self.key(attribute)) {
                bucket.iter().for_each(|entry| candidate(entry.group));
            }
        };
        probe(Attribute::Anything);
        event.incident_id.map(Attribute::Incident).into_iter().for_each(&mut probe);
        let resources = event.affected_resources.unwrap_or_default().iter();
        resources.map(|resource| Attribute::Resource(resource)).for_each(&mut probe);
        for (key, value) in event.labels.into_iter().flatten() {
            probe(Attribute::Label(key, value));
            probe(Attribute::LabelKey(key));
        }
        event.source.map(Attribute::Source).into_iter().for_each(&mut probe);
        event.state.map(Attribute::State).into_iter().for_each(&mut probe);
        event.severity.map(Attribute::Severity).into_iter().for_each(&mut probe);
        probe(Attribute::EventType(event.event_type));
        probe(Attribute::Priority(event.priority));
    }

    /// What is at `place`.
    pub fn at(&self, place: Place) -> Option<Entry> {
        self.buckets.get(&place.key)?.get(place.position as usize).copied()
    }

    /// Entries of all kinds.
    ///
    /// # Panics
    /// When the counts are not those of the buckets.
    pub fn checked_entries(&self) -> usize {
        let mut entries = [0; KINDS];
        for (key, bucket) in &self.buckets {
            assert!(!bucket.is_empty());
            entries[usize::from(key.kind)] += bucket.len();
        }
        assert_eq!(entries, self.entries);
        entries.iter().sum()
    }
}

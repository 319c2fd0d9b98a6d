use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::room::Room;
use super::table::{Entry, Place, Table};
use super::{Filter, access};
use crate::base::dense;
use crate::event::Attributes;

/// Distinct filters, each with its members, found by what an event carries.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By group number; an empty group waits in `free`.
    groups: Vec<Group>,
    free: Vec<u32>,
    /// What empty groups hold in place of a filter.
    nothing: Arc<Filter>,
    /// Keyed by what clients choose: the hash is seeded.
    interned: HashMap<Arc<Filter>, u32, RandomState>,
    room: Room,
    table: Table,
    /// Number of the event, written to each group that it was compared with.
    round: u64,
    evaluated: u64,
}

#[derive(Debug)]
struct Group {
    filter: Arc<Filter>,
    /// Those that are parked come last.
    members: Vec<Member>,
    /// How many are not.
    awake: u32,
    /// Its entries in the table.
    places: Box<[Place]>,
    /// The last event that this group was compared with.
    round: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub connection: u32,
    pub subscription: u32,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.interned.len()
    }

    /// What the group's members want.
    pub fn filter(&self, number: u32) -> &Arc<Filter> {
        &self.groups[number as usize].filter
    }

    /// Filters compared with events so far.
    pub fn evaluated(&self) -> u64 {
        self.evaluated
    }

    /// Puts a member into the filter's group, as if it were parked; gives the group and the place
    /// in it.
    pub fn join(&mut self, filter: Filter, member: Member) -> (u32, u32) {
        let number = match self.interned.get(&filter) {
            Some(&number) => number,
            None => self.add(filter),
        };
        let members = &mut self.groups[number as usize].members;
        dense::push(members, member);
        (number, number_of(members.len() - 1))
    }

    /// Parks the member at `position`; gives who has which place now.
    pub fn park(&mut self, number: u32, position: u32) -> [(Member, u32); 2] {
        let group = &mut self.groups[number as usize];
        if position < group.awake {
            group.awake -= 1;
            return group.swap(position, group.awake);
        }
        group.swap(position, position)
    }

    /// The member at `position` is parked no more; gives who has which place now.
    pub fn unpark(&mut self, number: u32, position: u32) -> [(Member, u32); 2] {
        let group = &mut self.groups[number as usize];
        if position >= group.awake {
            group.awake += 1;
            return group.swap(position, group.awake - 1);
        }
        group.swap(position, position)
    }

    /// Takes out the member at `position`, which is parked and must be `subscription`; gives
    /// the one that is there now.
    pub fn leave(&mut self, number: u32, position: u32, subscription: u32) -> Option<Member> {
        assert!(position >= self.groups[number as usize].awake);
        let members = &mut self.groups[number as usize].members;
        let removed = members.swap_remove(position as usize);
        assert_eq!(removed.subscription, subscription);
        let moved = members.get(position as usize).copied();
        if members.is_empty() {
            self.remove(number);
        } else if members.len() * 4 < members.capacity() {
            members.shrink_to(members.len() * 2);
        }
        moved
    }

    /// Calls `wanted` for each group whose filter matches with its number, the members that are not
    /// parked, and how many are. A group is compared with the event at most once.
    pub fn matching(
        &mut self,
        event: &Attributes<'_>,
        mut wanted: impl FnMut(u32, &[Member], u32),
    ) {
        self.round += 1;
        let Self { groups, table, round, evaluated, .. } = self;
        table.probe(event, |number| {
            let group = &mut groups[number as usize];
            if group.round != *round {
                group.round = *round;
                *evaluated += 1;
                if group.filter.matches(event) {
                    let (awake, parked) = group.members.split_at(group.awake as usize);
                    wanted(number, awake, parked.len() as u32);
                }
            }
        });
    }

    fn add(&mut self, filter: Filter) -> u32 {
        let filter = Arc::new(filter);
        let number = self.free.pop().unwrap_or_else(|| {
            self.groups.push(Group::vacant(&self.nothing));
            number_of(self.groups.len() - 1)
        });
        let keys = access::keys(&filter, &self.table).into_iter().enumerate();
        let places = keys
            .map(|(at, key)| self.table.insert(key, Entry { group: number, number: number_of(at) }))
            .collect();
        let group = &mut self.groups[number as usize];
        assert!(group.members.is_empty() && group.places.is_empty());
        group.filter = Arc::clone(&filter);
        group.places = places;
        // Most distinct filters are one client's: room for one, not for the usual four.
        group.members = Vec::with_capacity(1);
        self.interned.insert(filter, number);
        self.room.grew(self.interned.len());
        number
    }

    fn remove(&mut self, number: u32) {
        // A free group keeps neither a large filter nor the room of many members.
        let vacant = Group::vacant(&self.nothing);
        let group = std::mem::replace(&mut self.groups[number as usize], vacant);
        self.interned.remove(&group.filter);
        for place in group.places {
            if let Some(moved) = self.table.remove(place) {
                let places = &mut self.groups[moved.group as usize].places;
                places[moved.number as usize].position = place.position;
            }
        }
        self.free.push(number);
        if let Some(filters) = self.room.shrank(self.interned.len()) {
            self.interned.shrink_to(filters);
        }
    }

    /// The constant-time part of [`Self::invariants`].
    pub fn check(&self) {
        assert_eq!(self.groups.len(), self.interned.len() + self.free.len());
    }

    /// Every relation between the tables; `member` is called with each member,
    /// its group and its place.
    ///
    /// # Panics
    /// When one is broken.
    pub fn invariants(&self, mut member: impl FnMut(Member, u32, u32)) {
        self.check();
        let mut entries = 0;
        for (filter, &number) in &self.interned {
            let group = &self.groups[number as usize];
            assert!(Arc::ptr_eq(filter, &group.filter) && !group.members.is_empty());
            for (at, &place) in group.places.iter().enumerate() {
                let entry = Entry { group: number, number: number_of(at) };
                assert_eq!(self.table.at(place), Some(entry));
            }
            assert!(!group.places.is_empty() && group.awake as usize <= group.members.len());
            entries += group.places.len();
            for (position, &it) in group.members.iter().enumerate() {
                member(it, number, number_of(position));
            }
        }
        assert_eq!(entries, self.table.checked_entries());
    }
}

impl Group {
    fn vacant(filter: &Arc<Filter>) -> Self {
        let filter = Arc::clone(filter);
        Self { filter, members: Vec::new(), awake: 0, places: Box::default(), round: 0 }
    }

    fn swap(&mut self, a: u32, b: u32) -> [(Member, u32); 2] {
        self.members.swap(a as usize, b as usize);
        [a, b].map(|position| (self.members[position as usize], position))
    }
}

/// A shard holds far fewer than 2^32 of anything: its slots are numbered by 32 bits.
pub(super) fn number_of(position: usize) -> u32 {
    match u32::try_from(position) {
        Ok(number) => number,
        Err(_) => panic!("{position} entries in one index"),
    }
}

//! Lanes that were full and are kept: what is to come on them is read from the past instead, as
//! the connection drains, until its reader meets what the shard has delivered.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::base::dense;
use crate::base::limits::OVERFLOW_CHANGES_MAX;
use crate::event::{Priorities, Priority};
use crate::filter::{Filter, Index, SubscriptionKey};
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::Lane;
use crate::shard::catch_up::{Behind, Item, Step};
use crate::shard::stats::ShardStats;
use crate::shard::subscriptions::Subscriptions;
use crate::stream::Cursor;
use crate::stream::history::History;

/// The newest events that a shard has delivered. Urgent events come to it in the order of `seq`,
/// and so do the others: of either kind none up to here is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    urgent: u64,
    others: u64,
}

/// The overflows of a shard's connections, by their slots.
#[derive(Debug, Default)]
pub(super) struct Overflows {
    by_slot: HashMap<u32, Box<Overflow>, RandomState>,
    /// By slot, the lanes that are not live: dense, as every delivery asks.
    active: Vec<Priorities>,
}

/// What is kept of a connection of which a lane was full.
#[derive(Debug, Default)]
struct Overflow {
    /// By [`Priority::index`], where its reader stands; none where the lane is live.
    positions: [Option<u64>; Priority::ALL.len()],
    /// Live subscriptions that began since, and where.
    begun: Vec<(SubscriptionKey, Edge)>,
    /// Those that ended since, for what they matched before.
    ended: Vec<Ended>,
}

#[derive(Debug)]
struct Ended {
    filter: Arc<Filter>,
    from: Edge,
    to: Edge,
}

/// What a reader needs besides its place.
pub(super) struct Reading<'a> {
    pub history: &'a dyn History,
    pub index: &'a Index,
    pub subscriptions: &'a Subscriptions,
    pub edge: Edge,
    pub encoding: Encoding,
    pub stats: &'a ShardStats,
}

impl Edge {
    pub fn of(self, priority: Priority) -> u64 {
        if priority.is_urgent() { self.urgent } else { self.others }
    }

    pub fn advance(&mut self, priority: Priority, seq: u64) {
        let newest = if priority.is_urgent() { &mut self.urgent } else { &mut self.others };
        *newest = seq.max(*newest);
    }
}

impl Overflows {
    /// From the event `seq` on, what is to come on a connection's lane is read from the past.
    pub fn begin(&mut self, slot: u32, priority: Priority, seq: u64, stats: &ShardStats) {
        let position = &mut self.by_slot.entry(slot).or_default().positions[priority.index()];
        if position.is_none() {
            *position = Some(seq - 1);
            stats.overflows[priority.index()].add(1);
            stats.overflows_active.add(1);
            dense::reach(&mut self.active, slot as usize, Priorities::default);
            self.note_active(slot);
        }
    }

    pub fn is_active(&self, slot: u32, priority: Priority) -> bool {
        let active = self.active.get(slot as usize).copied().unwrap_or_default();
        debug_assert_eq!(
            active.contains(priority),
            self.positions(slot)[priority.index()].is_some()
        );
        active.contains(priority)
    }

    /// The position that all readers of a connection have reached; none where all is live.
    pub fn position(&self, slot: u32) -> Option<u64> {
        self.by_slot.get(&slot)?.positions.iter().flatten().copied().min()
    }

    /// By [`Priority::index`], where a connection's readers stand; none where the lane is live.
    pub fn positions(&self, slot: u32) -> [Option<u64>; Priority::ALL.len()] {
        self.by_slot.get(&slot).map_or_else(Default::default, |overflow| overflow.positions)
    }

    /// A live subscription begins at `edge`.
    pub fn note_begin(&mut self, slot: u32, key: SubscriptionKey, edge: Edge) {
        let Some(overflow) = self.by_slot.get_mut(&slot) else { return };
        debug_assert!(overflow.begun.iter().all(|(begun, _)| *begun != key));
        overflow.begun.push((key, edge));
    }

    /// A live subscription ends at `edge`, or goes on with another filter.
    pub fn note_end(&mut self, slot: u32, key: SubscriptionKey, filter: &Arc<Filter>, edge: Edge) {
        let Some(overflow) = self.by_slot.get_mut(&slot) else { return };
        let from = overflow.start_of(key);
        overflow.begun.retain(|(begun, _)| *begun != key);
        // One that nothing came by in is as if it had never been.
        if from != edge {
            overflow.ended.push(Ended { filter: Arc::clone(filter), from, to: edge });
        }
    }

    /// Whether as many subscriptions of a connection have ended as are remembered.
    pub fn has_room_for_change(&self, slot: u32) -> bool {
        let ended = self.by_slot.get(&slot).map_or(0, |overflow| overflow.ended.len());
        ended < OVERFLOW_CHANGES_MAX
    }

    /// Forgets a connection.
    pub fn forget(&mut self, slot: u32, stats: &ShardStats) {
        let Some(overflow) = self.by_slot.remove(&slot) else { return };
        stats.overflows_active.sub(overflow.positions.iter().flatten().count() as u64);
        self.note_active(slot);
    }

    /// Takes one step for the lanes of these priorities. Lanes whose reader has met what was
    /// delivered are live again.
    pub fn advance(
        &mut self,
        slot: u32,
        priorities: Priorities,
        step: &mut Step,
        reading: &Reading<'_>,
    ) -> Behind {
        let Some(overflow) = self.by_slot.get_mut(&slot) else { return Behind::No };
        let mut steps = priorities.iter().map(|it| overflow.advance(it, step, reading));
        let behind = steps.find(|behind| *behind != Behind::No).unwrap_or(Behind::No);
        if behind == Behind::No {
            if overflow.positions.iter().any(Option::is_some) {
                overflow.forget_passed();
            } else {
                self.by_slot.remove(&slot);
            }
        }
        self.note_active(slot);
        behind
    }

    /// After the positions of a connection have changed.
    fn note_active(&mut self, slot: u32) {
        let positions = self.positions(slot);
        let active = Priority::ALL.into_iter().filter(|it| positions[it.index()].is_some());
        self.active[slot as usize] = active.collect();
    }
}

impl Overflow {
    fn advance(&mut self, priority: Priority, step: &mut Step, reading: &Reading<'_>) -> Behind {
        let lane = Lane::from(priority);
        let Some(position) = self.positions[priority.index()] else { return Behind::No };
        // What was read before stands before what comes now.
        if step.idle_down_to.is_none_or(|idle| idle < lane) {
            return Behind::Yes;
        }
        let mut cursor = Cursor::new(position, Priorities::only(priority));
        let Step { room, items, .. } = step;
        // Each event is compared with so many filters.
        let filters = (reading.subscriptions.len() + self.ended.len()).max(1);
        let compared = room.compared;
        room.compared = compared.div_ceil(filters);
        let before = room.compared;
        let advanced = cursor.advance(
            reading.history,
            reading.edge.of(priority),
            reading.encoding,
            room,
            &mut |event| self.wants(event, reading),
            &mut |event| items.push((lane, Item::Event(Arc::clone(event)))),
        );
        room.compared = compared.saturating_sub((before - room.compared) * filters);
        let Ok(has_met) = advanced else { return Behind::Lost };
        self.positions[priority.index()] = (!has_met).then(|| cursor.position());
        if !has_met {
            return Behind::Yes;
        }
        reading.stats.overflows_active.sub(1);
        Behind::No
    }

    /// Whether the connection's filters matched the event when it was delivered.
    fn wants(&self, event: &Encoded, reading: &Reading<'_>) -> bool {
        let (seq, priority) = (event.event.seq, event.event.priority);
        let attributes = event.event.attributes();
        let is_live = reading.subscriptions.keys().any(|key| {
            self.start_of(key).of(priority) < seq && reading.index.filter(key).matches(&attributes)
        });
        is_live
            || self.ended.iter().any(|Ended { filter, from, to }| {
                (from.of(priority) + 1..=to.of(priority)).contains(&seq)
                    && filter.matches(&attributes)
            })
    }

    /// Where a live subscription began; before everything if it was there before.
    fn start_of(&self, key: SubscriptionKey) -> Edge {
        let begun = self.begun.iter().find(|(begun, _)| *begun == key);
        begun.map_or(Edge::default(), |(_, edge)| *edge)
    }

    /// Forgets subscriptions that ended before all that is still to be read.
    fn forget_passed(&mut self) {
        let Self { positions, ended, .. } = self;
        ended.retain(|ended| {
            let mut positions = Priority::ALL.into_iter().zip(positions.iter());
            positions.any(|(priority, at)| at.is_some_and(|at| at < ended.to.of(priority)))
        });
    }
}

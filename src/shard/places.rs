//! Who catches up with the past at the same time. The others wait their turn, and who finds even
//! the line full is told to come back: what replays take of a shard is bounded, however many ask.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// Where others wait, a place goes to the next after so long, whatever its holder has got: one
/// that does not read must not keep it.
const HELD_FOR: Duration = Duration::from_millis(500);

/// The limits of one shard.
#[derive(Clone, Copy, Debug)]
pub struct CatchUpLimits {
    pub at_once_max: usize,
    pub waiting_max: usize,
}

impl CatchUpLimits {
    pub const UNLIMITED: Self = Self { at_once_max: usize::MAX, waiting_max: usize::MAX };
}

/// The places, and the line before them.
#[derive(Debug)]
pub(super) struct Places {
    limits: CatchUpLimits,
    /// By the time since when they hold them.
    holders: VecDeque<(Key, Instant)>,
    /// In the order in which they came; some have left since.
    line: VecDeque<Key>,
    waiting: HashSet<Key, RandomState>,
}

impl Places {
    pub fn new(limits: CatchUpLimits) -> Self {
        let (holders, line) = (VecDeque::new(), VecDeque::new());
        Self { limits, holders, line, waiting: HashSet::default() }
    }

    /// Whether a connection may have something to catch up with.
    pub fn has_room_for(&self, key: Key) -> bool {
        self.has_free() || self.waiting.len() < self.limits.waiting_max || self.knows(key)
    }

    pub fn is_waiting(&self, key: Key) -> bool {
        !self.waiting.is_empty() && self.waiting.contains(&key)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn held(&self) -> usize {
        self.holders.len()
    }

    /// When somebody's place goes to the next.
    pub fn next(&self) -> Option<Instant> {
        let (_, since) = self.holders.front().filter(|_| !self.waiting.is_empty())?;
        Some(*since + HELD_FOR)
    }

    /// Everyone who holds a place or waits for one.
    pub fn all(&self) -> impl Iterator<Item = Key> {
        self.holders.iter().map(|(key, _)| *key).chain(self.waiting.iter().copied())
    }

    fn has_free(&self) -> bool {
        self.holders.len() < self.limits.at_once_max && self.waiting.is_empty()
    }

    fn knows(&self, key: Key) -> bool {
        self.is_waiting(key) || self.holders.iter().any(|(holder, _)| *holder == key)
    }

    /// Takes a place, or the end of the line.
    fn enter(&mut self, key: Key, now: Instant) {
        if self.knows(key) {
            return;
        }
        if self.has_free() {
            self.holders.push_back((key, now));
        } else {
            self.wait(key);
        }
    }

    fn wait(&mut self, key: Key) {
        const LEFT_MAX: usize = 64;
        if self.line.len() > 2 * self.waiting.len() + LEFT_MAX {
            self.line.retain(|key| self.waiting.contains(key));
        }
        self.waiting.insert(key);
        self.line.push_back(key);
    }

    /// The connection is live, or gone.
    pub fn leave(&mut self, key: Key) {
        if !self.waiting.remove(&key) {
            self.holders.retain(|(holder, _)| *holder != key);
        }
    }

    /// The next in the line for whom there is a place.
    fn promote(&mut self, now: Instant) -> Option<Key> {
        if self.waiting.is_empty() {
            self.line.clear();
            return None;
        }
        if self.holders.len() >= self.limits.at_once_max {
            let (key, since) = *self.holders.front()?;
            if since + HELD_FOR > now {
                return None;
            }
            self.holders.pop_front();
            self.wait(key);
        }
        while let Some(key) = self.line.pop_front() {
            if self.waiting.remove(&key) {
                self.holders.push_back((key, now));
                return Some(key);
            }
        }
        debug_assert!(false, "whoever waits is in the line");
        None
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// The connection has asked for the past.
    pub(super) fn begin_catch_up(&mut self, key: Key, now: Instant) {
        // The answer to it may have found no room.
        if self.connections.get(key).is_some_and(|connection| connection.is_open) {
            self.places.enter(key, now);
            self.mark_behind(key);
        }
    }

    /// Gives places to those who wait for them.
    pub(super) fn promote_waiting(&mut self, now: Instant) {
        for _ in 0..self.settings.catch_up.at_once_max {
            let Some(key) = self.places.promote(now) else { break };
            self.mark_behind(key);
        }
        let stats = &self.links.stats;
        stats.catch_ups_active.set(self.places.held() as u64);
        stats.catch_ups_waiting.set(self.places.waiting() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn key(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    #[test]
    fn places_go_round_in_the_order_of_the_line_and_no_sooner_than_others_wait() {
        let mut places = Places::new(CatchUpLimits { at_once_max: 2, waiting_max: 2 });
        for slot in 0..4 {
            assert!(places.has_room_for(key(slot)));
            places.enter(key(slot), at(0));
        }
        assert_eq!((places.held(), places.waiting()), (2, 2));
        assert!(!places.has_room_for(key(4)) && places.has_room_for(key(3)));
        assert_eq!(places.promote(at(499)), None);
        assert_eq!(places.next(), Some(at(500)));
        assert_eq!(places.promote(at(500)), Some(key(2)));
        assert_eq!(places.promote(at(500)), Some(key(3)));
        assert_eq!(places.promote(at(500)), None, "the others wait now");
        places.leave(key(2));
        places.leave(key(0));
        assert_eq!(places.promote(at(501)), Some(key(1)));
        assert_eq!((places.promote(at(9_000)), places.next()), (None, None));
        assert_eq!((places.held(), places.waiting()), (2, 0));
    }

    #[test]
    fn those_who_come_and_go_leave_nothing_in_the_line() {
        let mut places = Places::new(CatchUpLimits { at_once_max: 1, waiting_max: 2 });
        places.enter(key(0), at(0));
        for slot in 1..10_000 {
            assert!(places.has_room_for(key(slot)));
            places.enter(key(slot), at(0));
            places.leave(key(slot));
        }
        assert!(places.line.len() <= 66, "{}", places.line.len());
    }
}

//! A hashed timer wheel: one entry for each connection, linked to its neighbours.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::dense;

const SLOTS: usize = 512;
const TICK: Duration = Duration::from_millis(100);

/// Connections, by their slots, each under the tick at which it wants to be looked at: one entry
/// at most, and nothing to allocate but for a slot that was never used. Firing late by up to two
/// ticks is fine for what it is used for. Deadlines beyond the wheel's span fire early and are
/// put back by their owner.
#[derive(Debug)]
pub struct Wheel {
    /// The first entry of each tick's list.
    heads: Vec<u32>,
    /// By the connection's slot.
    entries: Vec<Entry>,
    /// The next tick to fire.
    current: u64,
    count: usize,
}

#[derive(Debug)]
struct Entry {
    /// The list it is in: its tick modulo [`SLOTS`].
    list: u16,
    previous: u32,
    next: u32,
}

/// No entry, or no list.
const NONE: u32 = u32::MAX;
const NO_LIST: u16 = u16::MAX;

impl Wheel {
    pub fn new(now: Instant) -> Self {
        let heads = vec![NONE; SLOTS];
        Self { heads, entries: Vec::new(), current: tick_of(now), count: 0 }
    }

    /// Sees to it that `slot` comes out at `at`, unless it comes out before in any case.
    pub fn insert(&mut self, slot: u32, at: Instant) {
        dense::reach(&mut self.entries, slot as usize, Entry::vacant);
        let furthest = SLOTS as u64 - 1;
        // Rounded up: never before its time.
        let ahead = at.as_nanos().div_ceil(nanos_of_tick()).saturating_sub(self.current);
        let list = self.list(ahead.min(furthest));
        let present = self.entries[slot as usize].list;
        if present != NO_LIST {
            if self.ahead(present) <= self.ahead(list) {
                return;
            }
            self.remove(slot);
        }
        let next = std::mem::replace(&mut self.heads[usize::from(list)], slot);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = slot;
        }
        self.entries[slot as usize] = Entry { list, previous: NONE, next };
        self.count += 1;
    }

    /// Takes a slot out, if it is in: it is about to be another connection's.
    pub fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        let Entry { list, previous, next } = std::mem::replace(entry, Entry::vacant());
        if list == NO_LIST {
            return;
        }
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.heads[usize::from(list)] = next,
        }
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        self.count -= 1;
    }

    /// Moves up to `now`, appending each slot that came out.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<u32>) {
        let until = tick_of(now);
        let mut rounds = 0;
        while self.count > 0 && self.current <= until && rounds < SLOTS {
            let list = usize::from(self.list(0));
            let mut slot = std::mem::replace(&mut self.heads[list], NONE);
            while let Some(entry) = self.entries.get_mut(slot as usize) {
                expired.push(slot);
                self.count -= 1;
                slot = std::mem::replace(entry, Entry::vacant()).next;
            }
            self.current += 1;
            rounds += 1;
        }
        // A full round emptied every list: nothing is left between here and `now`.
        self.current = self.current.max(until + 1);
    }

    /// When [`Wheel::expire`] has something to do.
    pub fn next(&self) -> Option<Instant> {
        if self.count == 0 {
            return None;
        }
        let is_used = |ahead: &u64| self.heads[usize::from(self.list(*ahead))] != NONE;
        let ahead = (0..SLOTS as u64).find(is_used)?;
        Some(Instant::from_nanos((self.current + ahead).saturating_mul(nanos_of_tick())))
    }

    /// The list of the tick that is so far ahead.
    fn list(&self, ahead: u64) -> u16 {
        ((self.current + ahead) % SLOTS as u64) as u16
    }

    /// How many ticks ahead a list is.
    fn ahead(&self, list: u16) -> u64 {
        let current = self.current % SLOTS as u64;
        (u64::from(list) + SLOTS as u64 - current) % SLOTS as u64
    }
}

impl Entry {
    fn vacant() -> Self {
        Self { list: NO_LIST, previous: NONE, next: NONE }
    }
}

fn tick_of(at: Instant) -> u64 {
    at.as_nanos() / nanos_of_tick()
}

fn nanos_of_tick() -> u64 {
    TICK.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn nothing_fires_before_its_time_and_everything_within_two_ticks_after() {
        let mut wheel = Wheel::new(at(1_000));
        for millis in [1_000, 1_050, 1_100, 5_000, 30_000] {
            wheel.insert(millis, at(u64::from(millis)));
        }
        let mut fired = Vec::new();
        let mut now = 1_000;
        while let Some(next) = wheel.next() {
            now = (next.as_nanos() / 1_000_000).max(now);
            let mut expired = Vec::new();
            wheel.expire(at(now), &mut expired);
            for slot in expired {
                let due = u64::from(slot);
                assert!((due..=due + 200).contains(&now), "{due} fired at {now}");
                fired.push(slot);
            }
        }
        // Within one tick in any order.
        fired.sort_unstable();
        assert_eq!(fired, [1_000, 1_050, 1_100, 5_000, 30_000]);
    }

    #[test]
    fn a_deadline_beyond_the_span_comes_out_early_instead_of_late() {
        let mut wheel = Wheel::new(at(0));
        wheel.insert(1, at(300_000));
        let next = wheel.next().unwrap();
        assert!(next < at(60_000));
        let mut expired = Vec::new();
        wheel.expire(next, &mut expired);
        assert_eq!(expired.len(), 1);
    }

    #[test]
    fn a_long_sleep_fires_everything_once() {
        let mut wheel = Wheel::new(at(0));
        (0..2_000).for_each(|slot| wheel.insert(slot, at(u64::from(slot) * 20)));
        let mut expired = Vec::new();
        wheel.expire(at(10_000_000), &mut expired);
        assert_eq!(expired.len(), 2_000);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn an_entry_moves_forward_and_never_back_and_leaves_its_list_whole() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..5 {
            wheel.insert(slot, at(5_000));
        }
        for slot in [2, 0, 4] {
            wheel.insert(slot, at(1_000));
            wheel.insert(slot, at(9_000));
        }
        wheel.remove(0);
        wheel.remove(0);
        wheel.remove(3);
        let come_out = |wheel: &mut Wheel, millis| {
            let mut expired = Vec::new();
            wheel.expire(at(millis), &mut expired);
            expired.sort_unstable();
            expired
        };
        assert_eq!(come_out(&mut wheel, 1_000), [2, 4]);
        wheel.insert(2, at(9_000));
        assert_eq!(come_out(&mut wheel, 8_000), [1]);
        assert_eq!(wheel.next(), Some(at(9_000)));
        assert_eq!(come_out(&mut wheel, 9_000), [2]);
        assert_eq!(wheel.next(), None);
    }
}

//! A hashed timer wheel: one entry per connection, moved lazily.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::slab::Key;

const SLOTS: usize = 512;
const TICK: Duration = Duration::from_millis(100);

/// Keys by the tick at which their owner wants to be looked at. Firing late by up to
/// two ticks is fine for what it is used for. Deadlines beyond the wheel's span fire early
/// and are put back by their owner.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<Key>>,
    /// The next tick to fire.
    current: u64,
    entries: usize,
}

impl Wheel {
    pub fn new(now: Instant) -> Self {
        Self { slots: vec![Vec::new(); SLOTS], current: tick_of(now), entries: 0 }
    }

    /// Puts `key` in for `at`; gives the tick under which it will come out.
    pub fn insert(&mut self, key: Key, at: Instant) -> u64 {
        let furthest = self.current + SLOTS as u64 - 1;
        // Rounded up: never before its time.
        let tick = (tick_of(at) + 1).clamp(self.current, furthest);
        self.slots[tick as usize % SLOTS].push(key);
        self.entries += 1;
        tick
    }

    /// The tick under which a deadline would be put in; to tell whether an entry that is
    /// in already comes out early enough.
    pub fn tick(at: Instant) -> u64 {
        tick_of(at) + 1
    }

    /// Moves up to `now`, appending each (tick, key) that came out.
    pub fn expire(&mut self, now: Instant, expired: &mut Vec<(u64, Key)>) {
        let until = tick_of(now);
        if self.entries == 0 {
            self.current = self.current.max(until + 1);
            return;
        }
        let mut rounds = 0;
        while self.current <= until && rounds < SLOTS {
            let tick = self.current;
            let slot = &mut self.slots[tick as usize % SLOTS];
            self.entries -= slot.len();
            expired.extend(slot.drain(..).map(|key| (tick, key)));
            if slot.capacity() > 1024 {
                *slot = Vec::new();
            }
            self.current += 1;
            rounds += 1;
        }
        // A full round emptied every slot: nothing is left between here and `now`.
        self.current = self.current.max(until + 1);
    }

    /// When [`Wheel::expire`] has something to do.
    pub fn next(&self) -> Option<Instant> {
        if self.entries == 0 {
            return None;
        }
        let ahead = (0..SLOTS as u64)
            .find(|ahead| !self.slots[(self.current + ahead) as usize % SLOTS].is_empty())?;
        let nanos = (self.current + ahead).saturating_mul(TICK.as_nanos() as u64);
        Some(Instant::from_nanos(nanos))
    }
}

fn tick_of(at: Instant) -> u64 {
    at.as_nanos() / TICK.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> Key {
        Key { slot, generation: 0 }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn nothing_fires_before_its_time_and_everything_within_two_ticks_after() {
        let mut wheel = Wheel::new(at(1_000));
        for millis in [1_000, 1_050, 1_100, 5_000, 30_000] {
            wheel.insert(key(millis), at(u64::from(millis)));
        }
        let mut fired = Vec::new();
        let mut now = 1_000;
        while let Some(next) = wheel.next() {
            now = (next.as_nanos() / 1_000_000).max(now);
            let mut expired = Vec::new();
            wheel.expire(at(now), &mut expired);
            for (_, key) in expired {
                let due = u64::from(key.slot);
                assert!((due..=due + 200).contains(&now), "{due} fired at {now}");
                fired.push(key.slot);
            }
        }
        assert_eq!(fired, [1_000, 1_050, 1_100, 5_000, 30_000]);
    }

    #[test]
    fn a_deadline_beyond_the_span_comes_out_early_instead_of_late() {
        let mut wheel = Wheel::new(at(0));
        wheel.insert(key(1), at(300_000));
        let next = wheel.next().unwrap();
        assert!(next < at(60_000));
        let mut expired = Vec::new();
        wheel.expire(next, &mut expired);
        assert_eq!(expired.len(), 1);
    }

    #[test]
    fn a_long_sleep_fires_everything_once() {
        let mut wheel = Wheel::new(at(0));
        (0..2_000).for_each(|slot| {
            wheel.insert(key(slot), at(u64::from(slot) * 20));
        });
        let mut expired = Vec::new();
        wheel.expire(at(10_000_000), &mut expired);
        assert_eq!(expired.len(), 2_000);
        assert_eq!(wheel.next(), None);
    }
}

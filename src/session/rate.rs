//! A token bucket: so many per second, so many at once.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::quality::RandomState;

use crate::base::clock::Instant;
use crate::base::slab::Key;

/// What a bucket allows. A rate of zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// The state of one bucket: the generic cell rate algorithm, which needs one number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// The instant at which the bucket is full again.
    full_at: Instant,
}

impl Bucket {
    /// Takes one token, if there is one.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        self.take_many(now, rate, 1)
    }

    /// Takes so many tokens, if there are as many; else none.
    pub fn take_many(&mut self, now: Instant, rate: Rate, count: u32) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let full_at = self.full_at.max(now).as_nanos().saturating_add(rate.nanos_of(count));
        if full_at - now.as_nanos() > rate.nanos_of(rate.burst.max(1)) {
            return false;
        }
        self.full_at = Instant::from_nanos(full_at);
        true
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };

    pub fn is_unlimited(self) -> bool {
        self.per_second == 0
    }

    /// How long it takes until so many tokens have come.
    fn nanos_of(self, count: u32) -> u64 {
        const NANOS_PER_SECOND: u64 = 1_000_000_000;
        // Below 2^32 * 10^9, which is below 2^62.
        u64::from(count) * NANOS_PER_SECOND / u64::from(self.per_second.max(1))
    }
}

/// Several buckets that are kept together.
pub trait Buckets: Default {
    /// Whether each of them is as if nothing had ever been taken.
    fn are_full(&self, now: Instant) -> bool;
}

/// The buckets of those connections that took from them lately. Full ones are forgotten: an idle
/// connection has none.
#[derive(Debug)]
pub struct Ledger<B> {
    entries: HashMap<Key, B, RandomState>,
    swept_at: Instant,
}

impl<B> Default for Ledger<B> {
    fn default() -> Self {
        Self { entries: HashMap::default(), swept_at: Instant::default() }
    }
}

impl<B: Buckets> Ledger<B> {
    /// A connection's buckets, to take from them.
    pub fn of(&mut self, key: Key, now: Instant) -> &mut B {
        const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
        let has_room = self.entries.len() < self.entries.capacity();
        if !has_room || now.since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.sweep(now);
        }
        self.entries.entry(key).or_default()
    }

    /// Connections that are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn sweep(&mut self, now: Instant) {
        const KEPT: usize = 64;
        self.entries.retain(|_, buckets| !buckets.are_full(now));
        let (length, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > 4 * length + KEPT {
            self.entries.shrink_to(2 * length + KEPT);
        } else if capacity < 2 * length {
            // The next sweep for want of room is as many entries away as this one went through.
            self.entries.reserve(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rate_after_it() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut bucket = Bucket::default();
        let mut now = Instant::from_nanos(5_000_000_000);
        let take = |bucket: &mut Bucket, now| (0..5).filter(|_| bucket.take(now, rate)).count();
        assert_eq!(take(&mut bucket, now), 3);
        now = now + Duration::from_millis(100);
        assert_eq!(take(&mut bucket, now), 1);
        now = now + Duration::from_secs(3600);
        assert_eq!(take(&mut bucket, now), 3, "rest does not add up beyond the burst");
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = Bucket::default();
        let rate = Rate { per_second: 0, burst: 0 };
        assert!((0..1000).all(|_| bucket.take(Instant::default(), rate)));
    }

    #[test]
    fn many_tokens_are_taken_together_or_not_at_all() {
        let rate = Rate { per_second: 1_000, burst: 100 };
        let mut bucket = Bucket::default();
        let now = Instant::from_nanos(7);
        assert!(bucket.take_many(now, rate, 60));
        assert!(!bucket.take_many(now, rate, 41));
        assert!(bucket.take_many(now, rate, 40));
        assert!(!bucket.take(now, rate));
        let later = now + Duration::from_millis(50);
        assert!(bucket.take_many(later, rate, 50) && !bucket.take(later, rate));
        assert!(!bucket.is_full(later));
        assert!(bucket.is_full(later + Duration::from_millis(100)));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let rate = Rate { per_second: 1, burst: u32::MAX };
        let mut bucket = Bucket::default();
        let now = Instant::from_nanos(u64::MAX / 2);
        assert!(bucket.take_many(now, rate, u32::MAX));
        assert!(!bucket.take_many(now, rate, u32::MAX));
        let rate = Rate { per_second: u32::MAX, burst: u32::MAX };
        assert!(Bucket::default().take_many(now, rate, u32::MAX));
    }

    #[derive(Debug, Default)]
    struct One(Bucket);

    impl Buckets for One {
        fn are_full(&self, now: Instant) -> bool {
            self.0.is_full(now)
        }
    }

    #[test]
    fn who_rested_long_enough_is_forgotten_and_who_did_not_is_remembered() {
        let slow = Rate { per_second: 1, burst: 10 };
        let quick = Rate { per_second: 1_000, burst: 10 };
        let key = |slot| Key { slot, generation: 0 };
        let mut ledger = Ledger::<One>::default();
        let now = Instant::from_nanos(5_000_000_000);
        for slot in 0..1_000 {
            assert!(ledger.of(key(slot), now).0.take(now, quick));
        }
        assert!(ledger.of(key(0), now).0.take_many(now, slow, 9));
        assert_eq!(ledger.len(), 1_000);
        let later = now + Duration::from_secs(2);
        assert!(ledger.of(key(0), later).0.take_many(later, slow, 2), "two seconds' worth");
        assert!(!ledger.of(key(0), later).0.take(later, slow));
        assert_eq!(ledger.len(), 1);
        assert!(ledger.entries.capacity() < 200);
    }

    #[test]
    fn many_who_come_within_a_second_are_remembered_only_as_long_as_need_be() {
        let quick = Rate { per_second: 1_000, burst: 10 };
        let mut ledger = Ledger::<One>::default();
        for number in 0..9_000 {
            let now = Instant::from_nanos(5_000_000_000 + 100_000 * u64::from(number));
            let key = Key { slot: number, generation: 0 };
            assert!(ledger.of(key, now).0.take(now, quick));
        }
        assert!(ledger.entries.capacity() < 200, "{}", ledger.entries.capacity());
    }
}

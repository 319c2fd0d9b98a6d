//! Random choices that a seed repeats, and the backoff between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use uuid::Uuid;

/// SplitMix64: small, seeded, good enough for choices and jitter; not for secrets.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs from run to run.
    pub fn any_seed() -> u64 {
        // Keyed from the operating system's randomness.
        RandomState::new().hash_one(0_u8)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * bound as u128;
        (product >> 64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// # Panics
    /// When there is nothing to pick from.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// Pauses between attempts: doubling to a cap, each spread over its upper half so that
/// clients which lost one server do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    chance: Chance,
    attempt: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(30);

    pub const fn new(seed: u64) -> Self {
        Self { chance: Chance::from_seed(seed), attempt: 0 }
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    pub fn next_pause(&mut self) -> Duration {
        let doubled = Self::FIRST.saturating_mul(1 << self.attempt.min(10));
        self.attempt += 1;
        let half = doubled.min(Self::CAP) / 2;
        let spread = self.chance.below(half.as_millis() as usize + 1) as u64;
        half + Duration::from_millis(spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_cap_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(7);
        for expected_ms in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let pause = backoff.next_pause().as_millis();
            assert!((expected_ms / 2..=expected_ms).contains(&pause), "{pause} of {expected_ms}");
        }
        for _ in 0..100 {
            assert!(backoff.next_pause() <= Backoff::CAP);
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Backoff::FIRST);
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let choose = || {
            let mut chance = Chance::from_seed(42);
            (chance.uuid(), chance.below(1_000), *chance.pick(&[1, 2, 3]), chance.percent(50))
        };
        assert_eq!(choose(), choose());
        assert_eq!(choose().0.get_version_num(), 4);
        let mut chance = Chance::from_seed(1);
        assert!((0..1_000).all(|_| chance.below(3) < 3));
        assert_eq!(chance.below(0), 0);
    }
}

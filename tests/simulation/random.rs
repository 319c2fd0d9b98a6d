//! splitmix64: what happens follows from the seed alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5EED)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// From zero to `bound` - 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Runs `body` with each seed: as many as ALARMCAST_SIM_SEEDS says, from ALARMCAST_SIM_SEED on.
/// A panic names its seed. Gives the number of seeds.
pub fn for_seeds(default_count: u64, body: impl Fn(u64)) -> u64 {
    let from_env = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse().expect("seeds are numbers"))
    };
    let first: u64 = from_env("ALARMCAST_SIM_SEED").unwrap_or(0);
    let count = from_env("ALARMCAST_SIM_SEEDS").unwrap_or(default_count);
    for seed in first..first + count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(seed))) {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref().copied()).unwrap_or("see above");
            panic!("seed {seed} (ALARMCAST_SIM_SEED={seed} ALARMCAST_SIM_SEEDS=1): {said}");
        }
    }
    count
}

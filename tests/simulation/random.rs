//! What happens follows from the seed alone.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, available_parallelism};

pub use crate::resuming::Random;

/// Runs `body` with each seed, on all cores: as many as ALARMCAST_SIM_SEEDS says, from
/// ALARMCAST_SIM_SEED on. A panic names its seed. Gives the number of seeds.
pub fn for_seeds(default_count: u64, body: impl Fn(u64) + Sync) -> u64 {
    let from_env = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse().expect("seeds are numbers"))
    };
    let first: u64 = from_env("ALARMCAST_SIM_SEED").unwrap_or(0);
    let count = from_env("ALARMCAST_SIM_SEEDS").unwrap_or(default_count);
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            if let Some(said) = caught(|| body(seed)) {
                failed.store(true, Ordering::Relaxed);
                panic!("seed {seed} (ALARMCAST_SIM_SEED={seed} ALARMCAST_SIM_SEEDS=1): {said}");
            }
        }
    };
    let threads = available_parallelism().map_or(1, NonZero::get).min(8);
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work();
        for other in others {
            if let Err(panic) = other.join() {
                resume_unwind(panic);
            }
        }
    });
    count
}

/// What `body` said when it panicked.
pub fn caught(body: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(body)).err()?;
    let said = panic.downcast_ref::<String>().map(String::as_str);
    Some(said.or_else(|| panic.downcast_ref().copied()).unwrap_or("see above").to_owned())
}

//! The one clock of a load test: all its processes read the same.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC, which every process of a machine shares: a moment taken by
/// the publisher can be subtracted in any worker.
///
/// # Panics
/// When the kernel has no CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
        panic!("every Linux has CLOCK_MONOTONIC");
    };
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

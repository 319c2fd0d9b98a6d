//! The one clock of a load test: all its processes read the same.

use nix::sys::resource::{UsageWho, getrusage};
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

/// User and system time of this process, in µs.
pub fn own_cpu_us() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs())
            .sum()
    })
}

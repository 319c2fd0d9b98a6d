//! The only reader of time.
//!
//! Order and timers use [`Instant`], which is monotonic and which a test may
//! advance by hand; the wall clock only labels what people read.

use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nanoseconds of monotonic time. Comparable between threads of one process,
/// meaningless outside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// Where time comes from: the kernel, or a test.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// Virtual time; every clone advances together.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Virtual time that starts at zero and moves only by [`Clock::advance`].
    pub fn manual() -> Self {
        Self::Manual(Arc::new(AtomicU64::new(0)))
    }

    pub fn now(&self) -> Instant {
        match self {
            Self::System => monotonic(),
            Self::Manual(nanos) => Instant(nanos.load(Ordering::Acquire)),
        }
    }

    /// The wall clock, for people. Virtual time counts from 2026-01-01T00:00:00Z.
    #[allow(clippy::disallowed_methods, reason = "this module is the one reader of time")]
    pub fn wall(&self) -> jiff::Timestamp {
        const VIRTUAL_EPOCH_SECONDS: i64 = 1_767_225_600;
        match self {
            Self::System => jiff::Timestamp::now(),
            Self::Manual(_) => {
                let elapsed = i64::try_from(self.now().as_nanos()).unwrap_or(i64::MAX);
                let virtual_now = jiff::Timestamp::from_second(VIRTUAL_EPOCH_SECONDS)
                    .and_then(|epoch| epoch.checked_add(jiff::SignedDuration::from_nanos(elapsed)));
                virtual_now.unwrap_or(jiff::Timestamp::MAX)
            }
        }
    }

    /// Moves virtual time forward to `instant`; never back.
    ///
    /// # Panics
    /// On the system clock, which only the kernel moves.
    pub fn advance_to(&self, instant: Instant) {
        match self {
            Self::System => panic!("the system clock cannot be advanced"),
            Self::Manual(nanos) => {
                nanos.fetch_max(instant.0, Ordering::AcqRel);
            }
        }
    }

    /// Moves virtual time forward by `duration`.
    ///
    /// # Panics
    /// On the system clock, which only the kernel moves.
    pub fn advance(&self, duration: Duration) {
        self.advance_to(self.now() + duration);
    }
}

/// CLOCK_MONOTONIC, through std so that no unsafe is needed.
#[allow(clippy::disallowed_methods, reason = "this module is the one reader of time")]
fn monotonic() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    // Starts at one second, so that "long ago" can be expressed near the start.
    Instant(1_000_000_000 + u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_only_when_told_and_never_back() {
        let clock = Clock::manual();
        let other = clock.clone();
        assert_eq!(clock.now(), Instant::from_nanos(0));
        clock.advance(Duration::from_secs(2));
        assert_eq!(other.now(), Instant::from_nanos(2_000_000_000));
        other.advance_to(Instant::from_nanos(5));
        assert_eq!(clock.now().as_nanos(), 2_000_000_000);
        assert_eq!(clock.wall().to_string(), "2026-01-01T00:00:02Z");
    }

    #[test]
    fn the_system_clock_is_monotonic() {
        let first = Clock::System.now();
        assert!(Clock::System.now() >= first);
        assert_eq!(first.since(Clock::System.now() + Duration::from_secs(1)), Duration::ZERO);
    }
}

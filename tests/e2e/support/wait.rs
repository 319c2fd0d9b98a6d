//! Waiting for what another process does.

use std::thread;
use std::time::Duration;

use alarmcast::base::clock::Clock;

/// Of every wait: nothing here takes a tenth of it on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks again and again until there is something to see.
///
/// # Panics
/// When there still is nothing at the deadline.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "nothing tells when; the deadline is the clock's")]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Clock::System.now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Clock::System.now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Where it is the time itself that a test is about.
#[allow(clippy::disallowed_methods, reason = "what is awaited is that time passes")]
pub fn let_pass(time: Duration) {
    thread::sleep(time);
}

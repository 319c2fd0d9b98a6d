//! The shard's own absence: its process was stopped, or had no processor for long. What its peers
//! said meanwhile is still to be read when it comes back, and must be before anyone is judged by
//! their silence.

use std::time::Duration;

use crate::base::clock::Instant;

/// A turn that begins so much later than it should have is an absence.
const LATE: Duration = Duration::from_secs(1);

/// Time for reading what came meanwhile, before a deadline counts again.
const PAUSE: Duration = Duration::from_secs(5);

/// Holds the timers back after an absence.
#[derive(Debug)]
pub(super) struct Absence {
    /// When the last turn began.
    seen_at: Instant,
    held_until: Option<Instant>,
}

impl Absence {
    pub fn new(now: Instant) -> Self {
        Self { seen_at: now, held_until: None }
    }

    /// A turn begins now, where the wait before it was to end at `deadline`.
    pub fn begin_turn(&mut self, deadline: Option<Instant>, now: Instant) {
        let due = deadline.unwrap_or(now).max(self.seen_at);
        self.seen_at = now;
        // Not while it is held already: a shard that is always late has timers all the same.
        if self.held_until.is_none() && now.since(due) >= LATE {
            self.held_until = Some(now + PAUSE);
        }
    }

    /// Whether deadlines count.
    pub fn is_over(&mut self, now: Instant) -> bool {
        self.held_until.take_if(|until| *until <= now);
        self.held_until.is_none()
    }

    /// When a deadline at `instant` can be looked at.
    pub fn not_before(&self, instant: Instant) -> Instant {
        self.held_until.map_or(instant, |until| until.max(instant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn timers_are_held_for_a_while_after_an_absence_and_not_for_ever() {
        let mut absence = Absence::new(at(0));
        absence.begin_turn(Some(at(30_000)), at(30_900));
        assert!(absence.is_over(at(30_900)), "a bit late is no absence");
        absence.begin_turn(Some(at(60_000)), at(90_000));
        assert!(!absence.is_over(at(90_000)));
        assert_eq!(absence.not_before(at(60_100)), at(95_000));
        // Every further turn is late as well.
        absence.begin_turn(Some(at(0)), at(93_000));
        assert!(!absence.is_over(at(93_000)));
        absence.begin_turn(Some(at(0)), at(96_000));
        assert!(absence.is_over(at(96_000)));
        absence.begin_turn(Some(at(0)), at(98_000));
        assert!(!absence.is_over(at(98_000)));
    }

    #[test]
    fn a_wait_without_a_deadline_is_no_absence_and_a_long_turn_is_one() {
        let mut absence = Absence::new(at(0));
        absence.begin_turn(None, at(500_000));
        assert!(absence.is_over(at(500_000)));
        // A wait that should have ended at once: the turn before it took too long.
        absence.begin_turn(Some(at(0)), at(501_000));
        assert!(!absence.is_over(at(501_000)));
    }
}

//! Notices a shard that does not turn although it has something to do.
//!
//! It is looked at by numbers that it writes anyway. What counts is how often it was looked at in
//! vain, and not how much time went by: after the whole process was stopped, or starved, there
//! was nobody to turn, and nobody to look either.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Context;
use crate::base::clock::Instant;
use crate::shard::Handle;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// A look that comes later than this does not count: this thread was held up as well.
const LATE: Duration = Duration::from_millis(1_000);
/// So many looks in vain make a stall: three seconds.
const LOOKS: u32 = 6;
/// Looks between two lines about the same stall: half a minute.
const LOOKS_BETWEEN_LINES: u32 = 60;

/// What was found, by shard.
#[derive(Debug)]
pub struct Watchdog(Vec<Verdict>);

/// Written by the watchdog, read by requests.
#[derive(Debug, Default)]
struct Verdict {
    is_stalled: AtomicBool,
    stalls: AtomicU64,
}

impl Watchdog {
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Verdict::default()).collect())
    }

    /// The first shard that is stalled.
    pub fn stalled(&self) -> Option<usize> {
        self.0.iter().position(|verdict| verdict.is_stalled.load(Relaxed))
    }

    pub fn is_stalled(&self, shard: usize) -> bool {
        self.0.get(shard).is_some_and(|verdict| verdict.is_stalled.load(Relaxed))
    }

    /// Stalls of a shard since the start.
    pub fn stalls(&self, shard: usize) -> u64 {
        self.0.get(shard).map_or(0, |verdict| verdict.stalls.load(Relaxed))
    }

    /// Looks at all shards for ever.
    pub async fn watch(&self, context: &Context) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched: Vec<Watched> =
            context.shards.iter().map(|_| Watched::new(context.clock.now())).collect();
        loop {
            ticks.tick().await;
            let now = context.clock.now();
            for ((shard, watched), verdict) in context.shards.iter().zip(&mut watched).zip(&self.0)
            {
                let turns = shard.stats().turns.get();
                let is_idle = shard.is_parked() || shard.has_ended();
                if let Some(change) = watched.look(now, turns, is_idle) {
                    verdict.note(change);
                    tell(shard, watched, change);
                }
            }
        }
    }
}

impl Verdict {
    fn note(&self, change: Change) {
        match change {
            Change::Stalls => {
                self.stalls.fetch_add(1, Relaxed);
                self.is_stalled.store(true, Relaxed);
            }
            Change::StillStalls => {}
            Change::TurnsAgain => self.is_stalled.store(false, Relaxed),
        }
    }
}

/// What is remembered of one shard from look to look.
#[derive(Debug)]
struct Watched {
    turns: u64,
    looked_at: Instant,
    /// Looks in a row at which it had not turned, and was not idle either.
    in_vain: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Stalls,
    /// It is worth another line.
    StillStalls,
    TurnsAgain,
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self { turns: 0, looked_at: now, in_vain: 0 }
    }

    fn look(&mut self, now: Instant, turns: u64, is_idle: bool) -> Option<Change> {
        let is_late = now.since(self.looked_at) > LATE;
        let has_moved = turns != self.turns || is_idle;
        (self.turns, self.looked_at) = (turns, now);
        if has_moved {
            let was_stalled = self.in_vain >= LOOKS;
            self.in_vain = 0;
            return was_stalled.then_some(Change::TurnsAgain);
        }
        if is_late {
            // One that is stalled already stays so: nothing speaks for it.
            if self.in_vain < LOOKS {
                self.in_vain = 0;
            }
            return None;
        }
        self.in_vain += 1;
        let since_stall = self.in_vain.checked_sub(LOOKS)?;
        match since_stall {
            0 => Some(Change::Stalls),
            _ => since_stall.is_multiple_of(LOOKS_BETWEEN_LINES).then_some(Change::StillStalls),
        }
    }
}

fn tell(shard: &Handle, watched: &Watched, change: Change) {
    let index = shard.index();
    let seconds = (PERIOD * watched.in_vain).as_secs();
    let stats = shard.stats();
    match change {
        Change::Stalls | Change::StillStalls => tracing::error!(
            shard = index,
            seconds,
            connections = stats.connections_active.get(),
            events_waiting = shard.inbox_usage().0,
            turns = watched.turns,
            "a shard is stalled: its thread shard-{index} does not turn, and its connections get \
             nothing; the others go on"
        ),
        Change::TurnsAgain => {
            tracing::warn!(shard = index, turns = watched.turns, "a stalled shard turns again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that is looked at every so often.
    struct Watch {
        watched: Watched,
        now: Instant,
    }

    impl Watch {
        fn new() -> Self {
            let now = Instant::from_nanos(1_000_000_000);
            Self { watched: Watched::new(now), now }
        }

        fn look_after(&mut self, gap: Duration, turns: u64, is_parked: bool) -> Option<Change> {
            self.now = self.now + gap;
            self.watched.look(self.now, turns, is_parked)
        }

        fn look(&mut self, turns: u64, is_parked: bool) -> Option<Change> {
            self.look_after(PERIOD, turns, is_parked)
        }
    }

    #[test]
    fn one_that_does_not_turn_is_told_once_and_then_seldom_and_its_return_too() {
        let mut watch = Watch::new();
        assert_eq!(watch.look(7, false), None);
        for _ in 1..LOOKS {
            assert_eq!(watch.look(7, false), None);
        }
        assert_eq!(watch.look(7, false), Some(Change::Stalls));
        for _ in 1..LOOKS_BETWEEN_LINES {
            assert_eq!(watch.look(7, false), None);
        }
        assert_eq!(watch.look(7, false), Some(Change::StillStalls));
        assert_eq!(watch.look(8, false), Some(Change::TurnsAgain));
        assert_eq!(watch.look(8, true), None);
        assert_eq!(watch.look(9, false), None);
    }

    #[test]
    fn one_that_is_idle_or_slow_is_not_stalled() {
        let mut watch = Watch::new();
        for _ in 0..1_000 {
            assert_eq!(watch.look(7, true), None);
        }
        for turns in 8..1_000 {
            for _ in 1..LOOKS {
                assert_eq!(watch.look(turns, false), None);
            }
        }
    }

    #[test]
    fn a_stop_of_everything_is_not_a_stall_and_hides_none() {
        let mut watch = Watch::new();
        for _ in 0..100 {
            for _ in 1..LOOKS {
                assert_eq!(watch.look(7, false), None);
            }
            assert_eq!(watch.look_after(Duration::from_secs(60), 7, false), None);
        }
        for _ in 1..LOOKS {
            assert_eq!(watch.look(7, false), None);
        }
        assert_eq!(watch.look(7, false), Some(Change::Stalls));
        assert_eq!(watch.look_after(Duration::from_secs(60), 7, false), None);
        assert_eq!(watch.look(8, false), Some(Change::TurnsAgain));
    }
}

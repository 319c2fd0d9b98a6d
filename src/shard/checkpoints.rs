//! Positions that are told to the connections which asked for them.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::base::clock::Instant;

/// Between two checkpoints of a connection, unless a heartbeat comes.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was told last, by the connection's slot.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    told: HashMap<u32, Told, RandomState>,
}

#[derive(Debug)]
struct Told {
    seq: u64,
    at: Instant,
}

impl Checkpoints {
    /// A connection asks for them; it knows the position `seq` already.
    pub fn start(&mut self, slot: u32, seq: u64, now: Instant) {
        self.told.entry(slot).or_insert(Told { seq, at: now });
    }

    pub fn forget(&mut self, slot: u32) {
        self.told.remove(&slot);
    }

    /// Whether the position is news to a connection that has got everything up to it; then it
    /// counts as told.
    pub fn is_due(&mut self, slot: u32, seq: u64, now: Instant, is_heartbeat: bool) -> bool {
        let Some(told) = self.told.get_mut(&slot) else { return false };
        let is_due = seq > told.seq && (is_heartbeat || now.since(told.at) >= INTERVAL);
        if is_due {
            *told = Told { seq, at: now };
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once_a_second_or_with_the_heartbeat_to_those_who_asked() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut checkpoints = Checkpoints::default();
        checkpoints.start(1, 10, at(0));
        assert!(!checkpoints.is_due(2, 11, at(5_000), true), "never asked");
        assert!(!checkpoints.is_due(1, 10, at(5_000), true), "no news");
        assert!(!checkpoints.is_due(1, 11, at(999), false));
        assert!(checkpoints.is_due(1, 11, at(999), true));
        assert!(!checkpoints.is_due(1, 12, at(1_998), false));
        assert!(checkpoints.is_due(1, 13, at(1_999), false));
        checkpoints.start(1, 0, at(2_000));
        assert!(!checkpoints.is_due(1, 13, at(9_000), true), "asking again changes nothing");
        checkpoints.forget(1);
        assert!(!checkpoints.is_due(1, 14, at(9_000), true));
    }
}

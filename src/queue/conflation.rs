//! Updates of incidents that wait for one connection, of which the newest are enough.

use std::collections::HashMap;

use foldhash::quality::RandomState;
use uuid::Uuid;

use super::loss::Loss;

/// What one connection's conflation must remember.
#[derive(Debug, Default)]
pub struct Conflation {
    /// By incident, the newest update that was queued and may be replaced.
    newest: HashMap<Uuid, u64, RandomState>,
    /// What was replaced and not told yet.
    pub loss: Loss,
}

/// Entries beyond those that can still wait.
const STALE_MAX: usize = 64;

impl Conflation {
    /// An update of the incident is about to be queued; gives the one before, which may wait
    /// still. Of the updates that wait, `first` is the oldest, and there are at most `waiting`.
    pub fn note(
        &mut self,
        incident: Uuid,
        seq: u64,
        first: Option<u64>,
        waiting: usize,
    ) -> Option<u64> {
        if self.newest.len() > waiting + STALE_MAX {
            self.newest.retain(|_, seq| first.is_some_and(|first| *seq >= first));
        }
        self.newest.insert(incident, seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_update_before_is_known_and_those_that_have_gone_are_forgotten() {
        let mut conflation = Conflation::default();
        let incident = |number: u64| Uuid::from_u128(number.into());
        assert_eq!(conflation.note(incident(1), 1, None, 0), None);
        assert_eq!(conflation.note(incident(1), 2, Some(1), 1), Some(1));
        for number in 2..10_000 {
            assert_eq!(
                conflation.note(incident(number), number + 1, Some(number.saturating_sub(9)), 10),
                None
            );
            assert!(conflation.newest.len() <= 10 + STALE_MAX + 1);
        }
        assert_eq!(conflation.note(incident(9_999), 10_001, Some(9_990), 10), Some(10_000));
        assert_eq!(conflation.note(incident(1), 10_002, Some(9_990), 10), None);
    }
}

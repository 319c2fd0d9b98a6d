//! What one connection was sent of a run's events, and what not.

use std::ops::Range;

/// The run's events of one connection, by index. Small while nothing is missing.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u32,
    /// Indexes that were passed over, ascending.
    holes: Vec<Range<u32>>,
}

/// How an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    InOrder,
    /// Some before it have not come.
    AfterHole,
    /// Its successors came before it.
    Late,
    Duplicate,
}

impl Sequence {
    /// Notes the event of this index.
    pub fn arrive(&mut self, index: u32) -> Arrival {
        if index < self.next {
            return if self.fill(index) { Arrival::Late } else { Arrival::Duplicate };
        }
        let passed_over = self.next..index;
        self.next = index + 1;
        if passed_over.is_empty() {
            return Arrival::InOrder;
        }
        self.holes.push(passed_over);
        Arrival::AfterHole
    }

    /// How many of the first `published` events have not come.
    pub fn missing(&self, published: u32) -> u64 {
        let within = self
            .holes
            .iter()
            .map(|hole| u64::from(hole.end.min(published).saturating_sub(hole.start)));
        within.sum::<u64>() + u64::from(published.saturating_sub(self.next))
    }

    fn fill(&mut self, index: u32) -> bool {
        let holes = &mut self.holes;
        let Some(at) = holes.iter().position(|hole| hole.contains(&index)) else { return false };
        let hole = holes[at].clone();
        let rest = [hole.start..index, index + 1..hole.end];
        holes.splice(at..=at, rest.into_iter().filter(|range| !range.is_empty()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_arrival_is_told_apart() {
        let mut sequence = Sequence::default();
        let arrivals = [0, 1, 5, 3, 3, 5, 2, 6].map(|index| sequence.arrive(index));
        use Arrival::{AfterHole, Duplicate, InOrder, Late};
        let expected = [InOrder, InOrder, AfterHole, Late, Duplicate, Duplicate, Late, InOrder];
        assert_eq!(arrivals, expected);
        assert_eq!(sequence.missing(7), 1, "index 4 is missing");
        assert_eq!(sequence.missing(10), 4, "and the three at the end");
        assert_eq!(sequence.missing(3), 0);
    }

    #[test]
    fn against_a_set() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..200 {
            let mut sequence = Sequence::default();
            let mut seen = std::collections::HashSet::new();
            for _ in 0..60 {
                let index = random.u32(..40);
                let is_new = seen.insert(index);
                let arrival = sequence.arrive(index);
                assert_eq!(arrival == Arrival::Duplicate, !is_new, "seed {seed}");
            }
            for published in 0..45 {
                let missing = (0..published).filter(|index| !seen.contains(index)).count();
                assert_eq!(sequence.missing(published), missing as u64, "seed {seed}");
            }
        }
    }
}

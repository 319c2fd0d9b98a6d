//! What a connection was not sent and has not been told yet.

use crate::event::Priority;

/// Events shed for one connection since the last notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Sequence numbers of the first and the last event shed; what lies between was not
    /// necessarily shed.
    range: Option<(u64, u64)>,
    /// By [`Priority::index`]; that of critical stays zero.
    counts: [u64; 4],
}

impl Loss {
    /// Adds one event.
    pub fn add(&mut self, seq: u64, priority: Priority) {
        self.add_all((seq, seq), priority, 1);
    }

    /// Adds several events, the first and the last of which have these sequence numbers.
    pub fn add_all(&mut self, (first, last): (u64, u64), priority: Priority, count: u64) {
        assert!(priority != Priority::Critical, "critical events are never shed");
        let (from, to) = self.range.unwrap_or((first, last));
        self.range = Some((from.min(first), to.max(last)));
        self.counts[priority.index()] += count;
    }

    /// The first and the last sequence number, if anything was lost.
    pub fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    pub fn count(&self, priority: Priority) -> u64 {
        self.counts[priority.index()]
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }

    /// Takes everything, for a notice.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_spans_what_was_added_and_is_told_once() {
        let mut loss = Loss::default();
        assert!(loss.is_empty());
        for (seq, priority) in [(7, Priority::Low), (5, Priority::Normal), (9, Priority::Low)] {
            loss.add(seq, priority);
        }
        let told = loss.take();
        assert_eq!(told.range(), Some((5, 9)));
        assert_eq!((told.count(Priority::Low), told.count(Priority::Normal)), (2, 1));
        assert_eq!(loss.take(), Loss::default());
    }
}

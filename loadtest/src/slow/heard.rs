//! What a subscriber was sent: counted, or written down in full.

use std::ops::Range;

use crate::priority::{ByPriority, Priority};
use crate::wire::message::Dropped;

/// Takes down what comes, in the order in which it comes.
pub trait Heard {
    /// `span`: the frame's bytes, as offsets in the connection's stream.
    fn event(&mut self, seq: u64, priority: Priority, span: Range<u64>);
    fn dropped(&mut self, dropped: Dropped);
    /// Events that came or were told as lost.
    fn accounted(&self) -> u64;
}

/// For who should get everything: counts suffice, where each lane's seq only rises.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub delivered: ByPriority<u64>,
    pub dropped: ByPriority<u64>,
    /// Events whose seq was not above that of the last one of the same priority.
    pub out_of_order: u64,
    last: ByPriority<u64>,
}

impl Heard for Counts {
    fn event(&mut self, seq: u64, priority: Priority, _: Range<u64>) {
        self.out_of_order += u64::from(seq <= self.last[priority]);
        self.last[priority] = seq;
        self.delivered[priority] += 1;
    }

    fn dropped(&mut self, dropped: Dropped) {
        self.dropped.merge(&dropped.counts);
    }

    fn accounted(&self) -> u64 {
        self.delivered.sum() + self.dropped.sum()
    }
}

/// For who is slow: each event and each notice.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    accounted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Event { seq: u64, priority: Priority, span: Range<u64> },
    Dropped(Dropped),
}

impl Heard for Log {
    fn event(&mut self, seq: u64, priority: Priority, span: Range<u64>) {
        self.entries.push(Entry::Event { seq, priority, span });
        self.accounted += 1;
    }

    fn dropped(&mut self, dropped: Dropped) {
        self.accounted += dropped.counts.sum();
        self.entries.push(Entry::Dropped(dropped));
    }

    fn accounted(&self) -> u64 {
        self.accounted
    }
}

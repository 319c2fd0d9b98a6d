use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::event::{Priorities, Priority};
use crate::protocol::encoded::Encoded;

/// Events in one segment, at most.
pub(super) const SEGMENT_EVENTS: usize = 256;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = SEGMENT_EVENTS / WORD_BITS;

/// A run of events, filled by one thread while others read what is filled.
#[derive(Debug)]
pub(super) struct Segment {
    base: u64,
    slots: Box<[OnceLock<Arc<Encoded>>]>,
    len: AtomicUsize,
    /// For each priority, a bit for each event that has it.
    by_priority: [[AtomicU64; WORDS]; Priority::ALL.len()],
}

impl Segment {
    /// A segment whose first event will be `base`.
    pub fn new(base: u64) -> Self {
        Self {
            base,
            slots: (0..SEGMENT_EVENTS).map(|_| OnceLock::new()).collect(),
            len: AtomicUsize::new(0),
            by_priority: Default::default(),
        }
    }

    /// Seq of the first event.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Seq after the last event.
    pub fn end(&self) -> u64 {
        self.base + self.len.load(Ordering::Acquire) as u64
    }

    pub fn is_full(&self) -> bool {
        self.end() - self.base == SEGMENT_EVENTS as u64
    }

    /// Adds the event whose seq is [`Segment::end`]; one thread only.
    pub fn push(&self, event: Arc<Encoded>) {
        let index = self.len.load(Ordering::Relaxed);
        assert_eq!(event.event.seq, self.base + index as u64, "the sequence is dense");
        let bits = &self.by_priority[event.event.priority.index()][index / WORD_BITS];
        bits.fetch_or(1 << (index % WORD_BITS), Ordering::Relaxed);
        let is_vacant = self.slots[index].set(event).is_ok();
        assert!(is_vacant, "a slot is filled once");
        // Readers look at bits and slots below this only.
        self.len.store(index + 1, Ordering::Release);
    }

    pub fn get(&self, seq: u64) -> Option<&Arc<Encoded>> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.slots.get(index)?.get()
    }

    /// The first event from `seq` on, below `end`, that has one of the priorities.
    pub fn next(&self, seq: u64, end: u64, priorities: Priorities) -> Option<&Arc<Encoded>> {
        let end = (end.min(self.end()) - self.base) as usize;
        let mut index = usize::try_from(seq.saturating_sub(self.base)).ok()?;
        while index < end {
            let bits = self.bits(index / WORD_BITS, priorities) >> (index % WORD_BITS);
            if bits != 0 {
                index += bits.trailing_zeros() as usize;
                return (index < end).then(|| self.slots[index].get()).flatten();
            }
            index = (index / WORD_BITS + 1) * WORD_BITS;
        }
        None
    }

    fn bits(&self, word: usize, priorities: Priorities) -> u64 {
        let bits = |priority: Priority| &self.by_priority[priority.index()][word];
        priorities.iter().fold(0, |all, it| all | bits(it).load(Ordering::Relaxed))
    }
}

//! Events that connections which take nothing want, and of which only a bit is kept for each.

use std::array;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::Instant;
use crate::base::dense;
use crate::event::Priority;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::FrameId;

/// Events of a chunk: a bit of a mask for each.
pub(super) const CHUNK: usize = u64::BITS as usize;
/// Chunks that there is room for.
pub(super) const CHUNKS: usize = 26;

/// An event's frame in each encoding that was needed so far, with a reference, and its size.
pub(super) type Stored = [Option<(FrameId, usize)>; Encoding::ALL.len()];

/// Masks of one connection, the oldest chunk's first.
pub(super) type Masks = [u64; CHUNKS];

/// The events that were deferred last, in chunks, and a bit of each for everyone who wants it.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    /// The oldest first; all but the last are full.
    chunks: VecDeque<Chunk>,
    /// Masks by row; those of a chunk are in the plane of its number modulo [`CHUNKS`].
    planes: [Vec<u64>; CHUNKS],
    /// Events so far, counted as if every chunk had been filled: the next is bit
    /// `count % CHUNK` of the chunk with the number `count / CHUNK`.
    count: usize,
    /// Size of the events of all chunks.
    bytes: usize,
    /// The event that is being delivered is wanted by some.
    is_wanted: bool,
}

/// Events in the order in which they were delivered.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub events: Vec<(Arc<Encoded>, Stored)>,
    /// When the first of them was delivered.
    pub since: Instant,
    /// By [`Priority::index`], which of them have it.
    pub priorities: [u64; Priority::ALL.len()],
    bytes: usize,
}

impl Deferred {
    pub fn chunks(&self) -> &VecDeque<Chunk> {
        &self.chunks
    }

    /// Takes the chunks out, to be put back when what is done with them is done.
    pub fn take_chunks(&mut self) -> VecDeque<Chunk> {
        std::mem::take(&mut self.chunks)
    }

    pub fn put_back(&mut self, chunks: VecDeque<Chunk>) {
        debug_assert!(self.chunks.is_empty());
        self.chunks = chunks;
    }

    /// Size of the events that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes room for a row.
    pub fn reach(&mut self, row: u32) {
        for plane in &mut self.planes {
            dense::reach(plane, row as usize, || 0);
        }
    }

    /// Behind the last event that is kept.
    pub fn end(&self) -> usize {
        self.count
    }

    /// Behind the event that is being delivered, if that is wanted by some so far.
    pub fn end_with_wanted(&self) -> usize {
        self.count + usize::from(self.is_wanted)
    }

    /// Behind so many chunks, the oldest ones.
    pub fn end_of_oldest(&self, chunks: usize) -> usize {
        (self.oldest() + chunks) * CHUNK
    }

    /// One more event finds room.
    pub fn has_room(&self) -> bool {
        self.chunks.len() < CHUNKS || !self.count.is_multiple_of(CHUNK)
    }

    /// Notes that a row wants the event that is being delivered, for which there is room.
    pub fn want(&mut self, row: u32) {
        let plane = &mut self.planes[self.count / CHUNK % CHUNKS];
        plane[row as usize] |= 1 << (self.count % CHUNK);
        self.is_wanted = true;
    }

    /// Keeps the event that was delivered, if anyone wants it; otherwise gives back what was
    /// stored.
    pub fn keep(&mut self, event: &Arc<Encoded>, stored: Stored, now: Instant) -> Option<Stored> {
        if !std::mem::take(&mut self.is_wanted) {
            return Some(stored);
        }
        if self.count.is_multiple_of(CHUNK) {
            let events = Vec::with_capacity(CHUNK);
            self.chunks.push_back(Chunk { events, since: now, ..Chunk::default() });
        }
        let chunk = self.chunks.back_mut().expect("a chunk that is not full is there");
        chunk.priorities[event.event.priority.index()] |= 1 << (self.count % CHUNK);
        chunk.events.push((Arc::clone(event), stored));
        chunk.bytes += event.encoded_bytes();
        self.bytes += event.encoded_bytes();
        self.count += 1;
        None
    }

    /// What a row wants of the events from one on; of those before it is settled.
    pub fn masks(&self, row: u32, from: usize) -> Masks {
        let oldest = self.oldest();
        array::from_fn(|at| {
            let settled = from.saturating_sub((oldest + at) * CHUNK);
            match at < self.chunks.len() && settled < CHUNK {
                true => self.planes[(oldest + at) % CHUNKS][row as usize] & u64::MAX << settled,
                false => 0,
            }
        })
    }

    /// The events before one, each a bit.
    pub fn before(&self, end: usize) -> Masks {
        let oldest = self.oldest();
        array::from_fn(|at| match end.saturating_sub((oldest + at) * CHUNK) {
            count if count >= CHUNK => u64::MAX,
            count => (1 << count) - 1,
        })
    }

    /// Takes the oldest chunk, of which nobody wants anything any more.
    pub fn pop(&mut self) -> Option<Chunk> {
        let plane = self.oldest() % CHUNKS;
        let chunk = self.chunks.pop_front()?;
        self.planes[plane].fill(0);
        self.bytes -= chunk.bytes;
        if self.chunks.is_empty() {
            self.count = self.count.next_multiple_of(CHUNK);
        }
        Some(chunk)
    }

    /// The first that is among these.
    pub fn first(&self, masks: &Masks) -> Option<usize> {
        let at = masks.iter().position(|mask| *mask != 0)?;
        Some(self.end_of_oldest(at) + masks[at].trailing_zeros() as usize)
    }

    /// Number of the oldest chunk; that of the next one where there is none.
    fn oldest(&self) -> usize {
        self.count.div_ceil(CHUNK) - self.chunks.len()
    }
}

impl Chunk {
    /// By [`Priority::index`], how many events are wanted.
    pub fn counts(&self, wanted: u64) -> [usize; Priority::ALL.len()] {
        self.priorities.map(|priority| (wanted & priority).count_ones() as usize)
    }

    /// Of those of a priority that are wanted, the ones behind which come at least so many others of
    /// it or a higher one.
    pub fn with_others(&self, wanted: u64, priority: Priority, others: usize) -> u64 {
        let (higher, of_priority) = self.priorities.split_at(priority.index());
        let of_priority = wanted & of_priority[0];
        let mut later = higher.iter().fold(of_priority, |all, priority| all | wanted & priority);
        if later.count_ones() as usize <= others {
            return 0;
        }
        for _ in 1..others {
            later &= !(1 << later.ilog2());
        }
        // All before the one that is the last of the others.
        let before = if others == 0 { u64::MAX } else { (1 << later.ilog2()) - 1 };
        of_priority & before
    }

    /// The sequence numbers of the first and the last that are wanted; of one priority, as these
    /// are in their order.
    pub fn range(&self, wanted: u64) -> Option<(u64, u64)> {
        let seq_of = |at: u32| self.events[at as usize].0.event.seq;
        let last = wanted.checked_ilog2()?;
        Some((seq_of(wanted.trailing_zeros()), seq_of(last)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::event::{Context, Event, Payload};

    /// Every third is low, the others are normal.
    fn event(seq: u64) -> Arc<Encoded> {
        let fields = serde_json::json!({
            "event_type": "system_event", "category": "c", "message": "m", "metadata": {},
        });
        let serde_json::Value::Object(fields) = fields else { panic!("an object") };
        let event = Arc::new(Encoded::new(Event {
            seq,
            message_id: Uuid::from_u128(seq.into()),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            priority: if seq.is_multiple_of(3) { Priority::Low } else { Priority::Normal },
            payload: Payload::from_object(fields).unwrap(),
            context: Context::default(),
            accepted_at: Default::default(),
        }));
        event.frame(Encoding::Json);
        event
    }

    /// Defers events with these sequence numbers for the rows that `wants` names.
    fn defer(
        deferred: &mut Deferred,
        seqs: std::ops::Range<u64>,
        wants: impl Fn(u64, u32) -> bool,
    ) {
        for seq in seqs {
            assert!(deferred.has_room());
            (0..2).filter(|row| wants(seq, *row)).for_each(|row| deferred.want(row));
            let is_wanted = (0..2).any(|row| wants(seq, row));
            let end = deferred.end() + usize::from(is_wanted);
            assert_eq!(deferred.end_with_wanted(), end);
            let given_back = deferred.keep(&event(seq), Stored::default(), Instant::default());
            assert_eq!(given_back.is_none(), is_wanted);
        }
    }

    fn wanted(deferred: &Deferred, masks: Masks) -> Vec<u64> {
        let chunks = deferred.chunks().iter().zip(masks);
        let seqs = chunks.flat_map(|(chunk, mask)| {
            let events = chunk.events.iter().enumerate();
            events.filter(move |(at, _)| mask & 1 << at != 0).map(|(_, (event, _))| event.event.seq)
        });
        seqs.collect()
    }

    #[test]
    fn what_a_row_wants_is_kept_in_order_until_its_chunk_is_taken_round_the_planes() {
        let mut deferred = Deferred::default();
        deferred.reach(1);
        let room = (CHUNK * CHUNKS) as u64;
        let mut next = 1;
        // In the end the planes have been used two and a half times.
        for _ in 0..CHUNKS * 5 / 2 {
            let end = if next == 1 { room + 1 } else { next + CHUNK as u64 };
            defer(&mut deferred, next..end, |seq, row| row == 0 || seq % 5 == 0);
            next = end;
            assert!(!deferred.has_room());
            let oldest = next - room;
            assert!(wanted(&deferred, deferred.masks(0, 0)).into_iter().eq(oldest..next));
            // Ten chunks and seven events are settled for it.
            let from = deferred.end_of_oldest(10) + 7;
            let newer = oldest + (10 * CHUNK) as u64 + 7..next;
            assert!(wanted(&deferred, deferred.masks(0, from)).into_iter().eq(newer));
            assert_eq!(deferred.masks(0, deferred.end()), [0; CHUNKS]);
            let fifth = (oldest..next).filter(|seq| seq % 5 == 0);
            assert!(wanted(&deferred, deferred.masks(1, 0)).into_iter().eq(fifth));
            let chunk = deferred.pop().expect("the oldest");
            assert_eq!(chunk.events[0].0.event.seq, oldest);
        }
        let count = |row| wanted(&deferred, deferred.masks(row, 0)).len();
        assert_eq!(count(1), count(0) / 5);
    }

    #[test]
    fn an_event_that_nobody_wants_is_given_back_and_after_all_are_gone_a_chunk_begins() {
        let mut deferred = Deferred::default();
        deferred.reach(1);
        defer(&mut deferred, 1..101, |seq, row| row == 1 && seq > 30);
        assert_eq!((deferred.chunks().len(), deferred.bytes() > 0), (2, true));
        assert!(wanted(&deferred, deferred.masks(1, 0)).into_iter().eq(31..101));
        assert_eq!((deferred.pop().is_some(), deferred.pop().is_some()), (true, true));
        assert!(deferred.pop().is_none());
        assert_eq!((deferred.chunks().len(), deferred.bytes()), (0, 0));
        defer(&mut deferred, 101..165, |_, _| true);
        assert_eq!((deferred.chunks().len(), deferred.masks(0, 0)[0]), (1, u64::MAX));
    }

    #[test]
    fn what_is_before_an_event_and_the_first_that_is_wanted_are_told_by_places() {
        let mut deferred = Deferred::default();
        deferred.reach(1);
        let room = (CHUNK * CHUNKS) as u64;
        defer(&mut deferred, 1..room + 1, |seq, row| row == 1 && seq > 70 || row == 0);
        deferred.pop().expect("the oldest");
        let first = deferred.first(&deferred.masks(1, 0)).expect("most are wanted");
        assert_eq!((first, deferred.first(&[0; CHUNKS])), (70, None));
        let before = deferred.before(first + CHUNK);
        assert_eq!(before[..3], [u64::MAX, (1 << 6) - 1, 0]);
        assert!((0..=CHUNK).all(|end| deferred.before(end) == [0; CHUNKS]));
    }

    #[test]
    fn those_behind_which_others_come_are_all_but_the_newest() {
        let mut deferred = Deferred::default();
        deferred.reach(1);
        defer(&mut deferred, 1..65, |_, _| true);
        let chunk = &deferred.chunks()[0];
        let seqs = |wanted, priority, others| {
            let with_others = chunk.with_others(wanted, priority, others);
            let places = (0..CHUNK).filter(move |place| with_others & 1 << place != 0);
            places.map(|place| chunk.events[place].0.event.seq).collect::<Vec<_>>()
        };
        let (low, normal) = (Priority::Low, Priority::Normal);
        assert_eq!(seqs(u64::MAX, normal, 40), [1, 2, 4], "43 are normal");
        assert_eq!(seqs(u64::MAX, low, 60), [3], "others are normal, too");
        assert_eq!((seqs(u64::MAX, low, 64), seqs(u64::MAX, low, 61)), (vec![], vec![3]));
        assert_eq!((seqs(0b111, low, 0), seqs(0b111, low, 1)), (vec![3], vec![]));
        assert_eq!(seqs(0, low, 0), Vec::<u64>::new());
    }

    #[test]
    fn a_chunk_counts_by_priority_and_tells_the_first_and_the_last() {
        let mut deferred = Deferred::default();
        deferred.reach(1);
        defer(&mut deferred, 1..65, |_, _| true);
        let chunk = &deferred.chunks()[0];
        let (low, normal) = (Priority::Low.index(), Priority::Normal.index());
        assert_eq!((chunk.counts(u64::MAX)[low], chunk.counts(u64::MAX)[normal]), (21, 43));
        assert_eq!((chunk.counts(0b111)[low], chunk.counts(0b111)[normal]), (1, 2));
        assert_eq!(chunk.range(chunk.priorities[low]), Some((3, 63)));
        assert_eq!((chunk.range(0b110), chunk.range(0)), (Some((2, 3)), None));
    }
}

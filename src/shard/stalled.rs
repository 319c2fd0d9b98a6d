//! Clients that take nothing: what an event means for their backlogs is settled after the others
//! were sent theirs, so that ten thousand that do not read cost those that do no time.

use std::hint::black_box;
use std::sync::Arc;

use crate::base::clock::Instant;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::{FrameId, Lane};
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// So many connections' memory is asked for before that of the first is waited for.
const WARMED_AT_ONCE: usize = 32;

/// An event's frame in each encoding that was needed so far, with a reference, and its size.
pub(super) type Stored = [Option<(FrameId, usize)>; Encoding::ALL.len()];

/// Who is stalled, and this turn's events for them.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    /// A bit for each slot: dense, as every delivery asks.
    bits: Vec<u64>,
    deferred: Vec<u32>,
    events: Vec<Deferred>,
}

#[derive(Debug)]
struct Deferred {
    event: Arc<Encoded>,
    stored: Stored,
    /// Of the deferred slots, those up to here, from where those of the event before end.
    end: usize,
}

impl Stalled {
    /// Its send has been with the kernel for longer than a turn.
    pub fn mark(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
    }

    /// The kernel took something, or the connection is more than a backlog from now on.
    pub fn clear(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if let Some(word) = self.bits.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Keeps the event that is being delivered for later, if the connection is stalled.
    pub fn defer(&mut self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        let is_stalled = self.bits.get(word).is_some_and(|word| word & bit != 0);
        if is_stalled {
            self.deferred.push(slot);
        }
        is_stalled
    }

    /// Keeps the event itself, for whom it was deferred; otherwise gives back what was stored.
    pub fn keep(&mut self, event: &Arc<Encoded>, stored: Stored) -> Option<Stored> {
        let (start, end) = (self.events.last().map_or(0, |last| last.end), self.deferred.len());
        if start == end {
            return Some(stored);
        }
        self.events.push(Deferred { event: Arc::clone(event), stored, end });
        None
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Queues what was deferred. Of those connections nothing has become of the send meanwhile:
    /// the turn's completions came before, and the flush leaves them alone.
    pub(super) fn queue_deferred(&mut self, now: Instant) {
        if self.stalled.events.is_empty() {
            return;
        }
        // What the others are sent must not wait for this.
        self.driver.submit();
        let mut events = std::mem::take(&mut self.stalled.events);
        let mut slots = std::mem::take(&mut self.stalled.deferred);
        let mut start = 0;
        for Deferred { event, mut stored, end } in events.drain(..) {
            let lane = Lane::from(event.event.priority);
            for some in slots[start..end].chunks(WARMED_AT_ONCE) {
                let warm = |slot: &u32| Some(self.connections.at(*slot)?.1.backlog.warm(lane));
                black_box(some.iter().filter_map(warm).fold(0, usize::wrapping_add));
                self.queue_event_at(some, &event, &mut stored, now);
            }
            self.release_stored(stored);
            start = end;
        }
        slots.clear();
        self.stalled.events = events;
        self.stalled.deferred = slots;
    }
}

fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_deferred_from_its_mark_until_it_is_cleared() {
        let mut stalled = Stalled::default();
        assert!(!stalled.defer(200));
        stalled.mark(200);
        assert!(stalled.defer(200) && !stalled.defer(199) && !stalled.defer(201));
        stalled.clear(200);
        stalled.clear(100_000);
        assert!(!stalled.defer(200));
        assert_eq!(stalled.deferred, [200]);
    }
}

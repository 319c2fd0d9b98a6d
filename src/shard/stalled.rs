//! Clients that take nothing. Of an event only a bit is kept for each of them at first; what it
//! means for their backlogs is settled later, for many events at once and for a part of the clients
//! at a time, so that ten thousand that do not read cost those that do no time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::dense;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::{FrameId, Lane, Pushed};
use crate::shard::connection::Ending;
use crate::shard::deliver::store_event;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// Events that are not settled for everyone: a bit of a slot's mask for each.
const WINDOW: usize = u64::BITS as usize;
/// With each event one part in so many is settled. Fewer than the window has room for, so that a
/// turn may bring several events.
const PARTS: usize = 48;
/// Slots that lie together belong to one part: their masks share a cache line.
const BLOCK: usize = 8;
/// When no more events come, all is settled after so long.
const QUIET: Duration = Duration::from_millis(100);

/// An event's frame in each encoding that was needed so far, with a reference, and its size.
pub(super) type Stored = [Option<(FrameId, usize)>; Encoding::ALL.len()];

/// Who is stalled, and the events that are not settled for them.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    /// A bit for each slot: dense, as every delivery asks.
    bits: Vec<u64>,
    /// By slot: a bit for each event of the window that it wants and that is not settled.
    unsettled: Vec<u64>,
    window: VecDeque<Deferred>,
    /// Events that were deferred so far, and wrapping, so that the last is bit `count - 1` modulo
    /// the window.
    count: usize,
    /// The event that is being delivered was deferred for some.
    is_wanted: bool,
    /// Parts that the events so far are to settle and did not yet.
    due: usize,
    /// Parts that were settled so far, wrapping.
    settled: usize,
    /// When everything is due though no event comes.
    quiet_at: Instant,
}

#[derive(Debug)]
struct Deferred {
    event: Arc<Encoded>,
    stored: Stored,
    /// What `settled` was when it came.
    since: usize,
}

impl Stalled {
    /// Its send has been with the kernel for longer than a turn.
    pub fn mark(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        dense::reach(&mut self.bits, word, || 0);
        dense::reach(&mut self.unsettled, slot as usize, || 0);
        self.bits[word] |= bit;
    }

    /// The kernel took something, or the connection is more than a backlog from now on.
    pub fn clear(&mut self, slot: u32) {
        debug_assert_eq!(self.unsettled.get(slot as usize).copied().unwrap_or(0), 0);
        let (word, bit) = place(slot);
        if let Some(word) = self.bits.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Keeps the event that is being delivered for later, if the connection is stalled. There is
    /// room for it.
    pub fn defer(&mut self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        let is_stalled = self.bits.get(word).is_some_and(|word| word & bit != 0);
        if is_stalled {
            self.unsettled[slot as usize] |= 1 << (self.count % WINDOW);
            self.is_wanted = true;
        }
        is_stalled
    }

    /// Keeps the event itself, for whom it was deferred; otherwise gives back what was stored.
    pub fn keep(&mut self, event: &Arc<Encoded>, stored: Stored, now: Instant) -> Option<Stored> {
        if !std::mem::take(&mut self.is_wanted) {
            return Some(stored);
        }
        let event = Arc::clone(event);
        self.window.push_back(Deferred { event, stored, since: self.settled });
        self.count = self.count.wrapping_add(1);
        self.due += 1;
        self.quiet_at = now + QUIET;
        None
    }

    /// Parts are due at once.
    pub fn is_due(&self) -> bool {
        self.due > 0
    }

    pub fn has_room(&self) -> bool {
        self.window.len() < WINDOW
    }

    /// When there is something to settle though no event comes.
    pub fn next(&self) -> Option<Instant> {
        (!self.window.is_empty()).then_some(self.quiet_at)
    }

    /// References of frames that are held for what is not settled.
    pub fn references(&self) -> usize {
        self.window.iter().flat_map(|deferred| &deferred.stored).flatten().count()
    }

    /// Takes what is not settled for a slot: a bit for each event of the window, the oldest first.
    fn take(&mut self, slot: u32) -> u64 {
        let Some(unsettled) = self.unsettled.get_mut(slot as usize) else { return 0 };
        let oldest = self.count.wrapping_sub(self.window.len());
        std::mem::take(unsettled).rotate_right((oldest % WINDOW) as u32)
    }

    /// Slots of the part whose turn it is.
    fn part(&self) -> impl Iterator<Item = u32> + use<> {
        let slots = self.unsettled.len();
        let starts = (self.settled % PARTS * BLOCK..slots).step_by(PARTS * BLOCK);
        starts.flat_map(move |start| start as u32..slots.min(start + BLOCK) as u32)
    }

    /// Takes an event that every part has been settled since.
    fn pop_settled(&mut self) -> Option<Deferred> {
        let oldest = self.window.front()?;
        let is_settled = self.settled.wrapping_sub(oldest.since) >= PARTS;
        if is_settled { self.window.pop_front() } else { None }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Makes room for one more event.
    pub(super) fn make_room_for_stalled(&mut self, now: Instant) {
        while !self.stalled.has_room() {
            self.settle_part(now);
        }
    }

    /// Settles a part, if events make that due, or the time that has gone by without any. Of these
    /// connections nothing has become of the send meanwhile: the turn's completions came before,
    /// and the flush leaves them alone.
    pub(super) fn settle_due(&mut self, now: Instant) {
        if self.stalled.due == 0 && self.stalled.next().is_some_and(|at| at <= now) {
            self.stalled.due = PARTS;
        }
        if self.stalled.due > 0 {
            // What the others are sent must not wait for this.
            self.driver.submit();
            // Parts without anybody take no turn.
            while self.settle_part(now) == 0 && self.stalled.due > 0 {}
        }
    }

    /// Settles everything.
    pub(super) fn settle_all(&mut self, now: Instant) {
        while !self.stalled.window.is_empty() {
            self.settle_part(now);
        }
    }

    /// Brings the backlog of a connection up to the events that were delivered; false when it is
    /// already. Goes before everything else that happens to it.
    pub(super) fn settle(&mut self, slot: u32, now: Instant) -> bool {
        let mut wanted = self.stalled.take(slot);
        if wanted == 0 {
            return false;
        }
        let mut window = std::mem::take(&mut self.stalled.window);
        while wanted != 0 {
            wanted = self.push_stalled(slot, &mut window, wanted);
            if wanted != 0 {
                let Deferred { event, stored, .. } = &mut window[wanted.trailing_zeros() as usize];
                self.queue_event_at(&[slot], event, stored, now);
                wanted &= wanted - 1;
            }
        }
        self.stalled.window = window;
        true
    }

    /// Pushes events into the outbox of a connection that has one, as long as there is no more to
    /// it; gives what is left.
    fn push_stalled(&mut self, slot: u32, window: &mut VecDeque<Deferred>, mut wanted: u64) -> u64 {
        let Self { connections, arena, shed, settings, handler, .. } = self;
        let Some((key, connection)) = connections.at_mut(slot) else { return wanted };
        let is_plain = connection.ending == Ending::No
            && connection.session.is_open()
            && !connection.is_behind
            && !connection.has_options;
        let Some(outbox) = connection.backlog.outbox_mut().filter(|_| is_plain) else {
            return wanted;
        };
        let (encoding, kept) = (handler.encoding(slot), handler.kept(slot));
        let before = outbox.bytes();
        while wanted != 0 {
            let Deferred { event, stored, .. } = &mut window[wanted.trailing_zeros() as usize];
            let (id, bytes) = *stored[encoding.index()]
                .get_or_insert_with(|| store_event(arena, event, encoding));
            let lane = Lane::from(event.event.priority);
            match outbox.push_shedding(lane, id, bytes, settings.outbox, kept, shed) {
                Pushed::Queued => arena.retain(id),
                Pushed::Shed => {
                    arena.retain(id);
                    shed.push((lane, id));
                }
                Pushed::Replaced(_) | Pushed::Full => break,
            }
            wanted &= wanted - 1;
        }
        let after = outbox.bytes();
        self.links.stats.outbox_bytes.add(after as u64);
        self.links.stats.outbox_bytes.sub(before as u64);
        self.account_shed(key);
        wanted
    }

    /// Settles the part whose turn it is; gives for how many connections that was something.
    fn settle_part(&mut self, now: Instant) -> usize {
        let settled = self.stalled.part().filter(|&slot| self.settle(slot, now)).count();
        self.stalled.settled = self.stalled.settled.wrapping_add(1);
        self.stalled.due = self.stalled.due.saturating_sub(1);
        while let Some(Deferred { stored, .. }) = self.stalled.pop_settled() {
            self.release_stored(stored);
        }
        settled
    }
}

fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_slot_is_deferred_from_its_mark_until_it_is_cleared() {
        let mut stalled = Stalled::default();
        assert!(!stalled.defer(200));
        stalled.mark(200);
        assert!(stalled.defer(200) && !stalled.defer(199) && !stalled.defer(201));
        assert_eq!((stalled.take(200), stalled.take(200)), (1, 0));
        stalled.clear(200);
        stalled.clear(100_000);
        assert!(!stalled.defer(200));
    }

    #[test]
    fn the_parts_together_are_all_slots_also_while_there_are_more_of_them() {
        let mut stalled = Stalled::default();
        let mut seen = BTreeSet::new();
        for count in 0..PARTS {
            stalled.mark(5_000 + count as u32);
            for slot in stalled.part().filter(|slot| *slot <= 5_000) {
                assert!(seen.insert(slot));
            }
            stalled.settled += 1;
        }
        assert!(seen.into_iter().eq(0..=5_000));
    }
}

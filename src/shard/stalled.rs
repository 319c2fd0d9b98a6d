//! Clients that take nothing. Of an event only a bit is kept at first, for all together that want
//! the same events; what it means for their backlogs is settled later, for many events at once and
//! for a part of the clients at a time, so that ten thousand that do not read cost those that do no
//! time.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::dense;
use crate::io::Driver;
use crate::protocol::encoded::Encoded;
use crate::queue::{Lane, Limits, Pushed};
use crate::shard::connection::{Connection, Ending};
use crate::shard::deferred::{CHUNK, CHUNKS, Chunk, Deferred, Masks, Stored};
use crate::shard::deliver::store_event;
use crate::shard::handler::Handler;
use crate::shard::lost::{Newer, Policy};
use crate::shard::rows::Rows;
use crate::shard::turn::Shard;

/// With each event one part of the clients is settled, of so many for each chunk. Fewer than it has
/// events, so that a turn may bring several.
const PARTS: usize = 48;
const _: () = assert!(PARTS <= CHUNK);
/// A round is of so many chunks as come to one in so many of the newer ones: each of the clients is
/// touched but once for all of their events.
const ROUND_SHARE: usize = 4;
/// Beside the newer chunks there is room for one that is being filled, for those of a round, and for
/// as many while it goes on.
const NEWER_MAX: usize = (CHUNKS - 1) * ROUND_SHARE / (ROUND_SHARE + 2);
const _: () = assert!(NEWER_MAX + 1 + 2 * (NEWER_MAX / ROUND_SHARE) <= CHUNKS);
/// Seats that stand together belong to one part: they share cache lines.
const BLOCK: usize = 8;
/// What was lost is counted after so long at the latest, while events come.
const LATE_MAX: Duration = Duration::from_secs(15);
/// When no more events come, what is lost is counted after so long.
const QUIET: Duration = Duration::from_millis(100);
/// Events settled in a turn then, and those that looking at the clients costs as much as.
const SWEEP_STEPS: u32 = 4_096;
const STEPS_OF_A_LOOK: u32 = 4;
/// Tables for so many are kept when nobody is stalled any more.
const KEPT_SEATS: usize = 1_024;

/// Who is stalled, and the events that are not settled for them.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    /// A bit for each slot: dense, as every delivery asks.
    bits: Vec<u64>,
    /// By slot, the seat of who is stalled.
    seats: Vec<u32>,
    /// By seat, who has it.
    taken: Vec<Seat>,
    free: Vec<u32>,
    rows: Rows,
    deferred: Deferred,
    /// Parts that the events so far are to settle and did not yet.
    due: usize,
    /// Chunks that are being settled, the oldest ones; none between two rounds.
    round: usize,
    /// Parts for which they are.
    settled: usize,
    /// When it is quiet, if no event comes.
    quiet_at: Instant,
    /// What is lost is being counted, since it is quiet.
    sweep: Option<Sweep>,
    /// Since then no event was deferred.
    is_swept: bool,
    /// When all that was lost by then had been counted.
    swept_at: Instant,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    /// What the seats before this one lost is counted.
    seat: u32,
    /// None of them wants an event before this one that is not settled.
    wanted_from: usize,
}

/// What is known of who is stalled.
#[derive(Clone, Copy, Debug)]
struct Seat {
    /// [`NOBODY`] where it is free.
    slot: u32,
    /// Tells what it wants.
    row: u32,
    /// The first deferred event that is not settled for it.
    from: usize,
}

impl Seat {
    fn settle_to(&mut self, end: usize) {
        self.from = self.from.max(end);
    }
}

const NOBODY: u32 = u32::MAX;
/// Nothing will ever be left to be settled for it.
const FREE: Seat = Seat { slot: NOBODY, row: 0, from: usize::MAX };

impl Stalled {
    /// Its send has been with the kernel for longer than a turn. It has got what is being delivered;
    /// what comes is deferred for it, together with the group in which `park` puts it, if any.
    pub fn mark(&mut self, slot: u32, park: impl FnOnce() -> Option<u32>) {
        if self.is_marked(slot) {
            return;
        }
        let (word, bit) = place(slot);
        dense::reach(&mut self.bits, word, || 0);
        self.bits[word] |= bit;
        let seat = self.free.pop().unwrap_or(self.taken.len() as u32);
        dense::reach(&mut self.taken, seat as usize, || FREE);
        dense::reach(&mut self.seats, slot as usize, || NOBODY);
        let row = self.rows.take(park());
        self.deferred.reach(row);
        self.taken[seat as usize] = Seat { slot, row, from: self.deferred.end_with_wanted() };
        self.seats[slot as usize] = seat;
    }

    /// The kernel took something, or the connection is more than a backlog from now on; whether it
    /// was stalled.
    pub fn clear(&mut self, slot: u32) -> bool {
        let Some(seat) = self.seat(slot) else { return false };
        debug_assert_eq!(self.masks(seat), Masks::default());
        let (word, bit) = place(slot);
        self.bits[word] &= !bit;
        self.rows.leave(self.taken[seat as usize].row);
        self.taken[seat as usize] = FREE;
        self.free.push(seat);
        // What is deferred is for nobody, if none is left.
        self.is_swept &= self.free.len() < self.taken.len();
        true
    }

    pub fn is_marked(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Keeps the event that is being delivered for later, if the connection is stalled, and without
    /// a group. There is room for it.
    pub fn defer(&mut self, slot: u32) -> bool {
        let Some(seat) = self.seat(slot) else { return false };
        let row = self.taken[seat as usize].row;
        debug_assert!(self.rows.is_own(row));
        self.deferred.want(row);
        true
    }

    /// Keeps it for all of a group that are stalled.
    pub fn defer_group(&mut self, group: u32) {
        let row = self.rows.of_group(group);
        debug_assert!(row.is_some());
        row.into_iter().for_each(|row| self.deferred.want(row));
    }

    /// Keeps the event itself, for whom it was deferred; otherwise gives back what was stored.
    pub fn keep(
        &mut self,
        event: &Arc<Encoded>,
        stored: Stored,
        limits: Limits,
        now: Instant,
    ) -> Option<Stored> {
        let given_back = self.deferred.keep(event, stored, now);
        if given_back.is_none() {
            if self.round == 0 {
                self.round = self.next_round(limits, now);
            }
            self.due += usize::from(self.round > 0);
            self.quiet_at = now + QUIET;
            (self.sweep, self.is_swept) = (None, false);
        }
        given_back
    }

    /// There is something to settle at once.
    pub fn is_due(&self) -> bool {
        self.due > 0 || self.sweep.is_some()
    }

    /// When there is something to settle though no event comes.
    pub fn next(&self) -> Option<Instant> {
        let is_unswept = !self.is_swept && !self.deferred.chunks().is_empty();
        is_unswept.then_some(self.quiet_at)
    }

    /// Size of the events that are kept.
    pub fn bytes(&self) -> usize {
        self.deferred.bytes()
    }

    /// References of frames that are held for what is not settled.
    pub fn references(&self) -> usize {
        let events = self.deferred.chunks().iter().flat_map(|chunk| &chunk.events);
        events.flat_map(|(_, stored)| stored).flatten().count()
    }

    fn seat(&self, slot: u32) -> Option<u32> {
        self.is_marked(slot).then(|| self.seats[slot as usize])
    }

    /// What is not settled for a seat.
    fn masks(&self, seat: u32) -> Masks {
        let Seat { row, from, .. } = self.taken[seat as usize];
        self.deferred.masks(row, from)
    }

    /// So many chunks, the oldest ones, are settled for all.
    fn are_settled(&self, chunks: usize) -> bool {
        let mut seats = 0..self.taken.len() as u32;
        seats.all(|seat| self.masks(seat)[..chunks].iter().all(|mask| *mask == 0))
    }

    /// How many chunks are to be settled now: those beyond as many events as may wait for one
    /// connection, so that who wants them all loses the oldest whole.
    fn next_round(&self, limits: Limits, now: Instant) -> usize {
        let newer = limits.messages_max.div_ceil(CHUNK).clamp(1, NEWER_MAX);
        let round = (newer / ROUND_SHARE).max(1);
        let chunks = self.deferred.chunks();
        let is_late = chunks
            .front()
            .is_some_and(|chunk| now.since(chunk.since.max(self.swept_at)) >= LATE_MAX);
        if chunks.len() > newer + round {
            round
        } else if is_late || self.deferred.bytes() > limits.bytes_max {
            round.min(chunks.len() - 1)
        } else {
            0
        }
    }

    /// Parts of this round.
    fn parts(&self) -> usize {
        self.round * PARTS
    }

    /// Seats of the part whose turn it is.
    fn part(&self) -> impl Iterator<Item = u32> + use<> {
        let seats = self.taken.len();
        let starts = (self.settled * BLOCK..seats).step_by(self.parts() * BLOCK);
        starts.flat_map(move |start| start as u32..seats.min(start + BLOCK) as u32)
    }

    fn end_round(&mut self) {
        (self.round, self.settled, self.due) = (0, 0, 0);
    }

    /// Gives the memory of very many back, where none is left and nothing of theirs.
    fn shrink_if_empty(&mut self) {
        let is_large = self.taken.len() > KEPT_SEATS;
        if is_large && self.free.len() == self.taken.len() && self.deferred.chunks().is_empty() {
            *self = Self::default();
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// What comes is queued for a connection. Nothing is left to be settled for it.
    pub(super) fn clear_stalled(&mut self, slot: u32) {
        if self.stalled.clear(slot) {
            self.handler.unpark(slot);
        }
    }

    /// Makes room for one more event.
    pub(super) fn make_room_for_stalled(&mut self, now: Instant) {
        while !self.stalled.deferred.has_room() {
            debug_assert!(self.stalled.round > 0);
            self.settle_part(now);
        }
    }

    /// Settles a part, if events make that due, or some of what is lost, if none has come for a
    /// while. Of these connections nothing has become of the send meanwhile: the turn's completions
    /// came before, and the flush leaves them alone.
    pub(super) fn settle_due(&mut self, now: Instant) {
        self.stalled.shrink_if_empty();
        if self.stalled.next().is_some_and(|at| at <= now) {
            self.stalled.sweep.get_or_insert(Sweep { seat: 0, wanted_from: usize::MAX });
        }
        if self.stalled.is_due() {
            // What the others are sent must not wait for this.
            self.driver.submit();
        }
        if let Some(sweep) = self.stalled.sweep {
            return self.sweep(sweep, now);
        }
        // Parts without anybody take no turn.
        while self.stalled.due > 0 && self.settle_part(now) == 0 {}
    }

    /// Settles everything.
    pub(super) fn settle_all(&mut self, now: Instant) {
        for seat in 0..self.stalled.taken.len() {
            self.settle_to(seat as u32, self.stalled.deferred.end(), now);
        }
        debug_assert!(self.stalled.are_settled(CHUNKS));
        self.end_sweep(usize::MAX, now);
    }

    /// Brings the backlog of a connection up to the events that were delivered; gives how many that
    /// was. Goes before everything else that happens to it.
    pub(super) fn settle(&mut self, slot: u32, now: Instant) -> usize {
        let Some(seat) = self.stalled.seat(slot) else { return 0 };
        self.settle_to(seat, self.stalled.deferred.end(), now) as usize
    }

    /// Counts what was lost for a turn's worth of seats. What will still be there stays deferred: the
    /// next flood would have it shed again, one by one.
    fn sweep(&mut self, Sweep { mut seat, mut wanted_from }: Sweep, now: Instant) {
        let mut steps = 0;
        while (seat as usize) < self.stalled.taken.len() {
            if steps >= SWEEP_STEPS {
                self.stalled.sweep = Some(Sweep { seat, wanted_from });
                return;
            }
            steps += STEPS_OF_A_LOOK + self.settle_lost(seat, now);
            let first = self.stalled.deferred.first(&self.stalled.masks(seat));
            wanted_from = first.map_or(wanted_from, |first| first.min(wanted_from));
            seat += 1;
        }
        self.end_sweep(wanted_from, now);
    }

    /// Nobody wants any of what was deferred before this event any more.
    fn end_sweep(&mut self, wanted_from: usize, now: Instant) {
        while self.stalled.deferred.end_of_oldest(1) <= wanted_from
            && let Some(chunk) = self.stalled.deferred.pop()
        {
            self.release_chunk(chunk);
        }
        self.stalled.end_round();
        (self.stalled.sweep, self.stalled.is_swept, self.stalled.swept_at) = (None, true, now);
    }

    fn release_chunk(&mut self, chunk: Chunk) {
        chunk.events.into_iter().for_each(|(_, stored)| self.release_stored(stored));
    }

    /// Settles what is lost for a seat, and what is older than that; gives how many events that was.
    fn settle_lost(&mut self, seat: u32, now: Instant) -> u32 {
        let (masks, deferred) = (self.stalled.masks(seat), &self.stalled.deferred);
        if masks == Masks::default() {
            return 0;
        }
        let Seat { slot, .. } = self.stalled.taken[seat as usize];
        let (policy, newer) = (self.policy(slot), Newer::of(&masks, deferred.chunks()));
        let plain = self.connections.at(slot).filter(|(_, connection)| is_plain(connection));
        let lost = plain.and_then(|(_, connection)| {
            policy.end_of_lost(&connection.backlog, deferred.chunks(), &masks)
        });
        // The older ones would be settled by the next round.
        let older = deferred.end_of_oldest(deferred.chunks().len().saturating_sub(NEWER_MAX));
        let lost = lost.map(|lost| (deferred.end_of_oldest(0) + lost).max(older));
        let end = lost.unwrap_or(deferred.end());
        self.shed_excess(slot, policy, &newer);
        self.settle_to(seat, end, now)
    }

    /// Settles what was taken away from a seat.
    fn settle_masks(&mut self, slot: u32, masks: Masks, now: Instant) {
        let mut chunks = self.stalled.deferred.take_chunks();
        let mut newer = Newer::of(&masks, &chunks);
        let policy = self.policy(slot);
        self.shed_excess(slot, policy, &newer);
        for (chunk, mut wanted) in chunks.iter_mut().zip(masks) {
            newer.pass(chunk, wanted);
            while wanted != 0 {
                wanted = self.push_stalled(slot, (chunk, wanted), &newer, policy);
                if wanted != 0 {
                    let (event, stored) = &mut chunk.events[wanted.trailing_zeros() as usize];
                    self.queue_event_at(&[slot], event, stored, now);
                    wanted &= wanted - 1;
                }
            }
        }
        self.stalled.deferred.put_back(chunks);
    }

    /// Settles the oldest chunks for the part whose turn it is; gives for how many connections that
    /// was something.
    fn settle_part(&mut self, now: Instant) -> usize {
        let end = self.stalled.deferred.end_of_oldest(self.stalled.round);
        let settled =
            self.stalled.part().filter(|&seat| self.settle_to(seat, end, now) > 0).count();
        self.stalled.settled += 1;
        self.stalled.due = self.stalled.due.saturating_sub(1);
        if self.stalled.settled == self.stalled.parts() {
            debug_assert!(self.stalled.are_settled(self.stalled.round));
            for _ in 0..self.stalled.round {
                let oldest = self.stalled.deferred.pop();
                oldest.into_iter().for_each(|chunk| self.release_chunk(chunk));
            }
            self.stalled.end_round();
        }
        settled
    }

    /// Settles the events before one for a seat; gives how many that was.
    fn settle_to(&mut self, seat: u32, end: usize, now: Instant) -> u32 {
        let (all, before) = (self.stalled.masks(seat), self.stalled.deferred.before(end));
        let events =
            all.iter().zip(before).map(|(mask, before)| (mask & before).count_ones()).sum();
        if events == 0 {
            return 0;
        }
        let slot = self.stalled.taken[seat as usize].slot;
        let mut chunks = self.stalled.deferred.take_chunks();
        let (mut masks, mut newer) = (all, Newer::of(&all, &chunks));
        let policy = self.policy(slot);
        self.shed_excess(slot, policy, &newer);
        let mut is_plain = true;
        for (at, chunk) in chunks.iter_mut().enumerate() {
            let wanted = masks[at] & before[at];
            if wanted != 0 && is_plain {
                newer.pass(chunk, wanted);
                let left = self.push_stalled(slot, (chunk, wanted), &newer, policy);
                masks[at] = masks[at] & !before[at] | left;
                is_plain = left == 0;
            }
        }
        self.stalled.deferred.put_back(chunks);
        if is_plain {
            self.stalled.taken[seat as usize].settle_to(end);
        } else {
            // There is more to it than pushing: that is not for a part of what it wants.
            let all = self.stalled.deferred.end();
            self.stalled.taken[seat as usize].settle_to(all);
            self.settle_masks(slot, masks, now);
        }
        events
    }

    fn policy(&self, slot: u32) -> Policy {
        let limits = self.settings.outbox;
        let backlog = self.connections.at(slot).map_or(0, |(_, it)| it.backlog.bytes());
        let counts_decide = limits.leave_room_for_bytes(backlog + self.stalled.bytes());
        Policy { limits, kept: self.handler.kept(slot), counts_decide }
    }

    /// Sheds what waits for a connection and is lost for what is deferred.
    fn shed_excess(&mut self, slot: u32, policy: Policy, newer: &Newer) {
        let Self { connections, shed, links, .. } = self;
        let Some((key, connection)) = connections.at_mut(slot) else { return };
        if !is_plain(connection) {
            return;
        }
        for priority in policy.sheddable() {
            let excess = policy.excess(&connection.backlog, priority, newer);
            if excess > 0 {
                let outbox = connection.backlog.to_outbox(|| self.pools.outbox());
                let before = outbox.bytes();
                outbox.shed_oldest(priority, excess, shed);
                links.stats.outbox_bytes.sub((before - outbox.bytes()) as u64);
            }
        }
        self.account_shed(key);
    }

    /// Pushes events into the outbox of a connection that has one, as long as there is no more to
    /// it; gives what is left.
    fn push_stalled(
        &mut self,
        slot: u32,
        (chunk, mut wanted): (&mut Chunk, u64),
        newer: &Newer,
        policy: Policy,
    ) -> u64 {
        if wanted == 0 {
            return wanted;
        }
        let Self { connections, arena, pools, shed, handler, links, .. } = self;
        let Some((key, connection)) = connections.at_mut(slot) else { return wanted };
        if !is_plain(connection) {
            return wanted;
        }
        for priority in policy.sheddable() {
            let lost = policy.lost(&connection.backlog, priority, newer, (chunk, wanted));
            if let Some(range) = chunk.range(lost) {
                let outbox = connection.backlog.to_outbox(|| pools.outbox());
                let count = lost.count_ones().into();
                outbox.loss.add_all(range, priority, count);
                links.stats.events_shed[priority.index()].add(count);
                wanted &= !lost;
            }
        }
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        let (encoding, before) = (handler.encoding(slot), outbox.bytes());
        while wanted != 0 {
            let (event, stored) = &mut chunk.events[wanted.trailing_zeros() as usize];
            let (id, bytes) = *stored[encoding.index()]
                .get_or_insert_with(|| store_event(arena, event, encoding));
            let lane = Lane::from(event.event.priority);
            match outbox.push_shedding(lane, id, bytes, policy.limits, policy.kept, shed) {
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
        links.stats.outbox_bytes.add(after as u64);
        links.stats.outbox_bytes.sub(before as u64);
        self.account_shed(key);
        wanted
    }
}

/// Nothing but a backlog.
fn is_plain(connection: &Connection) -> bool {
    connection.ending == Ending::No
        && connection.session.is_open()
        && !connection.is_behind
        && !connection.has_options
}

fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_slot_has_a_seat_from_its_mark_until_it_is_cleared() {
        let mut stalled = Stalled::default();
        assert!(!stalled.defer(200));
        stalled.mark(200, || None);
        stalled.mark(200, || panic!("it is stalled already"));
        assert_eq!(
            (stalled.seat(199), stalled.seat(200), stalled.seat(201)),
            (None, Some(0), None)
        );
        assert_eq!(stalled.taken.len(), 1, "marked again, it is where it was");
        assert!(stalled.defer(200));
        let mut stalled = Stalled::default();
        stalled.mark(200, || Some(0));
        assert_eq!(
            (stalled.clear(200), stalled.clear(200), stalled.clear(100_000)),
            (true, false, false)
        );
        assert!(!stalled.defer(200));
        stalled.mark(7, || None);
        assert_eq!((stalled.seat(7), stalled.seat(200)), (Some(0), None));
    }

    #[test]
    fn the_memory_of_very_many_is_given_back_when_none_is_left() {
        let mut stalled = Stalled::default();
        (0..2_000).for_each(|slot| stalled.mark(slot, || None));
        assert!((1..2_000).all(|slot| stalled.clear(slot)));
        stalled.shrink_if_empty();
        assert_eq!((stalled.taken.len(), stalled.seat(0)), (2_000, Some(0)), "one is left");
        stalled.clear(0);
        stalled.shrink_if_empty();
        assert_eq!((stalled.taken.capacity(), stalled.seats.capacity()), (0, 0));
    }

    #[test]
    fn the_parts_together_are_all_seats_also_while_there_are_more_of_them() {
        let mut stalled = Stalled::default();
        (0..5_000).for_each(|slot| stalled.mark(slot, || None));
        stalled.round = 3;
        let mut seen = BTreeSet::new();
        for part in 0..stalled.parts() {
            stalled.mark(5_000 + part as u32, || None);
            stalled.settled = part;
            for seat in stalled.part().filter(|seat| *seat < 5_000) {
                assert!(seen.insert(seat));
            }
        }
        assert!(seen.into_iter().eq(0..5_000));
    }
}

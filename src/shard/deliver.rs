//! From the inbox to the lanes.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::Event;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::{Arena, EventMark, Frame, FrameId, Lane, Limits, Outbox, Pushed};
use crate::shard::close::SLOW_CONSUMER;
use crate::shard::connection::Ending;
use crate::shard::deferred::Stored;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// Events taken from the inbox that the flush has not got round to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    events: usize,
    bytes: usize,
}

impl Ahead {
    /// What a send carries at most, more or less; and a small part of what may wait for a
    /// connection, so that a burst is not shed for those that would take it.
    fn is_enough(&self, limits: Limits) -> bool {
        const EVENTS_MAX: usize = 48;
        const SHARE: usize = 16;
        self.events >= (limits.messages_max / SHARE).clamp(1, EVENTS_MAX)
            || self.bytes >= limits.bytes_max / SHARE
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes events while this turn's budget lasts, urgent ones first, and no more than the flush
    /// can send together.
    ///
    /// Events that are not urgent wait in the inbox while the flush is behind: then it is this
    /// shard that is slow and not its clients, so that the hub, and in the end the publishers,
    /// should feel it rather than the clients' outboxes. Some are taken all the same: a send costs
    /// the kernel nearly as much for one event as for several.
    pub(super) fn drain_inbox(&mut self, now: Instant) {
        /// Of the budget, what may be delivered after an urgent event before it is sent.
        const URGENT_SHARE: usize = 16;
        if self.dirty.len() <= self.settings.turn_sends_max {
            self.ahead = Ahead::default();
        }
        let limits = self.settings.outbox;
        let mut urgent_ahead = Ahead::default();
        let (mut deliveries, mut budget) = (0, self.settings.turn_deliveries_max);
        while deliveries < budget && !urgent_ahead.is_enough(limits) {
            let inbox = &self.links.inbox;
            let urgent = inbox.pop_urgent();
            let is_urgent = urgent.is_some();
            if is_urgent {
                // It waits for the flush: others get less of this turn, but not nothing.
                let share = (self.settings.turn_deliveries_max / URGENT_SHARE).max(1);
                budget = budget.min(deliveries + share);
            }
            let other = || if self.ahead.is_enough(limits) { None } else { inbox.pop_event() };
            let Some(event) = urgent.or_else(other) else { break };
            // Also an event that nobody wants costs something.
            deliveries += 1 + self.deliver(&event, now);
            let ahead = if is_urgent { &mut urgent_ahead } else { &mut self.ahead };
            ahead.events += 1;
            ahead.bytes += event.encoded_bytes();
        }
        self.note_seen();
        if self.links.inbox.relieve() {
            self.links.hub.wake();
        }
    }

    /// Notes how far events were delivered, if all that came were; whether they were.
    pub(super) fn note_seen(&mut self) -> bool {
        // Read before the inbox is found empty, but not before events are taken from it: of those
        // that come meanwhile and are taken, too, the position must tell.
        self.complete_to = self.links.inbox.complete_to();
        let is_all = !self.links.inbox.has_events();
        if is_all {
            self.seen_to = self.complete_to;
            self.handler.seen(self.complete_to);
        }
        is_all
    }

    /// Queues an event at every connection that wants it; gives their number, without those for whom
    /// it is kept together.
    fn deliver(&mut self, event: &Arc<Encoded>, now: Instant) -> usize {
        self.newest_seq = self.newest_seq.max(event.event.seq);
        self.make_room_for_stalled(now);
        let mut matched = std::mem::take(&mut self.matched);
        matched.clear();
        let Self { handler, stalled, .. } = self;
        handler.matching(event, &mut matched);
        let count = matched.len();
        let mut wanted = count;
        for parked in handler.parked() {
            wanted += parked.subscriptions as usize;
            stalled.defer_group(parked.group);
        }
        let filtered = handler.interested().saturating_sub(wanted);
        self.links.stats.events_filtered.add(filtered as u64);
        let priority = event.event.priority;
        matched.retain(|&slot| !handler.is_overflowing(slot, priority) && !stalled.defer(slot));
        let mut stored = Stored::default();
        self.queue_event_at(&matched, event, &mut stored, now);
        self.matched = matched;
        let given_back = self.stalled.keep(event, stored, self.settings.outbox, now);
        given_back.into_iter().for_each(|stored| self.release_stored(stored));
        count
    }

    /// Queues an event at these slots; stores one frame for each encoding that one of them speaks.
    pub(super) fn queue_event_at(
        &mut self,
        slots: &[u32],
        event: &Encoded,
        stored: &mut Stored,
        now: Instant,
    ) {
        for &slot in slots {
            let encoding = self.handler.encoding(slot);
            let arena = &mut self.arena;
            let (id, bytes) = *stored[encoding.index()]
                .get_or_insert_with(|| store_event(arena, event, encoding));
            self.queue_event(slot, event, id, bytes, now);
        }
    }

    pub(super) fn release_stored(&mut self, stored: Stored) {
        for (id, _) in stored.into_iter().flatten() {
            self.arena.release(id);
        }
    }

    fn queue_event(&mut self, slot: u32, event: &Encoded, id: FrameId, bytes: usize, now: Instant) {
        let Some((key, connection)) = self.connections.at_mut(slot) else { return };
        // One that is about to end gets nothing more: its handler was told that it is closed.
        if connection.ending != Ending::No || !connection.session.is_open() {
            return;
        }
        // What is behind others that were read from the past is read there too.
        let priority = event.event.priority;
        if connection.is_behind && self.handler.is_overflowing(slot, priority) {
            return;
        }
        let is_stalled = connection.is_sending && self.turn.wrapping_sub(connection.send_turn) > 1;
        if is_stalled && !connection.is_behind && !connection.has_options {
            self.stalled.mark(slot, || self.handler.park(slot));
        }
        let (connection, is_batched) = if connection.has_options {
            let Some(prepared) = self.prepare(key, event, bytes, now) else { return };
            let Some(connection) = self.connections.get_mut(key) else { return };
            (connection, prepared.is_batched)
        } else {
            (connection, false)
        };
        let Self { pools, shed, settings, .. } = self;
        let lane = Lane::from(priority);
        if !is_batched && connection.backlog.push_first(lane, id, bytes, settings.outbox) {
            self.arena.retain(id);
            self.links.stats.outbox_bytes.add(bytes as u64);
            return self.mark_dirty(key);
        }
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        let before = outbox.bytes();
        let kept = self.handler.kept(slot);
        let pushed = outbox.push_shedding(lane, id, bytes, settings.outbox, kept, shed);
        let after = outbox.bytes();
        match pushed {
            Pushed::Queued => {
                self.arena.retain(id);
                if is_batched {
                    outbox.mark_batched(lane);
                }
            }
            Pushed::Shed => {
                // As if it had been queued and shed.
                self.arena.retain(id);
                shed.push((lane, id));
            }
            // Of events none takes another's place.
            Pushed::Replaced(_) | Pushed::Full => {}
        }
        self.links.stats.outbox_bytes.add(after as u64);
        self.links.stats.outbox_bytes.sub(before as u64);
        self.account_shed(key);
        match pushed {
            Pushed::Full => self.overflow(key, &event.event, now),
            Pushed::Queued | Pushed::Replaced(_) | Pushed::Shed => self.mark_dirty(key),
        }
    }

    /// An event found no room where nothing may be shed for it.
    fn overflow(&mut self, key: Key, event: &Event, now: Instant) {
        if !self.handler.overflow(key.slot, event.priority, event.seq) {
            return self.close_slow(key, now);
        }
        let Self { connections, pools, .. } = self;
        // An event may be larger than all that may wait.
        let empty = connections.get_mut(key).and_then(|it| it.backlog.take_empty());
        empty.into_iter().for_each(|outbox| pools.put_outbox(outbox));
        self.mark_dirty(key);
        self.mark_behind(key);
    }

    /// Notes what was just shed in the connection's loss record, and releases it.
    pub(super) fn account_shed(&mut self, key: Key) {
        let Self { connections, arena, shed, links, .. } = self;
        let outbox = connections.get_mut(key).and_then(|it| it.backlog.outbox_mut());
        let Some(outbox) = outbox else { return };
        for (_, id) in shed.drain(..) {
            // Only events are in the lanes that are shed, and the last words, which come when
            // nothing is shed any more.
            if let Some(EventMark { seq, priority, .. }) = arena.get(id).event {
                outbox.loss.add(seq, priority);
                links.stats.events_shed[priority.index()].add(1);
            }
            arena.release(id);
        }
    }

    /// Keeps the memory of all backlogs together within its budget: the largest are shed first.
    pub(super) fn keep_within_budget(&mut self, now: Instant) {
        let budget = self.settings.backlog_bytes_max;
        if self.backlog_bytes() <= budget {
            self.irreducible_bytes = 0;
            return;
        }
        // What could not be reduced the last time is with the kernel: looking at every connection
        // in every turn would not change that.
        if self.backlog_bytes() <= self.irreducible_bytes.saturating_add(budget / 64) {
            return;
        }
        self.links.stats.budget_exceeded.add(1);
        // Some room below the budget, so that this does not happen in every turn.
        self.reduce_backlogs(budget / 8 * 7, now);
        self.irreducible_bytes = self.backlog_bytes();
    }

    fn reduce_backlogs(&mut self, enough: usize, now: Instant) {
        self.settle_all(now);
        let mut backlogs: Vec<(usize, Key)> = Vec::new();
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get(key) else { continue };
            // With nothing in flight since before this turn, and nothing held back, it is not the
            // client that is slow.
            let is_stuck = connection.is_sending && connection.send_turn != self.turn;
            let is_slow = is_stuck || connection.is_paused();
            if is_slow && !connection.backlog.is_nothing() {
                backlogs.push((connection.backlog.bytes(), key));
            }
        }
        backlogs.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        for &(_, key) in &backlogs {
            if self.backlog_bytes() <= enough {
                return;
            }
            self.shed_backlog(key, now);
        }
        for &(_, key) in &backlogs {
            if self.backlog_bytes() <= enough {
                return;
            }
            self.close_slow(key, now);
        }
    }

    /// Memory that backlogs take: each frame once, what is gathered for the kernel, and what is not
    /// settled.
    fn backlog_bytes(&self) -> usize {
        self.arena.bytes() + self.pools.gathered_bytes() + self.stalled.bytes()
    }

    fn shed_backlog(&mut self, key: Key, now: Instant) {
        if !self.handler.hears_losses(key.slot) {
            return self.close_slow(key, now);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_ending = connection.ending != Ending::No || !connection.session.is_open();
        if is_ending || connection.backlog.is_nothing() {
            return;
        }
        let pools = &mut self.pools;
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        let before = outbox.bytes();
        outbox.shed_all(self.handler.kept(key.slot), &mut self.shed);
        self.links.stats.outbox_bytes.sub((before - outbox.bytes()) as u64);
        self.account_shed(key);
        // What was shed is to be told even if nothing else is left to send.
        self.mark_dirty(key);
    }

    /// Queues a reply on the control lane, within the limits.
    pub(super) fn queue_reply(&mut self, key: Key, bytes: Bytes, now: Instant) {
        self.queue_answer(key, bytes, now, |outbox, id, bytes, limits| {
            outbox.push(Lane::Control, id, bytes, limits)
        });
    }

    /// As [`Self::queue_reply`], for the answer to a ping. Of those of a peer that goes on pinging
    /// without reading few are kept.
    pub(super) fn queue_pong(&mut self, key: Key, bytes: Bytes, now: Instant) {
        self.queue_answer(key, bytes, now, Outbox::push_pong);
    }

    fn queue_answer(
        &mut self,
        key: Key,
        bytes: Bytes,
        now: Instant,
        push: impl FnOnce(&mut Outbox, FrameId, usize, Limits) -> Pushed,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending != Ending::No || !connection.session.is_open() {
            return;
        }
        let frame_bytes = bytes.len();
        let id = self.arena.insert(Frame { bytes: Rc::new(bytes), event: None });
        let pools = &mut self.pools;
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        match push(outbox, id, frame_bytes, self.settings.outbox) {
            Pushed::Queued => {
                self.links.stats.outbox_bytes.add(frame_bytes as u64);
                self.mark_dirty(key);
            }
            Pushed::Replaced(replaced) => {
                let replaced_bytes = self.arena.get(replaced).bytes.len();
                self.links.stats.outbox_bytes.add(frame_bytes as u64);
                self.links.stats.outbox_bytes.sub(replaced_bytes as u64);
                self.arena.release(replaced);
            }
            Pushed::Shed | Pushed::Full => {
                self.arena.release(id);
                self.close_slow(key, now);
            }
        }
    }

    /// Queues what must fit: answers to a handshake.
    pub(super) fn queue_control(&mut self, key: Key, bytes: Bytes) {
        self.queue_past_limits(key, Lane::Control, bytes);
    }

    /// Queues what must fit, whatever waits already.
    pub(super) fn queue_past_limits(&mut self, key: Key, lane: Lane, bytes: Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let frame_bytes = bytes.len();
        let id = self.arena.insert(Frame { bytes: Rc::new(bytes), event: None });
        let pools = &mut self.pools;
        if !connection.backlog.push_first_past_limits(lane, id, frame_bytes) {
            let outbox = connection.backlog.to_outbox(|| pools.outbox());
            outbox.push_past_limits(lane, id, frame_bytes);
        }
        self.links.stats.outbox_bytes.add(frame_bytes as u64);
        self.mark_dirty(key);
    }

    /// Ends a connection whose backlog is at its limit and may not be shed further.
    pub(super) fn close_slow(&mut self, key: Key, now: Instant) {
        // Of one that is ending already, what waits are the last words.
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending != Ending::No || !connection.session.is_open() {
            return;
        }
        self.links.stats.slow_consumers_closed.add(1);
        let position = self.first_unsent(key).map(|first| first - 1);
        // What waits is given up: it would only stand between the client and the news that
        // it must reconnect.
        self.discard_backlog(key);
        self.close_at(key, SLOW_CONSUMER, position, now);
    }

    /// The first event that was not certainly sent and not told as lost.
    pub(super) fn first_unsent(&self, key: Key) -> Option<u64> {
        let in_flight = self.connections.get(key)?.in_flight.ids().iter();
        let in_flight = in_flight.filter_map(|id| self.arena.get(*id).event.map(|mark| mark.seq));
        self.first_waiting(key).into_iter().chain(in_flight).min()
    }

    /// The first event that is not on its way yet and not told as lost.
    pub(super) fn first_waiting(&self, key: Key) -> Option<u64> {
        let backlog = &self.connections.get(key)?.backlog;
        let queued = backlog.iter().filter_map(|id| self.arena.get(id).event.map(|mark| mark.seq));
        let lost = backlog.outbox().and_then(Outbox::first_lost);
        queued.chain(lost).chain(self.extras.first_lost(key.slot)).min()
    }
}

/// Puts an event's frame into the arena, with a reference of the caller's; gives its size too.
pub(super) fn store_event(
    arena: &mut Arena,
    event: &Encoded,
    encoding: Encoding,
) -> (FrameId, usize) {
    let bytes = event.frame(encoding).clone();
    let frame_bytes = bytes.len();
    let Event { seq, priority, accepted_at, .. } = event.event;
    let mark = EventMark { seq, priority, accepted_at: Some(accepted_at) };
    let frame = Frame { bytes: Rc::new(bytes), event: Some(mark) };
    (arena.insert(frame), frame_bytes)
}

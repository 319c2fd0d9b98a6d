//! From the inbox to the lanes.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::Event;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::{Arena, Frame, FrameId, Lane, Pushed};
use crate::shard::close::SLOW_CONSUMER;
use crate::shard::connection::Ending;
use crate::shard::handler::Handler;
use crate::shard::inbox::Request;
use crate::shard::turn::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes events while this turn's budget lasts, then requests.
    pub(super) fn drain_inbox(&mut self, now: Instant) {
        let mut deliveries = 0;
        while deliveries < self.settings.turn_deliveries_max {
            let Some(event) = self.links.inbox.pop_event() else { break };
            // Also an event that nobody wants costs something.
            deliveries += 1 + self.deliver(&event, now);
        }
        if self.links.inbox.relieve() {
            self.links.hub.wake();
        }
        while let Some(request) = self.links.inbox.pop_request() {
            match request {
                Request::Histograms(answer) => {
                    // The one who asked may be gone.
                    let _ = answer.send(Box::new(self.histograms.clone()));
                }
                Request::Drain { deadline } => self.drain.request(deadline),
            }
        }
        self.start_drain_if_due(now);
    }

    /// Queues an event at every connection that wants it; gives their number.
    fn deliver(&mut self, event: &Arc<Encoded>, now: Instant) -> usize {
        let mut matched = std::mem::take(&mut self.matched);
        matched.clear();
        self.handler.matching(event, &mut matched);
        let filtered = self.handler.interested().saturating_sub(matched.len());
        self.links.stats.events_filtered.add(filtered as u64);
        let lane = Lane::from(event.event.priority);
        // One entry for each encoding that somebody here speaks.
        let mut stored = [None; Encoding::ALL.len()];
        for &slot in &matched {
            let encoding = self.handler.encoding(slot);
            let arena = &mut self.arena;
            let (id, bytes) = *stored[encoding.index()]
                .get_or_insert_with(|| store_event(arena, event, encoding));
            self.queue_event(slot, lane, id, bytes, now);
        }
        for (id, _) in stored.into_iter().flatten() {
            self.arena.release(id);
        }
        let count = matched.len();
        self.matched = matched;
        count
    }

    fn queue_event(&mut self, slot: u32, lane: Lane, id: FrameId, bytes: usize, now: Instant) {
        let Some((key, connection)) = self.connections.at_mut(slot) else { return };
        // One that is about to end gets nothing more: its handler was told that it is closed.
        if connection.ending != Ending::No || !connection.session.is_open() {
            return;
        }
        let spare = &mut self.spare_outboxes;
        let outbox = connection.outbox.get_or_insert_with(|| spare.pop().unwrap_or_default());
        match outbox.push(lane, id, bytes, self.settings.outbox) {
            Pushed::Queued => {
                self.arena.retain(id);
                self.links.stats.outbox_bytes.add(bytes as u64);
                self.mark_dirty(key);
            }
            Pushed::Full => self.close_slow(key, now),
        }
    }

    /// Queues a reply on the control lane, within the limits.
    pub(super) fn queue_reply(&mut self, key: Key, bytes: Bytes, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending != Ending::No || !connection.session.is_open() {
            return;
        }
        let frame_bytes = bytes.len();
        let id = self.arena.insert(Frame { bytes: Rc::new(bytes), event: None });
        let spare = &mut self.spare_outboxes;
        let outbox = connection.outbox.get_or_insert_with(|| spare.pop().unwrap_or_default());
        match outbox.push(Lane::Control, id, frame_bytes, self.settings.outbox) {
            Pushed::Queued => {
                self.links.stats.outbox_bytes.add(frame_bytes as u64);
                self.mark_dirty(key);
            }
            Pushed::Full => {
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
        let spare = &mut self.spare_outboxes;
        let outbox = connection.outbox.get_or_insert_with(|| spare.pop().unwrap_or_default());
        outbox.push_past_limits(lane, id, frame_bytes);
        self.links.stats.outbox_bytes.add(frame_bytes as u64);
        self.mark_dirty(key);
    }

    fn close_slow(&mut self, key: Key, now: Instant) {
        self.links.stats.slow_consumers_closed.add(1);
        // What waits is given up: it would only stand between the client and the news that
        // it must reconnect.
        self.discard_backlog(key);
        self.close(key, SLOW_CONSUMER, now);
    }
}

/// Puts an event's frame into the arena, with a reference of the caller's; gives its size too.
fn store_event(arena: &mut Arena, event: &Encoded, encoding: Encoding) -> (FrameId, usize) {
    let bytes = event.frame(encoding).clone();
    let frame_bytes = bytes.len();
    let Event { priority, accepted_at, .. } = event.event;
    let frame = Frame { bytes: Rc::new(bytes), event: Some((priority, accepted_at)) };
    (arena.insert(frame), frame_bytes)
}

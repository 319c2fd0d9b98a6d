//! From the lanes to the driver: everything that waits for a connection goes out in
//! one send.

use std::rc::Rc;

use bytes::Bytes;

use crate::base::buffers::SendBuf;
use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::{Driver, Kind, Op, Outcome};
use crate::queue::{Arena, FrameId, Lane, Outbox};
use crate::shard::connection::{Ending, InFlight};
use crate::shard::handler::Handler;
use crate::shard::stats::{Histograms, ShardStats};
use crate::shard::turn::Shard;

/// Buffers that were used before, so that the steady state allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Pools {
    bytes: Vec<Vec<u8>>,
    ids: Vec<Vec<FrameId>>,
}

/// Kept of each kind; more are given back to the allocator.
const POOLED_MAX: usize = 1024;

impl Pools {
    fn put_bytes(&mut self, mut buffer: Vec<u8>) {
        if self.bytes.len() < POOLED_MAX {
            buffer.clear();
            self.bytes.push(buffer);
        }
    }

    fn put_ids(&mut self, mut ids: Vec<FrameId>) {
        if self.ids.len() < POOLED_MAX {
            ids.clear();
            self.ids.push(ids);
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(super) fn mark_dirty(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Serves dirty connections in the order in which they became so, within this turn's
    /// budget; the rest is served first in the next turn.
    pub(super) fn flush(&mut self, now: Instant) {
        for _ in 0..self.settings.turn_sends_max {
            if self.is_driver_full() {
                return;
            }
            let Some(key) = self.dirty.pop_front() else { return };
            self.flush_connection(key, now);
        }
    }

    fn flush_connection(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_dirty = false;
        if connection.is_sending || connection.ending >= Ending::HalfClosed {
            return;
        }
        let Some(outbox) = &mut connection.outbox else {
            if connection.ending == Ending::AfterFlush {
                self.half_close(key, now);
            }
            return;
        };
        let before = outbox.bytes();
        let (buf, in_flight) =
            gather(outbox, &self.arena, &mut self.pools, self.settings.send_bytes_max);
        self.links.stats.outbox_bytes.sub((before - outbox.bytes()) as u64);
        if outbox.is_empty() {
            self.return_outbox(key);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.in_flight = in_flight;
        connection.is_sending = true;
        connection.is_answered = true;
        connection.session.handle_send_progress(now, &self.settings.timing);
        let socket = connection.socket;
        self.push(Kind::Send, key, Op::Send(socket, buf));
        self.schedule(key);
    }

    pub(super) fn handle_send(&mut self, key: Key, outcome: Outcome, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else {
            debug_assert!(false, "a slot is freed after its last completion");
            return;
        };
        connection.is_sending = false;
        match outcome {
            Outcome::Sent { buf, count } => {
                self.links.stats.bytes_sent.add(count as u64);
                if !buf.is_done() && connection.ending < Ending::Aborted {
                    connection.is_sending = true;
                    connection.session.handle_send_progress(now, &self.settings.timing);
                    let socket = connection.socket;
                    self.push(Kind::Send, key, Op::Send(socket, buf));
                    self.schedule(key);
                    return;
                }
                self.finish_send(key, buf, now);
            }
            Outcome::Failed { buf, .. } => {
                if connection.ending < Ending::Aborted {
                    self.links.stats.send_errors.add(1);
                }
                self.release_in_flight(key);
                if let Some(bytes) = buf.and_then(SendBuf::into_pooled) {
                    self.pools.put_bytes(bytes);
                }
                self.abort_lost(key);
            }
            other => debug_assert!(false, "not a send's outcome: {other:?}"),
        }
        self.advance_end(key);
    }

    fn finish_send(&mut self, key: Key, buf: SendBuf, now: Instant) {
        let complete = buf.is_done();
        if let Some(bytes) = buf.into_pooled() {
            self.pools.put_bytes(bytes);
        }
        if complete {
            self.count_sent(key, now);
        }
        self.release_in_flight(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.handle_send_done();
        if connection.outbox.is_some() || connection.ending == Ending::AfterFlush {
            self.mark_dirty(key);
        }
    }

    fn count_sent(&mut self, key: Key, now: Instant) {
        let Self { connections, arena, histograms, links, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        match &connection.in_flight {
            InFlight::Nothing => {}
            InFlight::One(id) => count_frame(*id, arena, histograms, &links.stats, now),
            InFlight::Many(ids) => {
                ids.iter().for_each(|id| count_frame(*id, arena, histograms, &links.stats, now));
            }
        }
    }

    /// Gives up the references of a send that has ended.
    pub(super) fn release_in_flight(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match std::mem::take(&mut connection.in_flight) {
            InFlight::Nothing => {}
            InFlight::One(id) => self.arena.release(id),
            InFlight::Many(ids) => {
                ids.iter().for_each(|id| self.arena.release(*id));
                self.pools.put_ids(ids);
            }
        }
    }

    /// Takes an empty outbox away until something waits again.
    fn return_outbox(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(outbox) = connection.outbox.take_if(|outbox| outbox.is_empty())
            && self.spare_outboxes.len() < POOLED_MAX
        {
            self.spare_outboxes.push(outbox);
        }
    }

    /// Throws away what waits for an open connection, but never the answer to its handshake,
    /// without which nothing that follows makes sense.
    pub(super) fn discard_backlog(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let before = outbox.bytes();
        // The first thing that was queued, and on the first lane.
        let answer = if connection.is_answered { None } else { outbox.pop() };
        while let Some(id) = outbox.pop() {
            self.arena.release(id);
        }
        if let Some(answer) = answer {
            outbox.push_past_limits(Lane::Control, answer, self.arena.get(answer).bytes.len());
        }
        self.links.stats.outbox_bytes.sub((before - outbox.bytes()) as u64);
        self.return_outbox(key);
    }

    /// Throws away what waits for a connection.
    pub(super) fn discard_outbox(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(mut outbox) = connection.outbox.take() else { return };
        self.links.stats.outbox_bytes.sub(outbox.bytes() as u64);
        while let Some(id) = outbox.pop() {
            self.arena.release(id);
        }
        if self.spare_outboxes.len() < POOLED_MAX {
            self.spare_outboxes.push(outbox);
        }
    }
}

/// Takes frames off the outbox, highest lane first, up to `bytes_max`: one alone is shared,
/// several become one contiguous buffer.
fn gather(
    outbox: &mut Outbox,
    arena: &Arena,
    pools: &mut Pools,
    bytes_max: usize,
) -> (SendBuf, InFlight) {
    let first = outbox.pop().expect("an outbox that is there is not empty");
    let first_bytes: &Rc<Bytes> = &arena.get(first).bytes;
    let fits = |outbox: &Outbox, used: usize| {
        outbox.next_bytes().is_some_and(|next| used + next <= bytes_max)
    };
    if !fits(outbox, first_bytes.len()) {
        return (SendBuf::shared(Rc::clone(first_bytes)), InFlight::One(first));
    }
    let mut buffer = pools.bytes.pop().unwrap_or_default();
    let mut ids = pools.ids.pop().unwrap_or_default();
    buffer.reserve(bytes_max.min(first_bytes.len() + outbox.bytes()));
    buffer.extend_from_slice(first_bytes);
    ids.push(first);
    while fits(outbox, buffer.len()) {
        let Some(id) = outbox.pop() else { break };
        buffer.extend_from_slice(&arena.get(id).bytes);
        ids.push(id);
    }
    (SendBuf::pooled(buffer), InFlight::Many(ids))
}

fn count_frame(
    id: FrameId,
    arena: &Arena,
    histograms: &mut Histograms,
    stats: &ShardStats,
    now: Instant,
) {
    stats.messages_sent.add(u64::from(is_message(&arena.get(id).bytes)));
    if let Some((priority, accepted_at)) = arena.get(id).event {
        stats.events_delivered.add(1);
        let nanos = now.since(accepted_at).as_nanos() as u64;
        histograms.delivery[priority.index()].saturating_record(nanos);
    }
}

/// Whether it is a text or binary frame (RFC 6455 section 5.2), and neither a control frame
/// nor the answer to the handshake.
fn is_message(frame: &[u8]) -> bool {
    const FIN_AND_OPCODE: u8 = 0x8f;
    matches!(frame.first().map(|byte| byte & FIN_AND_OPCODE), Some(0x81 | 0x82))
}

//! From the lanes to the driver: everything that waits for a connection goes out in
//! one send.

use std::rc::Rc;

use crate::base::buffers::SendBuf;
use crate::base::clock::Instant;
use crate::base::limits::SHORT_SEND_BYTES_MAX;
use crate::base::slab::Key;
use crate::io::{Driver, Kind, Op, Outcome};
use crate::queue::{Arena, Backlog, EventMark, Frame, FrameId, Lane};
use crate::shard::batching::Batching;
use crate::shard::connection::{Ending, InFlight};
use crate::shard::handler::{Handler, LossReason};
use crate::shard::pools::{SendPlan, gather};
use crate::shard::stats::{Histograms, ShardStats};
use crate::shard::turn::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Sees to it that what waits for a connection is sent, unless it is held back.
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if self.connections.get(key).is_some_and(|connection| !connection.is_held_back()) {
            self.mark_dirty_anyway(key);
        }
    }

    /// As [`Self::mark_dirty`], also where there may be nothing to send but what the flush tells.
    pub(super) fn mark_dirty_anyway(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Its completion comes back to what waits.
        if connection.is_sending {
            return;
        }
        let is_urgent = connection.backlog.is_nothing() || connection.backlog.is_urgent();
        if is_urgent && !connection.is_dirty_urgent {
            connection.is_dirty_urgent = true;
            self.dirty_urgent.push_back(key);
        } else if !connection.is_dirty && !connection.is_dirty_urgent {
            connection.is_dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Serves dirty connections, those with something urgent first, otherwise in the order in
    /// which they became dirty, within this turn's budget. The rest is served first in the next
    /// turn, after another look at what is urgent in the inbox.
    pub(super) fn flush(&mut self, now: Instant) {
        /// One send in so many is for those with nothing urgent: else clients that have us answer
        /// all the time could keep the others, and with them the hub, waiting for ever.
        const SHARE: usize = 8;
        for count in 1..=self.settings.turn_sends_max {
            if self.is_driver_full() {
                break;
            }
            let is_others_turn = count % SHARE == 0 && !self.dirty.is_empty();
            let urgent = if is_others_turn { None } else { self.dirty_urgent.pop_front() };
            let is_urgent = urgent.is_some();
            let Some(key) = urgent.or_else(|| self.dirty.pop_front()) else { break };
            if let Some(connection) = self.connections.get_mut(key) {
                match is_urgent {
                    true => connection.is_dirty_urgent = false,
                    false => connection.is_dirty = false,
                }
                self.flush_connection(key, is_urgent, now);
            }
        }
        self.pools.forget_last(&mut self.arena);
    }

    fn flush_connection(&mut self, key: Key, is_urgent: bool, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_sending || connection.ending >= Ending::HalfClosed {
            return;
        }
        let connection = if connection.has_options {
            self.tell_extras(key, now);
            let Some(connection) = self.connections.get_mut(key) else { return };
            connection
        } else {
            connection
        };
        if connection.backlog.is_nothing() {
            if connection.ending == Ending::AfterFlush {
                self.half_close(key, now);
            }
            return;
        }
        let has_loss = connection.backlog.outbox().is_some_and(|outbox| !outbox.loss.is_empty());
        if has_loss {
            self.tell_loss(key);
        }
        let Self { connections, arena, pools, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        if connection.is_held_back() {
            return;
        }
        let bytes_max = self.settings.send_bytes_max;
        let short_max = bytes_max.min(SHORT_SEND_BYTES_MAX);
        let bytes_max = if connection.is_congested { short_max } else { bytes_max };
        let before = connection.backlog.bytes();
        let send = SendPlan {
            floor: connection.floor,
            bytes_max,
            // Others wait for their urgent event until this send has carried what it is given.
            others_bytes_max: if is_urgent { short_max } else { bytes_max },
            batching: connection.has_options.then(|| Batching {
                encoding: self.handler.encoding(key.slot),
                events_max: self.extras.batch_events_max(key.slot),
            }),
        };
        let gathered = gather(&mut connection.backlog, arena, pools, &send);
        let Some((buf, in_flight)) = gathered else { return };
        let taken = before - connection.backlog.bytes();
        self.links.stats.outbox_bytes.sub(taken as u64);
        connection.in_flight = in_flight;
        connection.is_sending = true;
        connection.send_turn = self.turn;
        connection.is_greeted |= connection.backlog.idle_down_to().is_some();
        connection.session.handle_send_progress(now, &self.settings.timing);
        let (socket, is_behind) = (connection.socket, connection.is_behind);
        self.push(Kind::Send, key, Op::Send(socket, buf));
        self.schedule(key);
        if is_behind {
            self.mark_behind(key);
        }
    }

    /// What was shed is told before the next event goes out.
    fn tell_loss(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key).filter(|it| !it.is_paused()) else {
            return;
        };
        let Some(outbox) = connection.backlog.outbox_mut() else { return };
        let loss = outbox.loss.take();
        self.losses.add(key.slot, &loss);
        let Some((from, _)) = loss.range() else { return };
        let notice = self.handler.dropped(key, &loss, LossReason::SlowConsumer);
        let Some(bytes) = notice else { return };
        let frame_bytes = bytes.len();
        let id = self.arena.insert(Frame { bytes: Rc::new(bytes), event: None });
        outbox.push_notice(id, frame_bytes, from);
        self.links.stats.outbox_bytes.add(frame_bytes as u64);
    }

    pub(super) fn handle_send(&mut self, key: Key, outcome: Outcome, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else {
            debug_assert!(false, "a slot is freed after its last completion");
            return;
        };
        connection.is_sending = false;
        match outcome {
            Outcome::Sent { buf, count } => {
                // What a socket has room for is taken before the wait of the next turn is over.
                let is_late = self.turn.wrapping_sub(connection.send_turn) > 1;
                connection.is_congested |= is_late || !buf.is_done();
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
                drop(buf);
                self.release_in_flight(key);
                self.abort_lost(key);
            }
            other => debug_assert!(false, "not a send's outcome: {other:?}"),
        }
        self.advance_end(key);
    }

    fn finish_send(&mut self, key: Key, buf: SendBuf, now: Instant) {
        let complete = buf.is_done();
        // Before what it was gathered from, so that the bytes can be used again.
        drop(buf);
        if complete {
            self.count_sent(key, now);
        }
        self.release_in_flight(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.handle_send_done();
        connection.is_congested &= !connection.backlog.is_nothing() && !connection.is_held_back();
        let (has_options, hears_checkpoints) =
            (connection.has_options, connection.hears_checkpoints);
        if !connection.backlog.is_nothing() || connection.ending == Ending::AfterFlush {
            self.mark_dirty(key);
        } else if hears_checkpoints {
            self.tell_checkpoint(key, now, false);
        }
        if has_options && self.extras.is_due(key.slot, now) {
            self.mark_dirty_anyway(key);
        }
    }

    /// Tells a connection that has got everything how far that is, where it asked for that and
    /// it is news.
    pub(super) fn tell_checkpoint(&mut self, key: Key, now: Instant, is_heartbeat: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let has_all =
            connection.backlog.is_nothing() && !connection.is_sending && !connection.is_behind;
        if has_all
            && connection.hears_checkpoints
            && let Some(checkpoint) = self.handler.checkpoint(key, now, is_heartbeat)
        {
            self.queue_reply(key, checkpoint, now);
        }
    }

    fn count_sent(&mut self, key: Key, now: Instant) {
        let Self { connections, arena, histograms, links, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        for id in connection.in_flight.ids() {
            count_frame(*id, arena, histograms, &links.stats, now);
        }
        let frames = connection.in_flight.ids().iter().map(|id| &arena.get(*id).bytes);
        let messages = frames.filter(|frame| is_message(frame)).count();
        let (batches, batched) = connection.in_flight.batches();
        links.stats.messages_sent.add((messages + batches - batched) as u64);
        links.stats.batches_sent.add(batches as u64);
    }

    /// Gives up the references of a send that has ended.
    pub(super) fn release_in_flight(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match std::mem::take(&mut connection.in_flight) {
            InFlight::Nothing => {}
            InFlight::One(id) => self.arena.release(id),
            InFlight::Many(gathered) => self.pools.put_gathered(gathered, &mut self.arena),
        }
    }

    /// Throws away what waits for an open connection, but never the answer to its handshake and
    /// the first words after it, without which nothing that follows makes sense.
    pub(super) fn discard_backlog(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.backlog.is_nothing() {
            return;
        }
        self.extras.discard(key.slot);
        let pools = &mut self.pools;
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        let before = outbox.bytes();
        // The first that were queued, and on the first lane.
        let is_greeted = connection.is_greeted;
        let mut greeting = || {
            let is_over = is_greeted || outbox.idle_down_to().is_some();
            if is_over { None } else { outbox.pop() }
        };
        let greeting = [greeting(), greeting()];
        while let Some(id) = outbox.pop() {
            self.arena.release(id);
        }
        self.losses.add(key.slot, &outbox.loss.take());
        for id in greeting.into_iter().flatten() {
            outbox.push_past_limits(Lane::Control, id, self.arena.get(id).bytes.len());
        }
        self.links.stats.outbox_bytes.sub((before - outbox.bytes()) as u64);
        if let Some(outbox) = connection.backlog.take_empty() {
            self.pools.put_outbox(outbox);
        }
    }

    /// Throws away what waits for a connection.
    pub(super) fn discard_outbox(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let backlog = std::mem::take(&mut connection.backlog);
        self.links.stats.outbox_bytes.sub(backlog.bytes() as u64);
        match backlog {
            Backlog::Nothing => {}
            Backlog::One(waiting) => self.arena.release(waiting.id),
            Backlog::Many(mut outbox) => {
                while let Some(id) = outbox.pop() {
                    self.arena.release(id);
                }
                self.losses.add(key.slot, &outbox.loss.take());
                self.pools.put_outbox(outbox);
            }
        }
    }
}

fn count_frame(
    id: FrameId,
    arena: &Arena,
    histograms: &mut Histograms,
    stats: &ShardStats,
    now: Instant,
) {
    if let Some(EventMark { priority, accepted_at, .. }) = arena.get(id).event {
        stats.events_delivered.add(1);
        let nanos = accepted_at.map(|accepted_at| now.since(accepted_at).as_nanos() as u64);
        let latencies = &mut histograms.delivery[priority.index()];
        nanos.into_iter().for_each(|nanos| latencies.saturating_record(nanos));
    }
}

/// Whether it is a text or binary frame (RFC 6455 section 5.2), and neither a control frame
/// nor the answer to the handshake.
fn is_message(frame: &[u8]) -> bool {
    const FIN_AND_OPCODE: u8 = 0x8f;
    matches!(frame.first().map(|byte| byte & FIN_AND_OPCODE), Some(0x81 | 0x82))
}

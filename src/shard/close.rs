//! The ends of a connection: told, failed, lost or timed out; in every case what is in
//! flight ends before the slot is free.

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::{self, Driver, Kind, Op, Outcome};
use crate::protocol::CloseCode;
use crate::session::Timeout;
use crate::shard::connection::{Counted, Ending, Shutdown};
use crate::shard::handler::{Close, Handler};
use crate::shard::turn::Shard;
use crate::ws::Refusal;
use crate::ws::close::close_frame;

/// The backlog of a connection is at its limit.
pub(super) const SLOW_CONSUMER: Close = Close {
    code: CloseCode::SlowConsumer,
    reason: "the connection did not keep up with its events",
};
/// Nothing was heard of the peer for too long.
const IDLE: Close = Close { code: CloseCode::Idle, reason: "nothing was received for too long" };

/// A message was not completed.
const INCOMPLETE: Close = Close {
    code: CloseCode::PolicyViolation,
    reason: "a message was begun and not completed in time",
};

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Tells an open connection that it ends, and why; waits for the peer's close frame.
    pub(super) fn close(&mut self, key: Key, close: Close, now: Instant) {
        // Everything that was queued goes out before the last words.
        self.close_at(key, close, None, now);
    }

    /// As [`Self::close`], with the position from which the client did not get everything.
    pub(super) fn close_at(&mut self, key: Key, close: Close, after: Option<u64>, now: Instant) {
        if self.say_goodbye(key, close, after)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.session.begin_close(now, &self.settings.timing);
            self.schedule(key);
        }
    }

    /// Tells a connection whose peer broke the rules, and ends it without waiting.
    pub(super) fn fail(&mut self, key: Key, close: Close, now: Instant) {
        self.say_goodbye(key, close, None);
        self.end_after_flush(key, now);
    }

    /// Queues the last words of a connection that is not ending yet.
    fn say_goodbye(&mut self, key: Key, close: Close, after: Option<u64>) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let may_still_speak = connection.is_open && connection.ending == Ending::No;
        if !may_still_speak {
            return false;
        }
        let after = after.or(self.give_up_paused(key));
        while let Some((collapsed, _)) = self.handler.collapsed(key, None) {
            self.queue_last(key, collapsed);
        }
        if let Some(closing) = self.handler.closing(key, &close, after) {
            self.queue_last(key, closing);
        }
        self.queue_last(key, Bytes::from(close_frame(close.code.code(), close.reason)));
        self.count_closed(key);
        true
    }

    /// Last words go behind what waits already: into the lowest lane.
    fn queue_last(&mut self, key: Key, bytes: Bytes) {
        self.queue_past_limits(key, crate::queue::Lane::Low, bytes);
    }

    /// The peer's close frame gets its answer, behind nothing but what is in flight.
    pub(super) fn answer_close(&mut self, key: Key, code: Option<u16>, now: Instant) {
        self.discard_backlog(key);
        let answer = close_frame(code.unwrap_or(CloseCode::Normal.code()), "");
        self.queue_past_limits(key, crate::queue::Lane::Control, Bytes::from(answer));
        self.count_closed(key);
        self.end_after_flush(key, now);
    }

    /// Ends our direction when everything is sent.
    pub(super) fn end_after_flush(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Bounds the flush, also where the peer takes a byte now and then.
        connection.session.begin_end(now, &self.settings.timing);
        connection.ending = connection.ending.max(Ending::AfterFlush);
        self.schedule(key);
        self.mark_dirty(key);
    }

    /// Everything is sent: tell the peer's kernel, and wait for the peer to end as well, so
    /// that what it still sends does not reset what we sent.
    pub(super) fn half_close(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.is_receiving {
            return self.abort(key);
        }
        connection.ending = Ending::HalfClosed;
        connection.session.handle_send_done();
        connection.session.await_end(now, &self.settings.timing);
        connection.shutdown = Shutdown::HalfOnItsWay;
        let socket = connection.socket;
        self.push(Kind::Shutdown, key, Op::Shutdown(socket, io::Shutdown::Write));
        self.schedule(key);
    }

    /// The connection was lost without a closing handshake.
    pub(super) fn abort_lost(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_open && connection.ending == Ending::No && connection.session.is_open() {
            self.links.stats.connections_reset.add(1);
        }
        self.abort(key);
    }

    /// Gives a connection up: nothing more is sent, and what is in flight is ended.
    pub(super) fn abort(&mut self, key: Key) {
        self.count_closed(key);
        self.discard_outbox(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending >= Ending::Aborted {
            return;
        }
        connection.session.end();
        connection.session.handle_send_done();
        connection.ending = Ending::Aborted;
        self.advance_end(key);
    }

    /// Gives up a connection that takes nothing of a send. What the kernel holds for it ends within
    /// a frame, and would be held for minutes.
    fn reset(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.shutdown == Shutdown::No
        {
            connection.shutdown = Shutdown::ResetOnItsWay;
            let socket = connection.socket;
            self.push(Kind::Shutdown, key, Op::Shutdown(socket, io::Shutdown::Reset));
        }
        self.abort(key);
    }

    /// Takes the next step of an end, where what it waited for has come.
    pub(super) fn advance_end(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending != Ending::Aborted || connection.shutdown.is_on_its_way() {
            return;
        }
        let socket = connection.socket;
        // A kernel before 6.13 may keep a closed direct descriptor for a while: only a shutdown
        // before it tells the peer at once.
        let is_told = connection.shutdown != Shutdown::No;
        if is_told && connection.is_quiet() {
            connection.ending = Ending::Closing;
            self.push(Kind::Close, key, Op::Close(socket));
        } else if connection.shutdown != Shutdown::Whole {
            connection.shutdown = Shutdown::WholeOnItsWay;
            self.push(Kind::Shutdown, key, Op::Shutdown(socket, io::Shutdown::Both));
        }
    }

    pub(super) fn handle_shutdown(&mut self, key: Key, outcome: &Outcome) {
        let has_failed = matches!(outcome, Outcome::Failed { .. });
        if let Some(connection) = self.connections.get_mut(key) {
            connection.shutdown = match connection.shutdown {
                Shutdown::HalfOnItsWay => Shutdown::Half,
                // It may be forbidden, as a connect is (LSMs): both directions are ended, then.
                Shutdown::ResetOnItsWay if has_failed => Shutdown::No,
                // Else failing is as good as succeeding: the connection is gone either way.
                Shutdown::WholeOnItsWay | Shutdown::ResetOnItsWay => Shutdown::Whole,
                other => other,
            };
        }
        self.advance_end(key);
    }

    pub(super) fn handle_close(&mut self, key: Key, outcome: Outcome) {
        if let Outcome::Failed { error, .. } = outcome {
            tracing::error!(%error, "closing a socket failed");
        }
        self.release_handshake(key);
        if let Some(connection) = self.connections.remove(key) {
            self.wheel.remove(key.slot);
            self.losses.forget(key.slot);
            self.extras.forget(key.slot);
            debug_assert!(connection.ending == Ending::Closing && connection.backlog.is_nothing());
            self.settings.admission.release(&connection.peer);
            self.links.stats.sockets_active.sub(1);
            let is_refused = connection.counted == Counted::Refused;
            self.links.stats.sockets_refused.sub(u64::from(is_refused));
        }
    }

    /// The connection is not open any more: the handler forgets it, and it counts as closed.
    fn count_closed(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !std::mem::take(&mut connection.is_open) {
            return;
        }
        let nanos = self.clock.now().since(connection.accepted_at).as_nanos() as u64;
        self.histograms.session.saturating_record(nanos);
        self.links.stats.connections_active.sub(1);
        self.links.stats.connections_closed.add(1);
        self.set_paused(key, false);
        self.release_hold(key);
        self.handler.closed(key);
        self.places.leave(key);
    }

    /// Sees to it that the connection's next deadline is in the wheel.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(deadline) = connection.session.next_deadline() else { return };
        self.wheel.insert(key.slot, deadline);
    }

    pub(super) fn handle_deadlines(&mut self, key: Key, now: Instant) {
        while let Some(timeout) = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.session.handle_timeout(now, &self.settings.timing))
        {
            self.handle_timeout(key, timeout, now);
        }
        self.schedule(key);
    }

    fn handle_timeout(&mut self, key: Key, timeout: Timeout, now: Instant) {
        const REQUEST_TIMEOUT: u16 = 408;
        // Not where the wheel came round before the time: it does for all that wait for long.
        self.settle(key.slot, now);
        let stats = &self.links.stats;
        match timeout {
            Timeout::Ping => {
                self.tell_checkpoint(key, now, true);
                let ping = (*self.ping).clone();
                self.queue_reply(key, ping, now);
            }
            Timeout::Handshake => {
                stats.handshakes_timed_out.add(1);
                let refusal = Refusal::new(
                    REQUEST_TIMEOUT,
                    "the request did not arrive in time; send it at once",
                );
                self.answer_refusal(key, &refusal, now);
            }
            Timeout::HeartbeatMissed => {
                stats.heartbeats_missed.add(1);
                self.close(key, IDLE, now);
            }
            Timeout::Idle => {
                stats.idle_timeouts.add(1);
                self.close(key, IDLE, now);
            }
            Timeout::Message => {
                stats.message_timeouts.add(1);
                self.fail(key, INCOMPLETE, now);
            }
            Timeout::Write => {
                stats.write_timeouts.add(1);
                self.reset(key);
            }
            Timeout::Close => self.abort(key),
        }
    }
}

//! The way in: received bytes to messages, messages to the handler.

use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::base::buffers::RecvBuf;
use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::errno::Failure;
use crate::io::{Driver, Kind, Op, Outcome};
use crate::protocol::CloseCode;
use crate::session::Input;
use crate::shard::connection::Ending;
use crate::shard::handler::{Close, Handler, Message, Replies};
use crate::shard::stats::Excess;
use crate::shard::turn::{Shard, is_terminal};
use crate::ws::Request;

/// What is to be done about an input once its borrow of the session is over.
enum Reaction {
    /// The handler answered into `replies`.
    Replied,
    Proxied(Option<IpAddr>),
    Upgrade(Box<Request>),
    Refuse(crate::ws::Refusal),
    Pong(Bytes),
    /// The peer sent too much.
    Flooded(Excess),
    /// Answer the peer's close frame and end.
    Answer(Option<u16>),
    End,
    Fail(Close),
    Nothing,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    pub(super) fn start_receiving(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        assert!(!connection.is_receiving);
        connection.is_receiving = true;
        let socket = connection.socket;
        self.push(Kind::Recv, key, Op::Recv(socket));
    }

    pub(super) fn handle_recv(&mut self, key: Key, outcome: Outcome, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else {
            debug_assert!(false, "a slot is freed after its last completion");
            return;
        };
        if is_terminal(&outcome) {
            connection.is_receiving = false;
        }
        match outcome {
            Outcome::Received { bytes, more } => {
                self.handle_bytes(key, bytes, now);
                if !more {
                    self.receive_again(key);
                }
            }
            Outcome::ReceivedEnd => self.handle_received_end(key, now),
            Outcome::Failed { error, .. } => self.handle_recv_error(key, &error),
            other => debug_assert!(false, "not a receive's outcome: {other:?}"),
        }
        self.advance_end(key);
    }

    fn receive_again(&mut self, key: Key) {
        let wanted =
            |connection: &&mut super::connection::Connection| connection.ending < Ending::Aborted;
        if self.connections.get_mut(key).as_ref().is_some_and(wanted) {
            self.start_receiving(key);
        }
    }

    fn handle_recv_error(&mut self, key: Key, error: &io::Error) {
        match Failure::of(error) {
            Failure::NoBuffers => {
                self.links.stats.receive_buffers_exhausted.add(1);
                self.receive_again(key);
            }
            Failure::Cancelled => {}
            _ => self.abort_lost(key),
        }
    }

    /// The peer ended its direction: orderly only as the last step of closing.
    fn handle_received_end(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.ending {
            Ending::No if connection.session.is_open() || connection.session.is_handshaking() => {
                self.abort_lost(key);
            }
            Ending::No | Ending::AfterFlush => self.end_after_flush(key, now),
            Ending::HalfClosed => self.abort(key),
            Ending::Aborted | Ending::Closing => {}
        }
    }

    fn handle_bytes(&mut self, key: Key, mut bytes: RecvBuf, now: Instant) {
        self.links.stats.bytes_received.add(bytes.len() as u64);
        if !self.admit_bytes(key, bytes.len(), now) {
            return self.close_flooding(key, Excess::Bytes, now);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.handle_received(now, &self.settings.timing);
        let stored_before = connection.session.stored_bytes();
        let mut input = &mut bytes[..];
        loop {
            let mut replies = std::mem::take(&mut self.replies);
            let reaction = self.next_reaction(key, &mut input, now, &mut replies);
            let done = reaction.is_none();
            if let Some(reaction) = reaction {
                self.react(key, reaction, &mut replies, now);
            }
            self.replies = replies;
            if done {
                break;
            }
        }
        self.note_partial(key, stored_before, now);
    }

    /// What is left of an incomplete message is counted, and has its time.
    fn note_partial(&mut self, key: Key, stored_before: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_begun = connection.session.handle_input_used(now, &self.settings.timing);
        let stored = connection.session.stored_bytes();
        self.received.note_partial(stored.saturating_sub(stored_before));
        if is_begun {
            self.schedule(key);
        }
    }

    fn next_reaction(
        &mut self,
        key: Key,
        input: &mut &mut [u8],
        now: Instant,
        replies: &mut Replies,
    ) -> Option<Reaction> {
        let Self { connections, handler, links, places, received, settings, .. } = self;
        let session = &mut connections.get_mut(key)?.session;
        let mut frames = 0;
        let polled = session.poll_input(input, &mut frames);
        // Before anything is made of it.
        if !received.take_frames(key, frames, settings.intake.frames, now) {
            return Some(Reaction::Flooded(Excess::Frames));
        }
        let message = match polled? {
            Input::Text(text) => Message::Text(text),
            Input::Binary(bytes) => Message::Binary(bytes),
            Input::Proxied(client) => return Some(Reaction::Proxied(client)),
            Input::NotProxied(refusal) => {
                links.stats.proxy_headers_refused.add(1);
                return Some(Reaction::Refuse(refusal));
            }
            Input::Upgrade(request) => return Some(Reaction::Upgrade(request)),
            Input::Refused(refusal) => return Some(Reaction::Refuse(refusal)),
            Input::Ping(payload) => {
                let pong = crate::ws::frame::frame(crate::ws::frame::PONG, payload);
                return Some(Reaction::Pong(Bytes::from(pong)));
            }
            Input::PeerCloses { code } => return Some(Reaction::Answer(code)),
            Input::PeerClosed => return Some(Reaction::End),
            Input::Nothing => return Some(Reaction::Nothing),
            Input::Violation(violation) => {
                links.stats.protocol_errors.add(1);
                let code = CloseCode::of(violation.code).unwrap_or(CloseCode::ProtocolError);
                let close = Close { code, reason: violation.reason };
                return Some(Reaction::Fail(close));
            }
        };
        links.stats.messages_received.add(1);
        replies.may_catch_up = places.has_room_for(key);
        // One connection's bad luck must not become everyone's: what the handler holds for
        // others stays consistent because each message touches its own connection's state.
        let handled =
            catch_unwind(AssertUnwindSafe(|| handler.message(key, message, now, replies)));
        if handled.is_err() {
            links.stats.handler_panics.add(1);
            replies.close(Close { code: CloseCode::InternalError, reason: "internal error" });
        }
        Some(Reaction::Replied)
    }

    fn react(&mut self, key: Key, reaction: Reaction, replies: &mut Replies, now: Instant) {
        match reaction {
            Reaction::Replied => self.take_replies(key, replies, now),
            Reaction::Proxied(client) => self.take_proxied(key, client, now),
            Reaction::Upgrade(request) => self.upgrade(key, &request, replies, now),
            Reaction::Refuse(refusal) => self.answer_refusal(key, &refusal, now),
            Reaction::Pong(pong) => self.queue_pong(key, pong, now),
            Reaction::Flooded(excess) => self.close_flooding(key, excess, now),
            Reaction::Answer(code) => self.answer_close(key, code, now),
            Reaction::End => self.end_after_flush(key, now),
            Reaction::Fail(close) => self.fail(key, close, now),
            Reaction::Nothing => {}
        }
    }

    fn upgrade(&mut self, key: Key, request: &Request, replies: &mut Replies, now: Instant) {
        if self.drain.is_draining() {
            return self.refuse(key, "the server is shutting down; try again later", now);
        }
        if !self.take_forwarded(key, request, now) {
            return;
        }
        let subprotocol = match self.handler.admit(key, request) {
            Ok(subprotocol) => subprotocol,
            Err(refusal) => return self.answer_refusal(key, &refusal, now),
        };
        self.queue_control(key, Bytes::from(request.accept(subprotocol)));
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.session.open(now, &self.settings.timing);
        connection.is_open = true;
        let session_id = self.session_ids.of(key, connection.accepted_at);
        self.release_handshake(key);
        self.links.stats.connections_opened.add(1);
        self.links.stats.connections_active.add(1);
        self.schedule(key);
        self.handler.opened(key, session_id, now, replies);
        self.take_replies(key, replies, now);
    }

    fn take_replies(&mut self, key: Key, replies: &mut Replies, now: Instant) {
        for (notice, from) in replies.notices.drain(..) {
            self.queue_notice(key, notice, from);
        }
        for frame in replies.frames.drain(..) {
            self.queue_reply(key, frame, now);
        }
        if std::mem::take(&mut replies.has_options)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.has_options = true;
        }
        if std::mem::take(&mut replies.hears_checkpoints)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.hears_checkpoints = true;
        }
        if std::mem::take(&mut replies.is_behind) {
            self.begin_catch_up(key, now);
        }
        if let Some(is_paused) = replies.pause.take() {
            self.set_paused(key, is_paused);
        }
        if let Some(close) = replies.close.take() {
            match close.code {
                // Who floods would only be listened to for its close frame.
                CloseCode::RateLimited => self.fail(key, close, now),
                _ => self.close(key, close, now),
            }
        }
    }
}

//! L2: one connection's life as a state machine without I/O: handshake, open,
//! closing. Bytes and deadlines go in; what they mean comes out.

#![forbid(unsafe_code)]

mod deadlines;
mod proxy;
pub mod rate;

#[cfg(test)]
mod tests;

pub use deadlines::{Timeout, Timing};

use std::net::IpAddr;

use deadlines::Deadlines;
use proxy::{ProxyHeader, ProxyProgress};

use crate::base::clock::Instant;
use crate::ws::{Decoder, Handshake, Incoming, Limits, Progress, Refusal, Request, Violation};

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Used once the connection is open.
    decoder: Decoder,
    deadlines: Deadlines,
}

#[derive(Debug)]
enum Phase {
    /// Before the handshake, where a trusted proxy connects.
    ProxyHeader(Box<ProxyHeader>),
    Handshake(Box<Handshake>),
    Open,
    /// Our close frame is queued or sent; waiting for the peer's.
    Closing,
    /// The closing handshake is over, or cannot take place: what arrives is thrown away.
    Ended,
}

/// What received bytes amount to.
#[derive(Debug)]
pub enum Input<'a> {
    /// The proxy's header is complete: whom it connects, or none where it speaks for itself.
    Proxied(Option<IpAddr>),
    /// The connection does not begin with the header that it must begin with.
    NotProxied(Refusal),
    /// A complete, valid upgrade request; to be answered by [`Session::open`] or
    /// [`Session::end`].
    Upgrade(Box<Request>),
    Refused(Refusal),
    Text(&'a str),
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload (RFC 6455 section 5.5.3).
    Ping(&'a [u8]),
    /// The peer began to close; it expects this code back, and the session has ended.
    PeerCloses {
        code: Option<u16>,
    },
    /// The peer answered our close frame, or never will; the session has ended.
    PeerClosed,
    /// Something that needs no answer; there may be more.
    Nothing,
    /// The peer broke RFC 6455; the session has ended and the close frame should say so.
    Violation(Violation),
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(limits: Limits, now: Instant, timing: &Timing) -> Self {
        Self::begin(Phase::Handshake(Box::new(Handshake::new())), limits, now, timing)
    }

    fn begin(phase: Phase, limits: Limits, now: Instant, timing: &Timing) -> Self {
        Self {
            phase,
            decoder: Decoder::new(limits),
            deadlines: Deadlines::for_handshake(now, timing),
        }
    }

    /// A connection that was just accepted, and must begin with a proxy's header.
    pub fn behind_proxy(limits: Limits, now: Instant, timing: &Timing) -> Self {
        Self::begin(Phase::ProxyHeader(Box::default()), limits, now, timing)
    }

    /// Takes received bytes off the front of `input` until they amount to something;
    /// `None` when all are used up. The frames that began meanwhile are added to `frames`.
    pub fn poll_input<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        frames: &mut u32,
    ) -> Option<Input<'s>> {
        match &mut self.phase {
            // Without input as well: the decoder then frees what it lent out last.
            Phase::Open => self.poll_message(input, frames),
            Phase::Closing => self.poll_close(input, frames),
            _ if input.is_empty() => None,
            Phase::ProxyHeader(header) => {
                let (used, progress) = header.feed(input);
                *input = &mut std::mem::take(input)[used..];
                self.take_proxy_progress(progress)
            }
            Phase::Handshake(handshake) => {
                let (used, progress) = handshake.feed(input);
                *input = &mut std::mem::take(input)[used..];
                self.take_progress(progress)
            }
            Phase::Ended => {
                *input = &mut [];
                None
            }
        }
    }

    fn take_proxy_progress(&mut self, progress: ProxyProgress) -> Option<Input<'static>> {
        match progress {
            ProxyProgress::NeedMore => None,
            ProxyProgress::Complete(client) => {
                self.phase = Phase::Handshake(Box::new(Handshake::new()));
                Some(Input::Proxied(client))
            }
            ProxyProgress::Malformed(reason) => {
                const BAD_REQUEST: u16 = 400;
                self.end();
                Some(Input::NotProxied(Refusal::new(BAD_REQUEST, reason)))
            }
        }
    }

    fn take_progress(&mut self, progress: Progress) -> Option<Input<'static>> {
        match progress {
            Progress::NeedMore => None,
            Progress::Upgrade(request) => Some(Input::Upgrade(request)),
            Progress::Refused(refusal) => {
                self.end();
                Some(Input::Refused(refusal))
            }
        }
    }

    fn poll_message<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        frames: &mut u32,
    ) -> Option<Input<'s>> {
        let Self { phase, decoder, deadlines } = self;
        let mut end = || {
            *phase = Phase::Ended;
            deadlines.clear_receive();
        };
        match decoder.next_counted(input, frames) {
            Ok(None) => None,
            Ok(Some(Incoming::Text(text))) => Some(Input::Text(text)),
            Ok(Some(Incoming::Binary(bytes))) => Some(Input::Binary(bytes)),
            Ok(Some(Incoming::Ping(payload))) => Some(Input::Ping(payload)),
            Ok(Some(Incoming::Pong(_))) => Some(Input::Nothing),
            Ok(Some(Incoming::Close(close))) => {
                end();
                Some(Input::PeerCloses { code: close.map(|(code, _)| code) })
            }
            Err(violation) => {
                end();
                Some(Input::Violation(violation))
            }
        }
    }

    /// Only the peer's close frame is of interest, or that it cannot come any more.
    fn poll_close(&mut self, input: &mut &mut [u8], frames: &mut u32) -> Option<Input<'static>> {
        match self.decoder.next_counted(input, frames) {
            Ok(None) => None,
            Ok(Some(Incoming::Close(_))) | Err(_) => {
                self.end();
                Some(Input::PeerClosed)
            }
            Ok(Some(_)) => Some(Input::Nothing),
        }
    }

    /// The upgrade was accepted.
    pub fn open(&mut self, now: Instant, timing: &Timing) {
        assert!(self.is_handshaking());
        self.phase = Phase::Open;
        self.deadlines = Deadlines::for_open(now, timing);
    }

    /// Our close frame goes out: only the peer's is of interest from now on.
    pub fn begin_close(&mut self, now: Instant, timing: &Timing) {
        if self.is_open() {
            self.phase = Phase::Closing;
            self.deadlines.await_close(now, timing);
        }
    }

    /// Nothing more is expected of the peer, and what is queued is the last that it gets: it
    /// has as long for that as for the answer to a close frame.
    pub fn begin_end(&mut self, now: Instant, timing: &Timing) {
        self.phase = Phase::Ended;
        self.decoder.end();
        self.deadlines.await_close(now, timing);
    }

    /// Nothing more is expected of the peer: refused, or failed.
    pub fn end(&mut self) {
        self.phase = Phase::Ended;
        self.decoder.end();
        self.deadlines.clear_receive();
    }

    /// The last byte is sent and our direction is ended: the peer has until then to end
    /// its own.
    pub fn await_end(&mut self, now: Instant, timing: &Timing) {
        self.phase = Phase::Ended;
        self.decoder.end();
        self.deadlines.await_end(now, timing);
    }

    pub fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_) | Phase::ProxyHeader(_))
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Bytes arrived: the peer lives.
    pub fn handle_received(&mut self, now: Instant, timing: &Timing) {
        if self.is_open() {
            self.deadlines.handle_received(now, timing);
        }
    }

    /// All that was received is used up: a message that was completed is freed, and if one was
    /// left incomplete, its time runs. True if it runs only now.
    pub fn handle_input_used(&mut self, now: Instant, timing: &Timing) -> bool {
        self.decoder.release();
        let has_limit = self.is_open() && !timing.message.is_zero();
        has_limit && self.decoder.set_deadline(now + timing.message)
    }

    /// Bytes on the heap of a message that is not complete.
    pub fn stored_bytes(&self) -> usize {
        self.decoder.stored_bytes()
    }

    /// A send was handed to the kernel, or the kernel took some of it.
    pub fn handle_send_progress(&mut self, now: Instant, timing: &Timing) {
        self.deadlines.arm_write(now, timing);
        if matches!(self.phase, Phase::Closing) {
            // Our close frame comes behind what waits: a peer that still reads that is not late.
            self.deadlines.await_close(now, timing);
        }
    }

    /// Nothing is in flight any more.
    pub fn handle_send_done(&mut self) {
        self.deadlines.clear_write();
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        // None while the decoder stores nothing, as it does for all but a few.
        let message = self.decoder.deadline().filter(|_| self.is_open());
        self.deadlines.next().into_iter().chain(message).min()
    }

    /// What is due at `now`, once; call again until `None`.
    pub fn handle_timeout(&mut self, now: Instant, timing: &Timing) -> Option<Timeout> {
        if self.is_open() && self.decoder.deadline().is_some_and(|deadline| deadline <= now) {
            self.end();
            return Some(Timeout::Message);
        }
        self.deadlines.poll(now, timing)
    }
}

//! L2: one connection's life as a state machine without I/O: handshake, open,
//! closing. Bytes and deadlines go in; what they mean comes out.

#![forbid(unsafe_code)]

mod deadlines;
pub mod rate;

pub use deadlines::{Timeout, Timing};

use deadlines::Deadlines;

use crate::base::clock::Instant;
use crate::ws::decode::{Decoder, Incoming, Limits, Violation};
use crate::ws::handshake::{Handshake, Progress, Refusal, Request};

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    deadlines: Deadlines,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<Handshake>),
    Open(Decoder),
    /// Our close frame is queued or sent; waiting for the peer's.
    Closing(Decoder),
    /// The closing handshake is over, or cannot take place: what arrives is thrown away.
    Ended,
}

/// What received bytes amount to.
#[derive(Debug)]
pub enum Input<'a> {
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
    /// The peer answered our close frame; the session has ended.
    PeerClosed,
    /// The peer broke RFC 6455; the session has ended and the close frame should say so.
    Violation(Violation),
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(now: Instant, timing: &Timing) -> Self {
        Self {
            phase: Phase::Handshake(Box::new(Handshake::new())),
            deadlines: Deadlines::for_handshake(now, timing),
        }
    }

    /// Takes received bytes off the front of `input` until they amount to something;
    /// `None` when all are used up.
    pub fn poll_input<'s, 'i: 's>(&'s mut self, input: &mut &'i mut [u8]) -> Option<Input<'s>> {
        if input.is_empty() {
            return None;
        }
        if let Phase::Handshake(handshake) = &mut self.phase {
            let (used, progress) = handshake.feed(input);
            *input = &mut std::mem::take(input)[used..];
            return match progress {
                Progress::NeedMore => None,
                Progress::Upgrade(request) => Some(Input::Upgrade(request)),
                Progress::Refused(refusal) => {
                    self.phase = Phase::Ended;
                    Some(Input::Refused(refusal))
                }
            };
        }
        self.poll_frames(input)
    }

    fn poll_frames<'s, 'i: 's>(&'s mut self, input: &mut &'i mut [u8]) -> Option<Input<'s>> {
        let Self { phase, deadlines } = self;
        let is_closing = matches!(phase, Phase::Closing(_));
        loop {
            // The borrow of a message that is returned must not outlive this round, so what
            // ends the session is told apart first.
            let end = match phase {
                Phase::Open(decoder) | Phase::Closing(decoder) => match decoder.next(input) {
                    Ok(None) => return None,
                    Ok(Some(Incoming::Close(close))) if is_closing => {
                        let _ = close;
                        Input::PeerClosed
                    }
                    Ok(Some(Incoming::Close(close))) => {
                        Input::PeerCloses { code: close.map(|(code, _)| code) }
                    }
                    Err(violation) if is_closing => {
                        let _ = violation;
                        Input::PeerClosed
                    }
                    Err(violation) => Input::Violation(violation),
                    Ok(Some(_)) if is_closing => continue,
                    Ok(Some(Incoming::Pong(_))) => continue,
                    Ok(Some(message)) => return Some(Input::from(message)),
                },
                Phase::Handshake(_) | Phase::Ended => {
                    *input = &mut [];
                    return None;
                }
            };
            *phase = Phase::Ended;
            deadlines.clear_receive();
            return Some(end);
        }
    }

    /// The upgrade was accepted.
    pub fn open(&mut self, limits: Limits, now: Instant, timing: &Timing) {
        assert!(matches!(self.phase, Phase::Handshake(_)));
        self.phase = Phase::Open(Decoder::new(limits));
        self.deadlines = Deadlines::for_open(now, timing);
    }

    /// Our close frame goes out: only the peer's is of interest from now on.
    pub fn begin_close(&mut self, now: Instant, timing: &Timing) {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Open(decoder) => {
                self.phase = Phase::Closing(decoder);
                self.deadlines.await_close(now, timing);
            }
            other => self.phase = other,
        }
    }

    /// Nothing more is expected of the peer: refused, or failed.
    pub fn end(&mut self) {
        self.phase = Phase::Ended;
        self.deadlines.clear_receive();
    }

    /// The last byte is sent and our direction is ended: the peer has until then to end
    /// its own.
    pub fn await_end(&mut self, now: Instant, timing: &Timing) {
        self.phase = Phase::Ended;
        self.deadlines.await_end(now, timing);
    }

    pub fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_))
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
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

    /// A send was handed to the kernel, or the kernel took some of it.
    pub fn handle_send_progress(&mut self, now: Instant, timing: &Timing) {
        self.deadlines.arm_write(now, timing);
    }

    /// Nothing is in flight any more.
    pub fn handle_send_done(&mut self) {
        self.deadlines.clear_write();
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// What is due at `now`, once; call again until `None`.
    pub fn handle_timeout(&mut self, now: Instant, timing: &Timing) -> Option<Timeout> {
        self.deadlines.poll(now, timing)
    }
}

impl<'a> From<Incoming<'a>> for Input<'a> {
    fn from(message: Incoming<'a>) -> Self {
        match message {
            Incoming::Text(text) => Self::Text(text),
            Incoming::Binary(bytes) => Self::Binary(bytes),
            Incoming::Ping(payload) => Self::Ping(payload),
            Incoming::Pong(_) | Incoming::Close(_) => unreachable!("handled by the session"),
        }
    }
}

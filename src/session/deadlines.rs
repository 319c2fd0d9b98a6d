//! A connection's deadlines, each of which may be unarmed.

use std::time::Duration;

use crate::base::clock::Instant;

/// How long a connection may take for what. Zero turns the heartbeat, the idle timeout or that
/// of messages off.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For the whole HTTP head, from the accept on.
    pub handshake: Duration,
    /// Without anything received, a ping is sent after this long…
    pub heartbeat_interval: Duration,
    /// …and something must arrive within this long after it.
    pub heartbeat_timeout: Duration,
    /// Longest time without anything received at all.
    pub idle: Duration,
    /// From the first byte of a message that arrives in pieces to its last one.
    pub message: Duration,
    /// Longest time in which the kernel takes nothing of a send.
    pub write: Duration,
    /// For the peer's close frame after ours.
    pub close: Duration,
    /// For the peer's end of the connection after ours.
    pub end: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    Handshake,
    /// Send a ping now.
    Ping,
    HeartbeatMissed,
    Idle,
    /// A message was begun and not completed, whatever arrived meanwhile.
    Message,
    Write,
    /// The peer did not answer our close frame, or did not end its direction.
    Close,
}

/// What the receiving side waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaiting {
    Handshake,
    /// Anything; a ping is due at the deadline.
    Message,
    /// Anything, a ping having been sent.
    Pong,
    /// The peer's close frame or its end of the connection.
    Close,
    /// Nothing: the deadline does not count.
    Nothing,
}

/// A deadline, rounded up to a tenth of a second: half the size of an [`Instant`], and as exact
/// as the timer wheel that looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due(u32);

/// Never reached; also what is more than 13 years from the clock's origin, the machine's start.
const NEVER: Due = Due(u32::MAX);

#[derive(Debug)]
pub(super) struct Deadlines {
    awaiting: Awaiting,
    receive: Due,
    idle: Due,
    write: Due,
}

/// Every connection has its own.
const _: () = assert!(size_of::<Deadlines>() <= 16);

impl Deadlines {
    pub fn for_handshake(now: Instant, timing: &Timing) -> Self {
        Self {
            awaiting: Awaiting::Handshake,
            receive: Due::at(now + timing.handshake),
            idle: NEVER,
            write: NEVER,
        }
    }

    pub fn for_open(now: Instant, timing: &Timing) -> Self {
        let mut deadlines =
            Self { awaiting: Awaiting::Message, receive: NEVER, idle: NEVER, write: NEVER };
        deadlines.handle_received(now, timing);
        deadlines
    }

    pub fn handle_received(&mut self, now: Instant, timing: &Timing) {
        self.awaiting = Awaiting::Message;
        self.receive = after(now, timing.heartbeat_interval);
        self.idle = after(now, timing.idle);
    }

    pub fn await_close(&mut self, now: Instant, timing: &Timing) {
        self.awaiting = Awaiting::Close;
        self.receive = Due::at(now + timing.close);
        self.idle = NEVER;
    }

    pub fn await_end(&mut self, now: Instant, timing: &Timing) {
        self.awaiting = Awaiting::Close;
        self.receive = Due::at(now + timing.end);
        self.idle = NEVER;
    }

    pub fn clear_receive(&mut self) {
        self.awaiting = Awaiting::Nothing;
        self.receive = NEVER;
        self.idle = NEVER;
    }

    pub fn arm_write(&mut self, now: Instant, timing: &Timing) {
        self.write = Due::at(now + timing.write);
    }

    pub fn clear_write(&mut self) {
        self.write = NEVER;
    }

    pub fn next(&self) -> Option<Instant> {
        let next = self.receive.min(self.idle).min(self.write);
        (next != NEVER).then(|| next.instant())
    }

    pub fn poll(&mut self, now: Instant, timing: &Timing) -> Option<Timeout> {
        if self.write.is_reached(now) {
            self.write = NEVER;
            return Some(Timeout::Write);
        }
        // A ping that is due as well comes first: the time for it passed while the server was
        // away, and the peer had nothing to answer.
        let is_unasked = self.awaiting == Awaiting::Message && self.receive.is_reached(now);
        if self.idle.is_reached(now) && !is_unasked {
            self.clear_receive();
            return Some(Timeout::Idle);
        }
        if !self.receive.is_reached(now) {
            return None;
        }
        match self.awaiting {
            Awaiting::Message => {
                self.awaiting = Awaiting::Pong;
                // From now on and not from when it was due: a server that was stopped for a
                // minute must not take its peers for dead.
                self.receive = Due::at(now + timing.heartbeat_timeout);
                if self.idle.is_reached(now) {
                    self.idle = NEVER;
                }
                Some(Timeout::Ping)
            }
            Awaiting::Handshake => self.fire(Timeout::Handshake),
            Awaiting::Pong => self.fire(Timeout::HeartbeatMissed),
            Awaiting::Close => self.fire(Timeout::Close),
            Awaiting::Nothing => None,
        }
    }

    fn fire(&mut self, timeout: Timeout) -> Option<Timeout> {
        self.clear_receive();
        Some(timeout)
    }
}

/// A duration of zero means never.
fn after(now: Instant, duration: Duration) -> Due {
    if duration.is_zero() { NEVER } else { Due::at(now + duration) }
}

impl Due {
    const UNIT_NANOS: u64 = 100_000_000;

    fn at(instant: Instant) -> Self {
        Self(u32::try_from(instant.as_nanos().div_ceil(Self::UNIT_NANOS)).unwrap_or(u32::MAX))
    }

    fn instant(self) -> Instant {
        Instant::from_nanos(u64::from(self.0) * Self::UNIT_NANOS)
    }

    fn is_reached(self, now: Instant) -> bool {
        self != NEVER && self.instant() <= now
    }
}

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

/// Instants of `u64::MAX` nanoseconds are never reached.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

#[derive(Debug)]
pub(super) struct Deadlines {
    awaiting: Awaiting,
    receive: Instant,
    idle: Instant,
    write: Instant,
}

impl Deadlines {
    pub fn for_handshake(now: Instant, timing: &Timing) -> Self {
        Self {
            awaiting: Awaiting::Handshake,
            receive: now + timing.handshake,
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
        self.receive = now + timing.close;
        self.idle = NEVER;
    }

    pub fn await_end(&mut self, now: Instant, timing: &Timing) {
        self.awaiting = Awaiting::Close;
        self.receive = now + timing.end;
        self.idle = NEVER;
    }

    pub fn clear_receive(&mut self) {
        self.awaiting = Awaiting::Nothing;
        self.receive = NEVER;
        self.idle = NEVER;
    }

    pub fn arm_write(&mut self, now: Instant, timing: &Timing) {
        self.write = now + timing.write;
    }

    pub fn clear_write(&mut self) {
        self.write = NEVER;
    }

    pub fn next(&self) -> Option<Instant> {
        let next = self.receive.min(self.idle).min(self.write);
        (next != NEVER).then_some(next)
    }

    pub fn poll(&mut self, now: Instant, timing: &Timing) -> Option<Timeout> {
        if self.write <= now {
            self.write = NEVER;
            return Some(Timeout::Write);
        }
        if self.idle <= now {
            self.clear_receive();
            return Some(Timeout::Idle);
        }
        if self.receive > now {
            return None;
        }
        match self.awaiting {
            Awaiting::Message => {
                self.awaiting = Awaiting::Pong;
                // From now on and not from when it was due: a server that was stopped for a
                // minute must not take its peers for dead.
                self.receive = now + timing.heartbeat_timeout;
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

fn after(now: Instant, duration: Duration) -> Instant {
    if duration.is_zero() { NEVER } else { now + duration }
}

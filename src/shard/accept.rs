//! Admission: outstanding accepts, limits before the handshake, and the pause when
//! descriptors are exhausted.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::base::logged::Seldom;
use crate::base::slab::Key;
use crate::io::errno::Failure;
use crate::io::{Driver, Kind, Op, Outcome, Socket};
use crate::shard::connection::{Connection, Counted};
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;
use crate::ws::Refusal;

/// Pause after accepting failed: long enough to cost nothing, short enough to recover
/// within a second of a descriptor's release.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Slots kept for connections that are only told that there is no room.
const TOLD_AT_ONCE_MAX: u32 = 64;

/// The accepts that are kept outstanding.
#[derive(Debug)]
pub(super) struct Accepts {
    armed: Vec<bool>,
    retry_at: Option<Instant>,
    complaints: Seldom,
}

impl Accepts {
    pub fn new(count: u32) -> Self {
        let armed = vec![false; count as usize];
        Self { armed, retry_at: None, complaints: Seldom::default() }
    }

    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Keeps as many accepts outstanding as there are slots for what they bring.
    pub(super) fn arm_accepts(&mut self) {
        if let Some(retry_at) = self.accepts.retry_at {
            if self.clock.now() < retry_at {
                return;
            }
            self.accepts.retry_at = None;
        }
        let free = self.settings.sockets_max as usize - self.connections.len();
        let mut outstanding = self.accepts.armed.iter().filter(|armed| **armed).count();
        for slot in 0..self.accepts.armed.len() {
            if outstanding >= free {
                return;
            }
            if !self.accepts.armed[slot] {
                self.accepts.armed[slot] = true;
                outstanding += 1;
                self.push(Kind::Accept, Key { slot: slot as u32, generation: 0 }, Op::Accept);
            }
        }
    }

    pub(super) fn handle_accept(&mut self, slot: u32, outcome: Outcome, now: Instant) {
        self.accepts.armed[slot as usize] = false;
        match outcome {
            Outcome::Accepted { socket, peer } => self.admit_socket(socket, peer, now),
            Outcome::Failed { error, .. } => self.handle_accept_error(&error, now),
            other => debug_assert!(false, "not an accept's outcome: {other:?}"),
        }
    }

    fn handle_accept_error(&mut self, error: &io::Error, now: Instant) {
        // The peer gave up between the handshake of TCP and the accept: nothing is wrong here.
        let is_given_up = error.kind() == io::ErrorKind::ConnectionAborted;
        if is_given_up || Failure::of(error) == Failure::Cancelled {
            return;
        }
        if let Some(withheld) = self.accepts.complaints.admit(now) {
            tracing::warn!(
                %error, withheld,
                "accepting connections failed; trying again every {RETRY_PAUSE:?}"
            );
        }
        self.links.stats.accept_errors.add(1);
        self.accepts.retry_at = Some(now + RETRY_PAUSE);
    }

    fn admit_socket(&mut self, socket: Socket, peer: SocketAddr, now: Instant) {
        let mut peer = self.settings.admission.peer(peer.ip());
        let is_full = self.is_full();
        let claimed = match is_full || self.drain.is_draining() {
            true => Ok(()),
            false => self.claim_place(&mut peer, now),
        };
        if claimed.is_err() && !self.may_tell_more() {
            return self.turn_away(socket);
        }
        let is_let_in = !is_full && claimed.is_ok() && !self.drain.is_draining();
        let handshake = if is_let_in { self.claim_handshake(now) } else { Ok(()) };
        let is_refused = is_full || claimed.is_err() || handshake.is_err();
        let counted = match is_refused {
            true => Counted::Refused,
            false if is_let_in => Counted::Shaking,
            false => Counted::LetIn,
        };
        let session = self.session_of(&peer, now);
        let connection = Connection { counted, ..Connection::new(socket, session, peer, now) };
        let key = match self.connections.insert(connection) {
            Ok(key) => key,
            Err(connection) => {
                // Not reached: no more accepts are outstanding than slots are free.
                self.settings.admission.release(&connection.peer);
                return self.turn_away(socket);
            }
        };
        self.links.stats.sockets_active.add(1);
        self.links.stats.sockets_refused.add(u64::from(is_refused));
        self.links.stats.handshakes_pending.add(u64::from(counted == Counted::Shaking));
        self.start_receiving(key);
        if self.drain.refuses_at_once {
            self.refuse(key, "the server is shutting down; try again later", now);
        } else if is_full {
            self.links.stats.connections_refused.add(1);
            self.refuse(
                key,
                "the server holds as many connections as it may; try again later",
                now,
            );
        } else if let Err(refusal) = claimed {
            self.answer_refusal(key, &refusal, now);
        } else if let Err(reason) = handshake {
            self.refuse(key, reason, now);
        } else {
            self.schedule(key);
        }
    }

    /// Whether all shards together, or this one but for its last slots, hold what they may.
    fn is_full(&self) -> bool {
        let held: u64 = self.settings.all_stats.iter().map(|stats| stats.sockets_admitted()).sum();
        let slots = (self.settings.sockets_max - self.told_at_once_max()) as usize;
        held >= self.settings.connections_max as u64 || self.connections.len() >= slots
    }

    /// Whether a client of an address at its limit is still told so. Those who are being told
    /// hold slots, and one address must not take the slots of all others.
    pub(super) fn may_tell_more(&self) -> bool {
        self.links.stats.sockets_refused.get() < u64::from(self.told_at_once_max())
    }

    /// The last slots are for telling clients that there is no room, instead of leaving them
    /// in the backlog of a listener that nobody accepts from.
    fn told_at_once_max(&self) -> u32 {
        (self.settings.sockets_max / 8).min(TOLD_AT_ONCE_MAX)
    }

    /// Closes a socket that was given no slot.
    fn turn_away(&mut self, socket: Socket) {
        self.push(Kind::Close, Key { slot: u32::MAX, generation: 0 }, Op::Close(socket));
    }

    /// Ends a connection that is not open yet with a 503, without waiting for its request.
    pub(super) fn refuse(&mut self, key: Key, reason: &'static str, now: Instant) {
        const SERVICE_UNAVAILABLE: u16 = 503;
        let refusal =
            Refusal::new(SERVICE_UNAVAILABLE, reason).retry_after(self.settings.retry_after_secs);
        self.answer_refusal(key, &refusal, now);
    }

    /// Ends a connection that is not open yet with an HTTP answer.
    pub(super) fn answer_refusal(&mut self, key: Key, refusal: &Refusal, now: Instant) {
        self.links.stats.handshakes_refused.add(1);
        let retry_after_secs = refusal.retry_after_secs.map(|secs| self.spread_secs(key, secs));
        let refusal = Refusal { retry_after_secs, ..*refusal };
        self.queue_control(key, Bytes::from(refusal.response()));
        self.end_after_flush(key, now);
    }
}

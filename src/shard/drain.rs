//! The orderly end of a shard.

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::protocol::CloseCode;
use crate::shard::handler::{Close, Handler};
use crate::shard::turn::Shard;

/// The server is going away; clients reconnect elsewhere.
const GOING_AWAY: Close =
    Close { code: CloseCode::GoingAway, reason: "the server is shutting down" };

/// How far the drain has come.
#[derive(Debug, Default)]
pub(super) struct Drain {
    deadline: Option<Instant>,
    is_started: bool,
}

impl Drain {
    pub fn request(&mut self, deadline: Instant) {
        self.deadline.get_or_insert(deadline);
    }

    pub fn is_draining(&self) -> bool {
        self.deadline.is_some()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Closes every connection, once the events that came before the request are queued.
    pub(super) fn start_drain_if_due(&mut self, now: Instant) {
        if !self.drain.is_draining() || self.drain.is_started || self.links.inbox.has_events() {
            return;
        }
        self.drain.is_started = true;
        let keys: Vec<Key> = self.connections.keys().collect();
        for key in keys {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.session.is_handshaking() {
                self.refuse(key, "the server is shutting down; try again later", now);
            } else {
                self.close(key, GOING_AWAY, now);
            }
        }
    }

    /// Whether the shard has nothing left to do.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let drained = self.drain.is_started && self.connections.is_empty();
        let overdue = self.drain.deadline().is_some_and(|deadline| deadline <= now);
        drained || overdue || self.links.inbox.is_forced()
    }
}

//! The orderly end of a shard: connections leave one after the other, each at its moment.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::Priority;
use crate::io::Driver;
use crate::protocol::CloseCode;
use crate::shard::handler::{Close, Handler};
use crate::shard::turn::Shard;

/// The server is going away; clients reconnect elsewhere.
const GOING_AWAY: Close =
    Close { code: CloseCode::GoingAway, reason: "the server is shutting down" };

/// How long a request is waited for once nobody is served any more. It is answered by 503 when it
/// has come: proxies do not expect an answer before they have asked.
const LAST_REQUESTS: Duration = Duration::from_millis(500);

/// Connections that are told in one turn.
const TOLD_PER_TURN: usize = 1_024;

/// How far the drain has come.
#[derive(Debug, Default)]
pub(super) struct Drain {
    asked: Option<Asked>,
    /// There once the events that came before the request are queued.
    leaving: Option<Leaving>,
    /// When handshakes that are still under way are refused; there once no connection is open.
    last_requests: Option<Instant>,
    /// Requests are not waited for any more.
    pub refuses_at_once: bool,
}

#[derive(Debug)]
struct Asked {
    window: Duration,
    deadline: Instant,
}

/// The connections that were open when the drain began: one after the other, at even distances.
#[derive(Debug)]
struct Leaving {
    keys: Vec<Key>,
    /// The first that has not been told.
    next: usize,
    start: Instant,
    window: Duration,
    /// Those whose moment came while what had found no room was still to be read: nobody else has
    /// it for them, so that they get it first.
    late: Vec<Key>,
    /// When these are told all the same, with the place that they have reached.
    last_call: Instant,
}

impl Drain {
    pub fn request(&mut self, window: Duration, deadline: Instant) {
        self.asked.get_or_insert(Asked { window, deadline });
    }

    pub fn is_draining(&self) -> bool {
        self.asked.is_some()
    }

    /// When there is something to do: somebody's moment, or the end of all.
    pub fn next(&self) -> Option<Instant> {
        let deadline = self.asked.as_ref()?.deadline;
        let leaving = self.leaving.as_ref();
        let moment = leaving.and_then(Leaving::next);
        let last_call = leaving.filter(|it| !it.late.is_empty()).map(|it| it.last_call);
        [moment, last_call, self.last_requests].into_iter().flatten().chain([deadline]).min()
    }
}

impl Leaving {
    /// The moment of the next.
    fn next(&self) -> Option<Instant> {
        let count = self.keys.len() as u128;
        let nanos = (self.window.as_nanos() * self.next as u128).checked_div(count)?;
        let after_start = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        (self.next < self.keys.len()).then(|| self.start + after_start)
    }

    /// The next, once its moment has come.
    fn pop_due(&mut self, now: Instant) -> Option<Key> {
        self.next().filter(|moment| *moment <= now)?;
        self.next += 1;
        self.keys.get(self.next - 1).copied()
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Begins once the events that came before the request are queued, and tells those whose
    /// moment has come. The others are served as ever.
    pub(super) fn advance_drain(&mut self, now: Instant) {
        let Some(Asked { window, deadline }) = self.drain.asked else { return };
        if self.drain.leaving.is_none() && self.note_seen() {
            let is_open = |key: &Key| self.connections.get(*key).is_some_and(|it| it.is_open);
            let keys = self.connections.keys().filter(is_open).collect();
            // Some time is left for their farewell.
            let last_call = now + deadline.since(now) / 4 * 3;
            let late = Vec::new();
            let leaving = Leaving { keys, next: 0, start: now, window, late, last_call };
            self.drain.leaving = Some(leaving);
        }
        for _ in 0..TOLD_PER_TURN {
            let Some(leaving) = &mut self.drain.leaving else { break };
            let is_last_call = leaving.last_call <= now;
            let late = if is_last_call { leaving.late.pop() } else { None };
            let Some(key) = late.or_else(|| leaving.pop_due(now)) else { break };
            self.settle(key.slot, now);
            if is_last_call || !self.reads_overflow(key) {
                self.close(key, GOING_AWAY, now);
            } else if let Some(leaving) = &mut self.drain.leaving {
                leaving.late.push(key);
            }
        }
        self.end_handshakes(now);
    }

    /// One has met what is live: if its moment has passed, it leaves now.
    pub(super) fn leave_if_late(&mut self, key: Key, now: Instant) {
        let Some(leaving) = &mut self.drain.leaving else { return };
        if let Some(place) = leaving.late.iter().position(|late| *late == key) {
            leaving.late.swap_remove(place);
            self.close(key, GOING_AWAY, now);
        }
    }

    /// Whether some of its lanes are read from the past because they were full.
    pub(super) fn reads_overflow(&self, key: Key) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|connection| connection.is_open && connection.is_behind)
            && Priority::ALL.into_iter().any(|it| self.handler.is_overflowing(key.slot, it))
    }

    /// Ends the handshakes that are under way, a moment after the last connection was told: until
    /// then each is answered when its request has come.
    fn end_handshakes(&mut self, now: Instant) {
        let is_served = self.links.stats.connections_active.get() > 0;
        if self.drain.leaving.is_none() || is_served || self.drain.refuses_at_once {
            return;
        }
        let until = *self.drain.last_requests.get_or_insert(now + LAST_REQUESTS);
        if until > now {
            return;
        }
        self.drain.refuses_at_once = true;
        self.drain.last_requests = None;
        let is_handshaking = |key: &Key| {
            let connection = self.connections.get(*key);
            connection.is_some_and(|connection| connection.session.is_handshaking())
        };
        let handshaking: Vec<Key> = self.connections.keys().filter(is_handshaking).collect();
        for key in handshaking {
            self.refuse(key, "the server is shutting down; try again later", now);
        }
    }

    /// Whether the shard has nothing left to do.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let drained = self.drain.leaving.is_some() && self.connections.is_empty();
        let overdue = self.drain.asked.as_ref().is_some_and(|asked| asked.deadline <= now);
        drained || overdue || self.links.inbox.is_forced()
    }
}

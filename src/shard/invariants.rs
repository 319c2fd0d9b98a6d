//! The bookkeeping, checked as a whole: for tests, between two turns.

use std::collections::HashSet;
use std::rc::Rc;

use crate::io::{Driver, Kind};
use crate::queue::Outbox;
use crate::shard::connection::{Counted, Ending, InFlight};
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Compares what is counted with what is there. Looks at every connection.
    ///
    /// # Panics
    /// If the bookkeeping is wrong.
    pub fn invariants(&self) {
        let stats = &self.links.stats;
        let mut counted = 0_u64;
        let (mut open, mut paused, mut refused, mut waiting_bytes) = (0_u64, 0_u64, 0_u64, 0_u64);
        let (mut references, mut partial_bytes) = (self.stalled.references(), 0);
        let (mut dirty, mut urgent) = (0, 0);
        let (mut gathered, mut handshakes) = (HashSet::new(), 0);
        for key in self.connections.keys() {
            let connection = self.connections.get(key).expect("a key of the slab");
            let in_flight = connection.in_flight.ids();
            assert_eq!(connection.is_sending, !in_flight.is_empty(), "{key:?}: {connection:?}");
            references += match &connection.in_flight {
                // Shared: the references are those of all its connections together.
                InFlight::Many(shared) if !gathered.insert(Rc::as_ptr(shared)) => 0,
                _ => in_flight.len(),
            };
            let backlog = &connection.backlog;
            let has_reason = |it: &Outbox| !it.is_empty() || !it.loss.is_empty();
            assert!(backlog.outbox().is_none_or(has_reason), "{key:?}: {connection:?}");
            if connection.ending >= Ending::HalfClosed {
                assert!(backlog.is_nothing() && !connection.is_open, "{key:?}: {connection:?}");
            } else {
                let waits = !backlog.is_nothing() && !connection.is_held_back()
                    || connection.ending == Ending::AfterFlush;
                let is_listed = connection.is_dirty || connection.is_dirty_urgent;
                let is_served = connection.is_sending || is_listed;
                assert!(!waits || is_served, "forgotten: {key:?}: {connection:?}");
            }
            // One that is behind comes back with the flush, or is in a list.
            let is_waiting = self.places.is_waiting(key) && !self.reads_overflow(key);
            let is_held = is_waiting || connection.is_paused();
            let is_listed = connection.is_in_behind || connection.is_awaiting || is_held;
            let is_left = connection.is_behind && connection.is_open && !is_listed;
            assert!(!is_left || !backlog.is_nothing(), "left behind: {key:?}: {connection:?}");
            counted += u64::from(connection.peer.is_counted);
            open += u64::from(connection.is_open);
            paused += u64::from(connection.is_paused());
            refused += u64::from(connection.counted == Counted::Refused);
            handshakes += u64::from(connection.counted == Counted::Shaking);
            waiting_bytes += backlog.bytes() as u64;
            references += backlog.messages();
            partial_bytes += connection.session.stored_bytes();
            dirty += usize::from(connection.is_dirty);
            urgent += usize::from(connection.is_dirty_urgent);
        }
        self.assert_places_taken(counted);
        for key in self.places.all() {
            let connection = self.connections.get(key);
            assert!(connection.is_some_and(|it| it.is_open && it.is_behind), "{key:?}");
        }
        let is_live = |key: &&_| self.connections.get(**key).is_some();
        assert_eq!(self.dirty.iter().filter(is_live).count(), dirty);
        assert_eq!(self.dirty_urgent.iter().filter(is_live).count(), urgent);
        assert_eq!(self.pools.gathered_bytes() == 0, gathered.is_empty());
        assert!(partial_bytes <= self.received.partial_bytes());
        assert_eq!(self.arena.references(), references);
        assert_eq!(stats.outbox_bytes.get(), waiting_bytes);
        assert_eq!(stats.sockets_active.get(), self.connections.len() as u64);
        assert_eq!(stats.sockets_refused.get(), refused);
        assert_eq!(stats.handshakes_pending.get(), handshakes);
        assert_eq!(stats.connections_active.get(), open);
        assert_eq!(stats.connections_paused.get(), paused);
        assert_eq!(stats.connections_opened.get() - stats.connections_closed.get(), open);
        let subscriptions = stats.subscriptions_added.get() - stats.subscriptions_removed.get();
        assert_eq!(stats.subscriptions_active.get(), subscriptions);
    }

    /// What is counted by address is what is held, by this shard where it is the only one.
    fn assert_places_taken(&self, counted: u64) {
        let Some(limits) = self.settings.admission.limits.as_deref() else {
            return assert_eq!(counted, 0);
        };
        let is_alone = self.settings.all_stats.len() == 1;
        for taken in limits.places_taken().into_iter().filter(|_| limits.counts_places()) {
            assert!(taken == counted || (taken > counted && !is_alone), "{taken} for {counted}");
        }
    }

    /// Frames that wait or are in flight, however many connections each is for.
    pub fn frames_stored(&self) -> usize {
        self.arena.len()
    }

    /// Whether nothing is left of any connection.
    pub fn is_idle(&self) -> bool {
        let is_of_a_connection = |kind| kind != Kind::Accept;
        self.connections.is_empty()
            && self.arena.is_empty()
            && self.losses.is_empty()
            && self.stalled.bytes() == 0
            && self.dirty.is_empty()
            && self.dirty_urgent.is_empty()
            && !self.refused.iter().any(|(token, _)| is_of_a_connection(token.kind()))
    }
}

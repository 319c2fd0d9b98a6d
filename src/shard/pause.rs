//! Connections whose clients want no events for now: those wait, and are shed as they are for
//! any client that does not keep up.

use crate::base::slab::Key;
use crate::io::Driver;
use crate::queue::Lane;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Sends nothing but replies to the connection from now on, or what waits as well.
    pub(super) fn set_paused(&mut self, key: Key, is_paused: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Who was closed meanwhile, as for the answer having no room, is not paused any more.
        if connection.is_paused() == is_paused || (is_paused && !connection.is_open) {
            return;
        }
        connection.floor = if is_paused { Lane::Control } else { Lane::Low };
        if is_paused {
            return self.links.stats.connections_paused.add(1);
        }
        self.links.stats.connections_paused.sub(1);
        if connection.is_behind {
            self.mark_behind(key);
        }
        self.mark_dirty(key);
    }

    /// A paused connection is about to end: what waits is given up rather than sent to a client
    /// that does not want it. Gives the position before that, if something waited.
    pub(super) fn give_up_paused(&mut self, key: Key) -> Option<u64> {
        if !self.connections.get(key)?.is_paused() {
            return None;
        }
        let position = self.first_waiting(key).map(|first| first - 1);
        self.discard_backlog(key);
        self.set_paused(key, false);
        position
    }
}

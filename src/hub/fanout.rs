//! Hands events to every shard. Where one has no room, urgent events wait for it, and others
//! are held while urgent ones pass: backpressure reaches the publisher through the ingest
//! queue.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::hub::stats::HubStats;
use crate::io::Waker;
use crate::protocol::encoded::Encoded;
use crate::shard::Handle;

/// The hub's way to sleep until somebody wakes it.
pub(super) struct Parking {
    parker: Parker,
    waker: Waker,
}

impl Parking {
    pub fn new() -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        Self { parker, waker: Waker::new(move || unparker.unpark()) }
    }

    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sleeps until a wake unless `ready` says, after the hub counts as parked, that there
    /// is something to do.
    pub fn park_unless(&self, ready: impl FnOnce() -> bool) {
        /// Changes of the lifecycle come without a wake when forced.
        const LONGEST_SLEEP: Duration = Duration::from_millis(100);
        self.waker.park();
        if !ready() {
            self.parker.park_timeout(LONGEST_SLEEP);
        }
        self.waker.unpark();
    }
}

/// The shards, as the hub sees them.
pub(super) struct Fanout {
    shards: Vec<Handle>,
    /// The one event that did not find room everywhere; only urgent ones pass it.
    held: Option<Arc<Encoded>>,
    /// The shards that had no room for it.
    full: Vec<usize>,
    /// The same of an urgent one, which nothing passes.
    urgent: Option<Arc<Encoded>>,
    urgent_full: Vec<usize>,
    /// Seq of the event that was pushed last.
    newest: u64,
}

impl Fanout {
    pub fn new(shards: Vec<Handle>) -> Self {
        let (full, urgent_full) = (Vec::new(), Vec::new());
        Self { shards, held: None, full, urgent: None, urgent_full, newest: 0 }
    }

    pub fn shards(&self) -> &[Handle] {
        &self.shards
    }

    /// Queues an urgent event at every shard that has room, and holds it for the others.
    pub fn push_urgent(&mut self, event: Arc<Encoded>, stats: &HubStats) {
        debug_assert!(self.urgent.is_none());
        self.newest = event.event.seq;
        for (index, shard) in self.shards.iter().enumerate() {
            match shard.push_event(Arc::clone(&event)) {
                Ok(()) if self.full.contains(&index) => {}
                Ok(()) => shard.set_complete_to(self.newest),
                Err(_) => self.urgent_full.push(index),
            }
        }
        if !self.urgent_full.is_empty() {
            stats.inbox_waits.add(1);
            self.urgent = Some(event);
        }
    }

    /// Queues an event at every shard that has room, and holds it for the others.
    pub fn push(&mut self, event: Arc<Encoded>, stats: &HubStats) {
        debug_assert!(self.held.is_none());
        self.newest = event.event.seq;
        for (index, shard) in self.shards.iter().enumerate() {
            match shard.push_event(Arc::clone(&event)) {
                Ok(()) => shard.set_complete_to(self.newest),
                Err(_) => self.full.push(index),
            }
        }
        if !self.full.is_empty() {
            stats.inbox_waits.add(1);
            self.held = Some(event);
        }
    }

    pub fn is_holding(&self) -> bool {
        self.held.is_some() || self.is_holding_urgent()
    }

    pub fn is_holding_urgent(&self) -> bool {
        self.urgent.is_some()
    }

    /// Tries again where there was no room for an urgent event; true when none is held (any more).
    pub fn push_held_urgent(&mut self) -> bool {
        let Self { shards, urgent, urgent_full, full, newest, .. } = self;
        let Some(event) = urgent else { return true };
        urgent_full.retain(|&index| {
            let is_refused = shards[index].push_event(Arc::clone(event)).is_err();
            if !is_refused && !full.contains(&index) {
                shards[index].set_complete_to(*newest);
            }
            is_refused
        });
        if urgent_full.is_empty() {
            *urgent = None;
        }
        urgent.is_none()
    }

    /// The same for others, which come after an urgent one.
    pub fn push_held(&mut self) -> bool {
        debug_assert!(self.urgent.is_none());
        let Some(event) = &self.held else { return true };
        self.full.retain(|&index| {
            let shard = &self.shards[index];
            let is_refused = shard.push_event(Arc::clone(event)).is_err();
            if !is_refused {
                shard.set_complete_to(self.newest);
            }
            is_refused
        });
        if self.full.is_empty() {
            self.held = None;
        }
        self.held.is_none()
    }

    /// Wakes the shards that are parked.
    pub fn wake(&self) {
        self.shards.iter().for_each(Handle::wake);
    }
}

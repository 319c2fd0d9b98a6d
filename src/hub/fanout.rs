//! Hands an event to every shard, waiting where one has no room: backpressure
//! reaches the publisher through the ingest queue.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::base::lifecycle::{Lifecycle, Stage};
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
}

impl Fanout {
    pub fn new(shards: Vec<Handle>) -> Self {
        Self { shards }
    }

    /// Queues the event at every shard. Waits for one that is full until there is room or
    /// the server has stopped.
    pub fn push(
        &self,
        event: &Arc<Encoded>,
        parking: &Parking,
        lifecycle: &Lifecycle,
        stats: &HubStats,
    ) {
        for shard in &self.shards {
            let mut refused = shard.push_event(Arc::clone(event)).err();
            while let Some(event) = refused.take() {
                if lifecycle.stage() == Stage::Stopped {
                    return;
                }
                stats.inbox_waits.add(1);
                shard.wake();
                parking.park_unless(|| {
                    refused = shard.push_event(event).err();
                    refused.is_none()
                });
            }
        }
    }

    /// Wakes the shards that are parked, after a batch.
    pub fn wake(&self) {
        self.shards.iter().for_each(Handle::wake);
    }

    pub fn shards(&self) -> &[Handle] {
        &self.shards
    }
}

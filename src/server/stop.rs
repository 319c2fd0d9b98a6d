//! Ends a server, from any thread.

use crate::base::lifecycle::{Lifecycle, Stage};
use crate::io::Waker;
use crate::shard::Handle;

/// Ends a server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    lifecycle: Lifecycle,
    hub: Waker,
    shards: Vec<Handle>,
    control: tokio::sync::watch::Sender<bool>,
}

impl Stopper {
    pub(super) fn new(
        lifecycle: Lifecycle,
        hub: Waker,
        shards: Vec<Handle>,
        control: tokio::sync::watch::Sender<bool>,
    ) -> Self {
        Self { lifecycle, hub, shards, control }
    }

    /// Begins the orderly end: not ready any more, publishers refused, what was taken is
    /// delivered, clients are told and closed.
    pub fn drain(&self) {
        self.lifecycle.advance(Stage::Draining);
        self.hub.wake();
    }

    /// Ends at once, whatever is still queued.
    pub fn force(&self) {
        self.lifecycle.advance(Stage::Stopped);
        self.hub.wake();
        self.shards.iter().for_each(Handle::force);
    }

    /// The shards have ended: so do the hub and the control plane.
    pub(super) fn finish(&self) {
        self.lifecycle.advance(Stage::Stopped);
        self.hub.wake();
        // Nobody listens any more where the control plane has ended by itself.
        let _ = self.control.send(true);
    }

    pub(super) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}

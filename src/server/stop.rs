//! Ends a server, from any thread.

use std::time::Duration;

use crate::base::lifecycle::{Lifecycle, Stage};
use crate::hub::Drainer;
use crate::io::Waker;
use crate::shard::Handle;

/// Ends a server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    lifecycle: Lifecycle,
    drainer: Drainer,
    hub: Waker,
    shards: Vec<Handle>,
    control: tokio::sync::watch::Sender<bool>,
}

impl Stopper {
    pub(super) fn new(
        lifecycle: Lifecycle,
        drainer: Drainer,
        hub: Waker,
        shards: Vec<Handle>,
        control: tokio::sync::watch::Sender<bool>,
    ) -> Self {
        Self { lifecycle, drainer, hub, shards, control }
    }

    /// Begins the orderly end: not ready any more, publishers refused, what was taken is
    /// delivered, clients are told and closed one after the other.
    pub fn drain(&self) {
        self.drainer.drain(None);
    }

    /// As [`Self::drain`], with the clients told over so long instead of
    /// `server.drain_window_secs`. Of no effect once a drain has begun.
    pub fn drain_over(&self, window: Duration) {
        self.drainer.drain(Some(window));
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

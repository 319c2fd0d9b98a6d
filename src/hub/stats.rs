use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard::stats::Cell;

/// What the hub counts.
#[derive(Debug, Default)]
pub struct HubStats {
    /// Events sequenced and handed to the shards.
    pub events_published: Cell,
    /// Requests answered from the memory of idempotency keys.
    pub duplicates: Cell,
    /// Times that the hub waited for room in a shard's inbox.
    pub inbox_waits: Cell,
    /// Newest sequence number.
    pub newest_seq: Cell,
    /// Gauge: bytes of all events in the history, estimated.
    pub history_bytes: Cell,
    refused_full: AtomicU64,
    refused_draining: AtomicU64,
}

impl HubStats {
    /// Events refused because the ingest queue was full.
    pub fn refused_full(&self) -> u64 {
        self.refused_full.load(Ordering::Relaxed)
    }

    /// Events refused because the server drains.
    pub fn refused_draining(&self) -> u64 {
        self.refused_draining.load(Ordering::Relaxed)
    }

    /// Publishers of any thread count here, hence the atomic add.
    pub(super) fn count_full(&self, events: usize) {
        self.refused_full.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn count_draining(&self, events: usize) {
        self.refused_draining.fetch_add(events as u64, Ordering::Relaxed);
    }
}

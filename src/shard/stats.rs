//! What a shard counts: cells that it alone writes and anyone may read, and
//! histograms that it hands out as copies on request.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use hdrhistogram::Histogram;

/// A counter or gauge with a single writer: plain loads and stores, no locked instruction.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn add(&self, count: u64) {
        self.set(self.get() + count);
    }

    /// Gauges only.
    pub fn sub(&self, count: u64) {
        self.set(self.get().saturating_sub(count));
    }
}

/// The stats page of one shard.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// On cache lines of its own: read by scrapes and by the admission of other shards.
    cells: CachePadded<Cells>,
}

impl std::ops::Deref for ShardStats {
    type Target = Cells;

    fn deref(&self) -> &Cells {
        &self.cells
    }
}

/// Every cell is a counter unless it says gauge.
#[derive(Debug, Default)]
pub struct Cells {
    /// Gauge: connections after their handshake.
    pub connections_active: Cell,
    /// Gauge: of these, those whose clients want no events for now.
    pub connections_paused: Cell,
    /// Gauge: sockets held, handshakes included.
    pub sockets_active: Cell,
    /// Gauge: of these, those held only until they have been told that there is no room.
    pub sockets_refused: Cell,
    pub connections_opened: Cell,
    pub connections_closed: Cell,
    /// Gauge.
    pub subscriptions_active: Cell,
    pub subscriptions_added: Cell,
    pub subscriptions_removed: Cell,
    /// Messages handed to the kernel: events and answers, no control frames.
    pub messages_sent: Cell,
    pub messages_received: Cell,
    pub bytes_sent: Cell,
    pub bytes_received: Cell,
    pub events_delivered: Cell,
    /// Deliveries that a connection's filters made unnecessary.
    pub events_filtered: Cell,
    /// Events of the past that were sent to those who asked for them.
    pub events_replayed: Cell,
    /// Lanes that were full and became readers of the past, by
    /// [`crate::event::Priority::index`].
    pub overflows: [Cell; 4],
    /// Gauge: of these, those that have not met what is live.
    pub overflows_active: Cell,
    /// Connections that caught up, and those that history passed.
    pub catch_ups_done: Cell,
    pub catch_ups_lost: Cell,
    /// Told to come back, because too many wait.
    pub catch_ups_refused: Cell,
    /// Gauges: connections that catch up, and that wait for their turn.
    pub catch_ups_active: Cell,
    pub catch_ups_waiting: Cell,
    pub send_errors: Cell,
    /// Handshakes refused with an HTTP status.
    pub handshakes_refused: Cell,
    pub handshakes_timed_out: Cell,
    /// Gauge: handshakes that the shard works on.
    pub handshakes_pending: Cell,
    /// Sockets refused because it works on too many, or begins too many in a second.
    pub handshakes_too_many: Cell,
    pub handshakes_too_fast: Cell,
    /// Sockets refused because all slots were taken.
    pub connections_refused: Cell,
    /// Of one address, above what it may hold.
    pub addresses_full: Cell,
    /// Of one address, sooner than it may.
    pub addresses_too_fast: Cell,
    /// Handshakes refused for their `Origin`.
    pub origins_foreign: Cell,
    pub origins_null: Cell,
    pub origins_malformed: Cell,
    /// Connections of trusted proxies without the PROXY header that was expected.
    pub proxy_headers_refused: Cell,
    /// Connections ended for breaking RFC 6455 (1002, 1003, 1007, 1009).
    pub protocol_errors: Cell,
    /// Connections lost without a close handshake.
    pub connections_reset: Cell,
    pub heartbeats_missed: Cell,
    pub idle_timeouts: Cell,
    pub write_timeouts: Cell,
    pub slow_consumers_closed: Cell,
    /// Connections that an operator ended.
    pub dismissed: Cell,
    /// Events shed from lanes, by [`crate::event::Priority::index`].
    pub events_shed: [Cell; 4],
    /// Events in whose place a newer one was queued, by the same.
    pub events_conflated: [Cell; 4],
    /// Events that were counted for a client instead of sent, by the same.
    pub events_collapsed: [Cell; 4],
    /// Messages of several events.
    pub batches_sent: Cell,
    /// Turns in which all backlogs together were above their budget.
    pub budget_exceeded: Cell,
    /// Messages answered by `error RATE_LIMITED`.
    pub messages_rate_limited: Cell,
    /// Connections closed with 4029, by [`Excess::index`].
    pub rate_limited_closed: [Cell; 3],
    /// Messages that were begun and not completed in time; their connection was closed.
    pub message_timeouts: Cell,
    /// Connections closed because incomplete messages together took too much memory.
    pub partial_messages_closed: Cell,
    /// Handlers that panicked; their connection was closed with 1011.
    pub handler_panics: Cell,
    pub accept_errors: Cell,
    /// Receives that found no free buffer and were pushed again.
    pub receive_buffers_exhausted: Cell,
    /// Gauge: events and requests in the inbox at the start of the last turn.
    pub inbox_depth: Cell,
    /// Gauge: bytes that wait in all outboxes.
    pub outbox_bytes: Cell,
    pub turns: Cell,
    pub turn_nanos: Cell,
    /// Longest turn so far, in nanoseconds.
    pub turn_nanos_max: Cell,
}

/// What a connection sent too much of, to be closed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Messages that were refused already.
    Messages,
    Frames,
    Bytes,
}

impl Excess {
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Cells {
    /// Sockets that count towards the limit of connections.
    pub fn sockets_admitted(&self) -> u64 {
        // Read one after the other while the shard writes: never below zero.
        self.sockets_active.get().saturating_sub(self.sockets_refused.get())
    }
}

/// Copies of a shard's histograms; nanoseconds.
#[derive(Clone, Debug)]
pub struct Histograms {
    /// From the hub's acceptance of an event to the moment the kernel took it for a
    /// connection, by priority: critical, high, normal, low.
    pub delivery: [Histogram<u64>; 4],
    /// Length of ended sessions.
    pub session: Histogram<u64>,
    /// Length of turns, waiting excluded.
    pub turn: Histogram<u64>,
}

impl Histograms {
    pub fn new() -> Self {
        let latency =
            || Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("valid bounds");
        Self {
            delivery: [latency(), latency(), latency(), latency()],
            session: Histogram::new_with_bounds(1_000_000, 31 * 24 * 3_600_000_000_000, 2)
                .expect("valid bounds"),
            turn: latency(),
        }
    }

    /// Adds another shard's measurements to these.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.delivery.iter_mut().zip(&other.delivery) {
            mine.add(theirs).expect("same bounds");
        }
        self.session.add(&other.session).expect("same bounds");
        self.turn.add(&other.turn).expect("same bounds");
    }
}

impl Default for Histograms {
    fn default() -> Self {
        Self::new()
    }
}

use std::sync::Arc;

use crate::queue;
use crate::session::Timing;
use crate::session::rate::Rate;
use crate::shard::admission::Admission;
use crate::shard::handshakes::HandshakeLimits;
use crate::shard::places::CatchUpLimits;
use crate::shard::stats::ShardStats;
use crate::ws;

/// What a shard must know at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sockets that this shard can hold: the size of its driver's table.
    pub sockets_max: u32,
    /// Connections that all shards together may hold.
    pub connections_max: usize,
    pub admission: Admission,
    pub handshakes: HandshakeLimits,
    pub catch_up: CatchUpLimits,
    /// Accepts that are kept outstanding.
    pub accepts: u32,
    pub outbox: queue::Limits,
    /// Bytes that the backlogs of all connections of this shard may take together.
    pub backlog_bytes_max: usize,
    /// Bytes gathered into one send; a larger frame is sent alone.
    pub send_bytes_max: usize,
    pub message: ws::Limits,
    pub intake: Intake,
    pub timing: Timing,
    /// Retry-After of a refused connection, on average.
    pub retry_after_secs: u32,
    /// Deliveries in one turn before the flush gets its chance.
    pub turn_deliveries_max: usize,
    /// Sends in one turn before completions are looked at again.
    pub turn_sends_max: usize,
    /// The stats pages of all shards, this one's included: their sum decides admission.
    pub all_stats: Vec<Arc<ShardStats>>,
}

/// What clients may send, whatever it is. Beyond a rate a connection is closed.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// Frames of one connection: pings, pongs, fragments and whole messages.
    pub frames: Rate,
    /// Bytes received of one connection, after its handshake.
    pub bytes: Rate,
    /// Bytes that incomplete messages of all connections of this shard may take together.
    pub partial_bytes_max: usize,
}

impl Intake {
    /// No limits.
    pub const UNLIMITED: Self =
        Self { frames: Rate::UNLIMITED, bytes: Rate::UNLIMITED, partial_bytes_max: usize::MAX };
}

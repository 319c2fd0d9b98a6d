//! What a run with slow subscribers showed; serialised as the result of `--json`.

use serde::{Deserialize, Serialize};

use crate::priority::ByPriority;
use crate::series::Series;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowOutcome {
    /// Everything is accounted for, in the right order.
    pub ok: bool,
    /// What is not, in words.
    pub complaints: Vec<String>,
    /// Of the mix of priorities.
    pub seed: u64,
    pub event_bytes: usize,
    pub fast: Fast,
    pub slow: Vec<Slow>,
    /// The same flood without slow subscribers, with them, and without them again.
    pub before: Flood,
    pub during: Flood,
    pub after: Flood,
    /// Events per second with slow subscribers, to those without (the mean of before and after).
    pub rate_ratio: f64,
    /// How long requests took until every fast subscriber had all their events, by flood.
    #[serde(skip)]
    pub series: Vec<Series>,
}

/// The fast subscribers, all together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fast {
    pub connections: usize,
    /// For each of them.
    pub published: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub out_of_order: u64,
    /// By how much the counts of each priority differ from what was published.
    pub not_as_published: u64,
}

/// One slow subscriber.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    pub published: ByPriority<u64>,
    pub delivered: ByPriority<u64>,
    /// As the server told.
    pub dropped: ByPriority<u64>,
    pub notices: u64,
    pub lost: Lost,
    pub behind: Behind,
    /// Bytes that it read a second during the flood.
    pub bytes_per_second: f64,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// Shares of what was published that did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    pub low: f64,
    pub normal: f64,
    pub high: f64,
}

/// What critical events waited behind, from the publisher's answer on. Bytes of less urgent
/// events; notices and other critical events are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// How many were measured.
    pub criticals: u64,
    /// In all: what the client had not read.
    pub bytes_max: u64,
    /// Of those, what had not reached the client's kernel: the server's part.
    pub unsent_bytes_max: u64,
    /// What the client's kernel held: its SO_RCVBUF bounds it.
    pub client_kernel_bytes_max: u64,
    /// What the server's kernel held.
    pub server_kernel_bytes_max: u64,
}

/// A flood, as fast as the fast subscribers take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flood {
    pub events: u64,
    pub seconds: f64,
    pub per_second: f64,
    /// From a request's start until every fast subscriber has all its events, in µs.
    pub request_p50_us: u64,
    pub request_p99_us: u64,
    /// User and system time of the server; absent unless its process is known.
    pub server_cpu_us_per_event: Option<f64>,
}

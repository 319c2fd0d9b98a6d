//! What a fan-out run showed; serialised as the result of `--json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::priority::ByPriority;
use crate::series::Series;
use crate::tally::Endings;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Nothing is missing of what was asked for.
    pub ok: bool,
    /// What is, in words.
    pub complaints: Vec<String>,
    pub connections: Connections,
    pub publishing: Publishing,
    pub deliveries: Deliveries,
    /// From the moment that an event was due to each delivery.
    pub latency_us: Latency,
    /// Absent unless events of other priorities were published among the low ones.
    #[serde(default)]
    pub priorities: Option<Priorities>,
    /// Absent unless the server's process is known.
    pub server: Option<Server>,
    /// Absent unless a drain was expected.
    pub drain: Option<Drain>,
    /// Errors the server reported to subscribed connections, by code.
    pub errors: BTreeMap<String, u64>,
    /// Why connections were given up or broke, by reason.
    pub failures: BTreeMap<String, u64>,
    /// By event, from the first, the time from due to its slowest delivery; zero where it was not
    /// measured. None where losses are told.
    #[serde(skip)]
    pub slowest_us: Vec<u32>,
    /// Latencies by priority, from due; they go to files of their own.
    #[serde(skip)]
    pub series: Vec<Series>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    pub asked: u32,
    pub subscribed: u64,
    pub failed: u64,
    /// Subscribed, and ended unasked.
    pub lost: u64,
    pub processes: usize,
    /// From the first attempt until the last connection was subscribed.
    pub seconds: f64,
    pub per_second: f64,
    /// Attempts that were repeated, by reason.
    pub retries: BTreeMap<String, u64>,
    /// From the server, all answered.
    #[serde(default)]
    pub pings: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Publishing {
    pub events: u32,
    /// Events per second, as asked for.
    pub rate: f64,
    pub event_bytes: usize,
    pub accepted: u32,
    pub refused: BTreeMap<String, u64>,
    /// How often the server asked to wait.
    pub waits: u64,
    /// Until the last answer.
    pub seconds: f64,
    /// From due to answered.
    pub answer_p50_us: u64,
    pub answer_p99_us: u64,
    /// Why publishing ended before all events were out.
    pub failure: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// Events accepted, times connections subscribed.
    pub expected: u64,
    pub delivered: u64,
    pub missing: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub seq_not_rising: u64,
    pub seq_gaps: u64,
    /// Events of other publishers.
    pub foreign: u64,
    pub other_messages: u64,
    /// From the first event's due time to the last delivery.
    pub seconds: f64,
    pub per_second: f64,
    /// What the load tester's own workers took meanwhile, all together: near one second a
    /// second and process, they are what was measured.
    pub client_cpu_seconds: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

/// Events of several priorities at the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Priorities {
    /// Of those that were published.
    pub lanes: ByPriority<Option<Lane>>,
    /// The p99 of critical events to that of low ones, both from due.
    pub p99_ratio: f64,
}

/// One priority, over all connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub publishing: Publishing,
    pub delivered: u64,
    /// As the server told.
    pub dropped: u64,
    /// By how much these two differ from what was accepted, summed over connections.
    pub unaccounted: u64,
    /// From the moment that an event was due.
    pub due_us: Latency,
    /// From the moment that its request was made, the last one where the server asked to wait.
    pub sent_us: Latency,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// User and system time of the whole process while the events went out, warm-up aside.
    pub cpu_seconds: f64,
    pub cpu_us_per_delivery: f64,
    /// What of it was in user space. The kernel splits by sampling: a share, not a measurement.
    pub user_us_per_delivery: f64,
    /// While connections were opened.
    pub cpu_us_per_connect: f64,
    pub rss_bytes_before: u64,
    /// With all connections subscribed, before the first event.
    pub rss_bytes_idle: u64,
    pub rss_bytes_after: u64,
    /// What `rss_bytes_idle` is above `rss_bytes_before`, for each connection.
    pub rss_bytes_per_connection: f64,
    /// While all connections were open.
    pub descriptors: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Subscribed connections that were still open when the drain was awaited.
    pub expected: u64,
    /// From then until the last connection had ended.
    pub seconds: f64,
    pub endings: Endings,
}

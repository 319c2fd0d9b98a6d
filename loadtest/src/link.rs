//! What the parent and its workers tell each other, one JSON document a line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::encodings::Encodings;
use crate::filters::Filters;
use crate::priority::ByPriority;
use crate::tally::Tally;
use crate::target::Target;
use crate::template::Subscribe;

/// To a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Comes first, and once: open these connections.
    Begin(Box<Plan>),
    /// From now on the server is meant to end connections; before, each that it ends is lost.
    Drain,
    /// Count up and end. What is missing is judged by the number of events published.
    /// Where losses are told, the number of each priority counts instead.
    Finish { published: u32, by_priority: ByPriority<u64> },
}

/// One worker's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub target: Target,
    pub run: u64,
    pub connections: u32,
    /// The number of its first connection among those of all workers.
    pub first: u32,
    /// Attempts to connect that may be under way at once.
    pub window: u32,
    /// Attempts for each connection.
    pub attempts: u32,
    /// From connecting to `subscribed`, in milliseconds.
    pub handshake_timeout_ms: u64,
    pub filters: Filters,
    /// Ask for the protocol by name: the server may drop events then, and tells so.
    pub hears_losses: bool,
    pub encodings: Encodings,
    /// Of each connection; 1 at least.
    pub subscriptions: u32,
    /// Events of each priority, from the first, whose latencies do not count.
    pub warm_up: ByPriority<u32>,
    /// How connections subscribe at a server that is not Alarmcast.
    pub subscribe: Option<Subscribe>,
    /// SO_RCVBUF; absent: the kernel's choice.
    pub receive_buffer: Option<usize>,
    /// Local addresses and ports to connect from; empty: the kernel chooses.
    pub sources: Vec<PortRange>,
}

/// Ports of one local address, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub source: IpAddr,
    pub first: u16,
    pub last: u16,
}

/// From a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Progress(Progress),
    /// Comes last.
    Done(Box<Tally>),
    /// The crowd cannot run.
    Broken {
        why: String,
    },
}

/// How far a crowd is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Connections that were subscribed, whether they still are or not.
    pub subscribed: u64,
    /// Connections that were given up before.
    pub failed: u64,
    /// Subscribed connections that have ended.
    pub ended: u64,
    /// Events that came or were told as lost.
    pub deliveries: u64,
    /// When the last connection was subscribed or given up; zero before.
    pub settled_ns: u64,
    /// When the last event came; zero before.
    pub delivered_ns: u64,
    /// One for a worker that knows of the drain.
    pub draining: u64,
    /// User and system time of the worker so far, in µs.
    pub cpu_us: u64,
}

impl Progress {
    /// Adds another crowd's.
    pub fn merge(&mut self, other: Self) {
        self.subscribed += other.subscribed;
        self.failed += other.failed;
        self.ended += other.ended;
        self.deliveries += other.deliveries;
        self.settled_ns = self.settled_ns.max(other.settled_ns);
        self.delivered_ns = self.delivered_ns.max(other.delivered_ns);
        self.draining += other.draining;
        self.cpu_us += other.cpu_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_tally_survives_the_way_to_the_parent() {
        let mut tally = Tally { subscribed: 3, latency_us: vec![(5, 2)], ..Tally::default() };
        tally.endings.close_codes = BTreeMap::from([(0, 1), (1001, 2)]);
        let report = Report::Done(Box::new(tally));
        let line = serde_json::to_string(&report).expect("a report is JSON");
        assert_eq!(serde_json::from_str::<Report>(&line).expect("its own JSON"), report);
    }
}

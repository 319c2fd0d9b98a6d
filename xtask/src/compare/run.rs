//! One server under the load, once.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use super::Arguments;
use super::contenders::Contender;
use super::machine::{Cores, process_ticks, ticks};
use super::server::Server;
use super::tester::{self, Scenario};
use crate::Result;
use crate::context::Context;

/// What is put on every server.
pub struct Load {
    connections: u32,
    /// Per second.
    events: f64,
    seconds: u32,
    event_bytes: u32,
    shards: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: &'static str,
    pub round: u32,
    /// CPU time of the server per delivery, in µs.
    pub user_us: f64,
    pub system_us: f64,
    /// From the moment an event was due to its delivery, in ms.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Resident memory for each connection.
    pub rss_bytes: f64,
    /// Share of the machine's CPU time that neither of the two took.
    pub others: f64,
    /// What was not as it should be.
    pub complaints: Vec<String>,
}

impl Run {
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

impl Load {
    pub fn new(arguments: &Arguments) -> Self {
        Self {
            connections: arguments.connections,
            events: f64::from(arguments.deliveries_per_second) / f64::from(arguments.connections),
            seconds: arguments.seconds,
            event_bytes: arguments.event_bytes,
            shards: arguments.shards,
        }
    }

    /// Starts the server, measures it, and ends it.
    pub fn put_on(
        &self,
        context: &Context,
        contender: &Contender,
        cores: &Cores,
        round: u32,
    ) -> Result<Run> {
        let start = (contender.start)(context, self.shards)?;
        let server = Server::start(context, cores.server_prefix(), start)?;
        let before = (ticks()?, process_ticks(server.child.id())?);
        let (outcome, tester_ticks) = self.measure(context, contender, cores, &server)?;
        let after = (ticks()?, process_ticks(server.child.id())?);
        let ours = after.1 - before.1 + tester_ticks;
        let others = (after.0.busy - before.0.busy).saturating_sub(ours) as f64
            / (after.0.all - before.0.all).max(1) as f64;
        Ok(Run { name: contender.name, round, others, ..read(&outcome)? })
    }

    /// Runs the load tester; its result and what it took of the CPU.
    fn measure(
        &self,
        context: &Context,
        contender: &Contender,
        cores: &Cores,
        server: &Server,
    ) -> Result<(Value, u64)> {
        let events = (self.events * f64::from(self.seconds)).ceil().max(1.0);
        let numbers = [
            ("--connections", f64::from(self.connections)),
            ("--events", events),
            ("--rate", self.events),
            ("--event-bytes", f64::from(self.event_bytes)),
        ];
        let scenario = Scenario { name: "fanout", flags: &numbers, output: None };
        tester::run(context, contender, cores, server, scenario)
    }
}

impl Display for Load {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { connections, events, seconds, event_bytes, shards } = self;
        let deliveries = f64::from(*connections) * events;
        write!(
            f,
            "{connections} connections, {events} events/s of {event_bytes} bytes for {seconds} s: \
             {deliveries} deliveries/s; --shards {shards}"
        )
    }
}

/// The figures of a load tester's result.
fn read(outcome: &Value) -> Result<Run> {
    let number = |pointer: &str| {
        let value = outcome.pointer(pointer).and_then(Value::as_f64);
        value.ok_or_else(|| format!("the load tester's result has no {pointer}"))
    };
    let user_us = number("/server/user_us_per_delivery")?;
    let complaints = outcome["complaints"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Run {
        user_us,
        system_us: number("/server/cpu_us_per_delivery")? - user_us,
        p50_ms: number("/latency_us/p50")? / 1e3,
        p99_ms: number("/latency_us/p99")? / 1e3,
        rss_bytes: number("/server/rss_bytes_per_connection")?,
        complaints: complaints.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        ..Run::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_read_from_the_load_testers_result() {
        let outcome = json!({
            "complaints": ["1 deliveries are missing"],
            "latency_us": {"p50": 1500, "p99": 2500},
            "server": {"cpu_us_per_delivery": 5.0, "user_us_per_delivery": 1.0,
                "rss_bytes_per_connection": 500.0},
        });
        let run = read(&outcome).unwrap();
        assert_eq!((run.user_us, run.system_us, run.cpu_us()), (1.0, 4.0, 5.0));
        assert_eq!((run.p50_ms, run.p99_ms, run.rss_bytes), (1.5, 2.5, 500.0));
        assert_eq!(run.complaints, ["1 deliveries are missing"]);
        assert!(read(&json!({"server": null})).is_err());
    }
}

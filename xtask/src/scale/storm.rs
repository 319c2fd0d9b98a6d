//! Connections that come, are cut off at once, and come back with `resume`, while all others stay.

use std::process::Stdio;

use serde_json::Value;

use crate::Result;
use crate::command::command;
use crate::compare::server::{Guard, Server};
use crate::compare::tester;
use crate::context::Context;

/// One process of the load tester has descriptors for so many.
const CONNECTIONS_PER_PROCESS: u32 = 17_000;
/// Subscribers of each process that go on receiving.
const LIVE: u32 = 20;
/// Of the storm's own events, before the cut and after.
const DELIVERIES_PER_SECOND: f64 = 60_000.0;

/// What came of it, all processes together.
#[derive(Debug, Default, PartialEq)]
pub struct Storm {
    pub connections: u64,
    /// From the first cut until the last one had caught up, as far as one process can tell.
    pub back_seconds: f64,
    pub replayed: u64,
    /// Events that a connection did not get, or got twice.
    pub missing: u64,
    pub twice: u64,
    /// What the load tester had to say beside that.
    pub complaints: Vec<String>,
}

impl Storm {
    /// Has so many come and go.
    ///
    /// # Errors
    /// When a process says nothing.
    pub fn run(context: &Context, server: &Server, connections: u32) -> Result<Self> {
        let processes = connections.div_ceil(CONNECTIONS_PER_PROCESS);
        let each = connections.div_ceil(processes);
        let rate = DELIVERIES_PER_SECOND / f64::from(connections) / f64::from(processes);
        let running: Vec<Guard> = (0..processes)
            .map(|number| {
                // The others have taken ports of 127.0.0.2 and on.
                start(context, server, &format!("127.0.1.{}", number + 1), each, rate)
            })
            .collect::<Result<_>>()?;
        let mut all = Self::default();
        for mut process in running {
            let said = tester::everything_said(&mut process)?;
            all.add(&tester::outcome(process, &said)?);
        }
        Ok(all)
    }

    fn add(&mut self, outcome: &Value) {
        let count = |key: &str| outcome[key].as_u64().unwrap_or(0);
        self.connections += count("connections");
        self.replayed += count("replayed");
        self.missing += count("holes") + count("behind");
        self.twice += count("duplicates");
        self.back_seconds =
            self.back_seconds.max(outcome["back_seconds"].as_f64().unwrap_or(f64::INFINITY));
        let complaints = outcome["complaints"].as_array().map(Vec::as_slice).unwrap_or_default();
        for complaint in complaints.iter().filter_map(Value::as_str) {
            // Most are of several processes.
            if !self.complaints.iter().any(|known| known == complaint) {
                self.complaints.push(complaint.to_owned());
            }
        }
    }
}

fn start(
    context: &Context,
    server: &Server,
    source: &str,
    connections: u32,
    rate: f64,
) -> Result<Guard> {
    let mut storm = command(context, tester::program(context));
    storm.args(["storm", "--json", "--url", &server.stream, "--control", &server.control]);
    storm.args(["--connections", &connections.to_string(), "--live", &LIVE.to_string()]);
    storm.args(["--source-addresses", source]);
    storm.args(["--rate", &rate.to_string(), "--before", "20", "--limit", "60"]);
    storm.stdout(Stdio::piped());
    storm.spawn().map(Guard).map_err(|error| format!("the load tester: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn processes_are_added_up_and_the_last_one_back_counts() {
        let outcome = |back: f64, holes: u64, complaints: &[&str]| {
            json!({
                "connections": 10, "replayed": 7, "holes": holes, "behind": 1, "duplicates": 2,
                "back_seconds": back, "complaints": complaints,
            })
        };
        let mut all = Storm::default();
        all.add(&outcome(2.5, 3, &["late"]));
        all.add(&outcome(1.5, 0, &["late"]));
        let expected = Storm {
            connections: 20,
            back_seconds: 2.5,
            replayed: 14,
            missing: 5,
            twice: 4,
            complaints: vec!["late".to_owned()],
        };
        assert_eq!(all, expected);
    }
}

//! The rows of the table, each with the runs that it consists of.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::compare::contenders::{Contender, Dialect};
use crate::compare::machine::Cores;
use crate::compare::server::Server;
use crate::compare::tester::{self, Scenario};
use crate::context::Context;

/// Deliveries per second at which cost is measured.
const COST_RATE: f64 = 100_000.0;
const COST_SECONDS: f64 = 6.0;
const COST_ROUNDS: u32 = 3;
/// Rows whose results make a plot of cost.
pub const COST_ROWS: [&str; 2] = ["cost-1k", "cost-10k"];
/// The row whose result makes a plot of priorities.
pub const LANES_ROW: &str = "lanes";
/// Millions of deliveries per second that are tried.
const RATES: [f64; 12] = [0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0];
const RATE_SECONDS: f64 = 3.0;

/// What all runs need.
pub struct Bench<'a> {
    pub context: &'a Context,
    pub cores: Cores,
    /// Where results are kept.
    pub output: Option<PathBuf>,
}

/// Some figures that come of the same runs.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub figures: &'static [Figure],
    /// Of Alarmcast alone: the others have nothing of the kind.
    is_ours: bool,
    /// How often it is measured; the table has medians.
    pub rounds: u32,
    /// In a round.
    pub measure: fn(&Bench<'_>, &Contender, round: u32) -> Result<Vec<f64>>,
}

/// A number as the table shows it.
pub struct Figure {
    pub title: &'static str,
    pub decimals: usize,
}

const fn figure(title: &'static str, decimals: usize) -> Figure {
    Figure { title, decimals }
}

pub const ROWS: &[Row] = &[
    Row {
        name: COST_ROWS[0],
        about: "1,000 clients, 100,000 deliveries/s: CPU per delivery, latency",
        figures: &[
            figure("CPU µs per delivery, 1,000 clients", 2),
            figure("of that in user space", 2),
            figure("p99 ms", 1),
        ],
        is_ours: false,
        rounds: COST_ROUNDS,
        measure: |bench, server, round| {
            cost(bench, server, COST_ROWS[0], round, 1_000.0).map(|all| all[..3].to_vec())
        },
    },
    Row {
        name: COST_ROWS[1],
        about: "10,000 clients, 100,000 deliveries/s: the same, memory, connects",
        figures: &[
            figure("CPU µs per delivery, 10,000 clients", 2),
            figure("of that in user space", 2),
            figure("p99 ms", 1),
            figure("bytes of resident memory per connection", 0),
            figure("connects/s, subscribed", 0),
            figure("CPU µs per connect", 0),
        ],
        is_ours: false,
        rounds: COST_ROUNDS,
        measure: |bench, server, round| cost(bench, server, COST_ROWS[1], round, 10_000.0),
    },
    Row {
        name: "rate-1k",
        about: "1,000 clients: the highest rate tried with p99 within 100 ms",
        figures: &[figure("millions of deliveries/s with p99 ≤ 100 ms, 1,000 clients", 2)],
        is_ours: false,
        rounds: 1,
        measure: |bench, server, _| highest_rate(bench, server, 1_000.0, 100.0),
    },
    Row {
        name: "rate-10k",
        about: "10,000 clients: the highest rate tried with p99 within 250 ms",
        figures: &[figure("millions of deliveries/s with p99 ≤ 250 ms, 10,000 clients", 2)],
        is_ours: false,
        rounds: 1,
        measure: |bench, server, _| highest_rate(bench, server, 10_000.0, 250.0),
    },
    Row {
        name: "priorities",
        about: "10,000 clients, low events saturating the server: latency of critical ones",
        figures: &[
            figure("critical p99 ms while low events saturate 10,000 clients", 0),
            figure("low p99 ms", 0),
            figure("critical to low", 3),
        ],
        is_ours: true,
        rounds: 1,
        measure: |bench, server, _| priorities(bench, server),
    },
    Row {
        name: LANES_ROW,
        about: "10,000 clients, four priorities in two encodings, too many low ones: latency of each",
        figures: &[
            figure("p99 ms of four priorities, saturated by low ones: critical", 0),
            figure("high", 0),
            figure("normal", 0),
            figure("low", 0),
        ],
        is_ours: true,
        rounds: 1,
        measure: |bench, server, _| lanes(bench, server),
    },
    Row {
        name: "filters",
        about: "10,000 clients with as many filters, 1 % matching, to one filter",
        figures: &[figure("cost of 10,000 filters, to one", 2)],
        is_ours: true,
        rounds: 1,
        measure: |bench, server, _| filters(bench, server),
    },
    Row {
        name: "publish",
        about: "from a request to its answer, events/s of one publisher and of batches, CPU per event",
        figures: &[
            figure("publish to answer p50 ms, one event a request", 2),
            figure("p99 ms", 2),
            figure("events/s of one publisher, one event a request, one subscriber", 0),
            figure("events/s, requests of 200", 0),
            figure("CPU µs per event of those", 2),
        ],
        is_ours: true,
        rounds: 1,
        measure: |bench, server, _| publish(bench, server),
    },
];

impl Row {
    pub fn is_for(&self, server: &Contender) -> bool {
        !self.is_ours || matches!(server.name, "uring" | "epoll")
    }

    pub fn in_words(&self, figures: &[f64]) -> String {
        let each = self.figures.iter().zip(figures);
        let each = each.map(|(it, figure)| format!("{}: {figure:.*}", it.title, it.decimals));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Bench<'_> {
    /// One scenario against a server that was started for it.
    fn run(&self, server: &Contender, name: &str, flags: &[(&str, f64)]) -> Result<Value> {
        self.run_scenario(server, Scenario { name, flags, output: None })
    }

    /// The same, and the result is kept under the name of a row.
    fn run_kept(
        &self,
        server: &Contender,
        (row, round): (&str, u32),
        name: &str,
        flags: &[(&str, f64)],
    ) -> Result<Value> {
        let folder = self.output.as_ref().map(|output| kept(output, row, round, server.name));
        self.run_scenario(server, Scenario { name, flags, output: folder.as_deref() })
    }

    fn run_scenario(&self, server: &Contender, scenario: Scenario<'_>) -> Result<Value> {
        let start = (server.start)(self.context, 1)?;
        let running = Server::start(self.context, self.cores.server_prefix(), start)?;
        let outcome = tester::run(self.context, server, &self.cores, &running, scenario);
        outcome.map(|(outcome, _)| outcome)
    }
}

/// Where a row's result of a server is, below `output`.
pub fn kept(output: &Path, row: &str, round: u32, server: &str) -> PathBuf {
    output.join("runs").join(format!("{row}-{server}-{round}"))
}

fn cost(
    bench: &Bench<'_>,
    server: &Contender,
    row: &str,
    round: u32,
    connections: f64,
) -> Result<Vec<f64>> {
    let flags = fanout(server, connections, COST_RATE, COST_SECONDS);
    let outcome = bench.run_kept(server, (row, round), "fanout", &flags)?;
    refuse_complaints(&outcome)?;
    [
        ("/server/cpu_us_per_delivery", 1.0),
        ("/server/user_us_per_delivery", 1.0),
        ("/latency_us/p99", 1e3),
        ("/server/rss_bytes_per_connection", 1.0),
        ("/connections/per_second", 1.0),
        ("/server/cpu_us_per_connect", 1.0),
    ]
    .into_iter()
    .map(|(pointer, divisor)| Ok(number(&outcome, pointer)? / divisor))
    .collect()
}

/// The highest rate tried that holds; one that was missed by little, or by what is not latency, is
/// tried once more: the machine may have been busy with something else.
fn highest_rate(
    bench: &Bench<'_>,
    server: &Contender,
    connections: f64,
    p99_ms_max: f64,
) -> Result<Vec<f64>> {
    const LITTLE: f64 = 2.0;
    let try_once = |rate: f64| -> Result<Tried> {
        let flags = fanout(server, connections, rate * 1e6, RATE_SECONDS);
        let outcome = bench.run(server, "fanout", &flags)?;
        let p99_ms = number(&outcome, "/latency_us/p99")? / 1e3;
        let complaints = refuse_complaints(&outcome);
        let said = complaints.as_ref().err().map_or("", String::as_str);
        eprintln!("  {:<28} {rate:.2} M/s: p99 {p99_ms:.0} ms {said}", server.name);
        Ok(Tried {
            holds: complaints.is_ok() && p99_ms <= p99_ms_max,
            is_near: p99_ms <= LITTLE * p99_ms_max,
        })
    };
    let highest = search(|rate| {
        let first = try_once(rate)?;
        Ok(first.holds || (first.is_near && try_once(rate)?.holds))
    });
    Ok(vec![highest?])
}

/// A rate, once.
struct Tried {
    holds: bool,
    is_near: bool,
}

/// Goes up the rates until one does not hold, then halves what is between. Never far beyond what a
/// server can do: such a run lasts until it has done it.
fn search(mut holds: impl FnMut(f64) -> Result<bool>) -> Result<f64> {
    // So many hold, and from here none does.
    let (mut held, mut open) = (0, RATES.len());
    while held < open {
        let is_missed = open < RATES.len();
        let tried =
            if is_missed { held.midpoint(open) } else { (held + held / 3 + 1).min(open - 1) };
        if holds(RATES[tried])? {
            held = tried + 1;
        } else {
            open = tried;
        }
    }
    Ok(held.checked_sub(1).map_or(0.0, |highest| RATES[highest]))
}

fn fanout(
    server: &Contender,
    connections: f64,
    deliveries: f64,
    seconds: f64,
) -> Vec<(&'static str, f64)> {
    let rate = deliveries / connections;
    let events = (rate * seconds).ceil();
    let mut flags = vec![("--connections", connections), ("--events", events), ("--rate", rate)];
    if server.dialect != Dialect::Alarmcast {
        // What does not come at all is not waited for as long as by default.
        flags.push(("--quiet", 2.0));
    }
    flags
}

fn priorities(bench: &Bench<'_>, server: &Contender) -> Result<Vec<f64>> {
    let numbers = [
        ("--connections", 10_000.0),
        ("--events", 2_400.0),
        ("--rate", 600.0),
        ("--criticals", 20.0),
        ("--critical-rate", 5.0),
        ("--receive-buffer", 65_536.0),
    ];
    let outcome = bench.run(server, "priorities", &numbers)?;
    refuse_complaints(&outcome)?;
    let critical = number(&outcome, "/priorities/lanes/critical/due_us/p99")? / 1e3;
    let low = number(&outcome, "/priorities/lanes/low/due_us/p99")? / 1e3;
    Ok(vec![critical, low, critical / low])
}

fn lanes(bench: &Bench<'_>, server: &Contender) -> Result<Vec<f64>> {
    let flags = [
        ("--connections", 10_000.0),
        ("--events", 2_400.0),
        ("--rate", 400.0),
        ("--receive-buffer", 65_536.0),
    ];
    let outcome = bench.run_kept(server, (LANES_ROW, 1), "mixed", &flags)?;
    refuse_complaints(&outcome)?;
    ["critical", "high", "normal", "low"]
        .iter()
        .map(|lane| Ok(number(&outcome, &format!("/priorities/lanes/{lane}/due_us/p99"))? / 1e3))
        .collect()
}

fn filters(bench: &Bench<'_>, server: &Contender) -> Result<Vec<f64>> {
    let numbers = [("--connections", 10_000.0), ("--events", 1_200.0), ("--rate", 400.0)];
    let outcome = bench.run(server, "filtered", &numbers)?;
    refuse_complaints(&outcome)?;
    Ok(vec![number(&outcome, "/costs/0/to_one")?])
}

fn publish(bench: &Bench<'_>, server: &Contender) -> Result<Vec<f64>> {
    let one = [("--connections", 1.0), ("--events", 2_000.0), ("--rate", 500.0)];
    let one = bench.run(server, "fanout", &one)?;
    refuse_complaints(&one)?;
    let flood = |events: f64, batch: f64| {
        let flags = [("--events", events), ("--criticals", 1.0), ("--fast", 1.0), ("--slow", 0.0)];
        let outcome = bench.run(server, "slow", &[&flags[..], &[("--batch", batch)]].concat())?;
        refuse_complaints(&outcome).map(|()| outcome)
    };
    let (singly, many) = (flood(20_000.0, 1.0)?, flood(300_000.0, 200.0)?);
    Ok(vec![
        number(&one, "/publishing/answer_p50_us")? / 1e3,
        number(&one, "/publishing/answer_p99_us")? / 1e3,
        number(&singly, "/during/per_second")?,
        number(&many, "/during/per_second")?,
        number(&many, "/during/server_cpu_us_per_event")?,
    ])
}

fn number(outcome: &Value, pointer: &str) -> Result<f64> {
    let value = outcome.pointer(pointer).and_then(Value::as_f64);
    value.ok_or_else(|| format!("the load tester's result has no {pointer}"))
}

/// A figure of a run in which something was missing is none.
fn refuse_complaints(outcome: &Value) -> Result {
    let complaints = outcome["complaints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let complaints: Vec<_> = complaints.iter().filter_map(Value::as_str).collect();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rate_is_found_without_a_try_far_beyond_it() {
        for highest in [0.0].into_iter().chain(RATES) {
            let mut tried = Vec::new();
            let found = search(|rate| {
                tried.push(rate);
                Ok(rate <= highest)
            });
            assert_eq!(found, Ok(highest), "tried {tried:?}");
            assert!(tried.len() <= 6, "{tried:?} for {highest}");
            assert!(tried.iter().all(|&rate| rate <= 4.0 * highest.max(0.05)), "{tried:?}");
        }
    }
}

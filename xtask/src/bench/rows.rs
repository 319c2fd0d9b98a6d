//! The rows of the table, each with the runs that it consists of.

use serde_json::Value;

use crate::Result;
use crate::compare::contenders::{Contender, Dialect};
use crate::compare::machine::Cores;
use crate::compare::server::Server;
use crate::compare::tester;
use crate::context::Context;

/// Deliveries per second at which cost is measured.
const COST_RATE: f64 = 100_000.0;
const COST_SECONDS: f64 = 6.0;
/// Millions of deliveries per second that are tried.
const RATES: [f64; 12] = [0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0];
const RATE_SECONDS: f64 = 3.0;

/// What all runs need.
pub struct Bench<'a> {
    pub context: &'a Context,
    pub cores: Cores,
}

/// Some figures that come of the same runs.
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub figures: &'static [Figure],
    /// Of Alarmcast alone: the others have nothing of the kind.
    is_ours: bool,
    pub measure: fn(&Bench<'_>, &Contender) -> Result<Vec<f64>>,
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
        name: "cost-1k",
        about: "1,000 clients, 100,000 deliveries/s: CPU per delivery, latency",
        figures: &[
            figure("CPU µs per delivery, 1,000 clients", 2),
            figure("of that in user space", 2),
            figure("p99 ms", 1),
        ],
        is_ours: false,
        measure: |bench, server| cost(bench, server, 1_000.0).map(|all| all[..3].to_vec()),
    },
    Row {
        name: "cost-10k",
        about: "10,000 clients, 100,000 deliveries/s: the same, memory, connects",
        figures: &[
            figure("CPU µs per delivery, 10,000 clients", 2),
            figure("of that in user space", 2),
            figure("p99 ms", 1),
            figure("bytes of resident memory per connection", 0),
            figure("connects/s, subscribed", 0),
        ],
        is_ours: false,
        measure: |bench, server| cost(bench, server, 10_000.0),
    },
    Row {
        name: "rate-1k",
        about: "1,000 clients: the highest rate tried with p99 within 100 ms",
        figures: &[figure("millions of deliveries/s with p99 ≤ 100 ms, 1,000 clients", 2)],
        is_ours: false,
        measure: |bench, server| highest_rate(bench, server, 1_000.0, 100.0),
    },
    Row {
        name: "rate-10k",
        about: "10,000 clients: the highest rate tried with p99 within 250 ms",
        figures: &[figure("millions of deliveries/s with p99 ≤ 250 ms, 10,000 clients", 2)],
        is_ours: false,
        measure: |bench, server| highest_rate(bench, server, 10_000.0, 250.0),
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
        measure: priorities,
    },
    Row {
        name: "filters",
        about: "10,000 clients with as many filters, 1 % matching, to one filter",
        figures: &[figure("cost of 10,000 filters, to one", 2)],
        is_ours: true,
        measure: filters,
    },
    Row {
        name: "publish",
        about: "from a request to its answer, events/s of one publisher and of batches, CPU per event",
        figures: &[
            figure("publish to answer p50 ms, one event a request", 2),
            figure("p99 ms", 2),
            figure("events/s, requests of 200, one subscriber", 0),
            figure("CPU µs per event of those", 2),
        ],
        is_ours: true,
        measure: publish,
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
    fn run(&self, server: &Contender, scenario: &str, numbers: &[(&str, f64)]) -> Result<Value> {
        let start = (server.start)(self.context, 1)?;
        let running = Server::start(self.context, self.cores.server_prefix(), start)?;
        let outcome = tester::run(self.context, server, &self.cores, &running, scenario, numbers);
        outcome.map(|(outcome, _)| outcome)
    }
}

fn cost(bench: &Bench<'_>, server: &Contender, connections: f64) -> Result<Vec<f64>> {
    let outcome = fanout(bench, server, connections, COST_RATE, COST_SECONDS)?;
    refuse_complaints(&outcome)?;
    [
        ("/server/cpu_us_per_delivery", 1.0),
        ("/server/user_us_per_delivery", 1.0),
        ("/latency_us/p99", 1e3),
        ("/server/rss_bytes_per_connection", 1.0),
        ("/connections/per_second", 1.0),
    ]
    .into_iter()
    .map(|(pointer, divisor)| Ok(number(&outcome, pointer)? / divisor))
    .collect()
}

/// Halves the list of rates; one that failed is tried once more, as the machine may have been
/// busy with something else.
fn highest_rate(
    bench: &Bench<'_>,
    server: &Contender,
    connections: f64,
    p99_ms_max: f64,
) -> Result<Vec<f64>> {
    let holds = |rate: f64| -> Result<bool> {
        let outcome = fanout(bench, server, connections, rate * 1e6, RATE_SECONDS)?;
        let is_whole = refuse_complaints(&outcome).is_ok();
        Ok(is_whole && number(&outcome, "/latency_us/p99")? / 1e3 <= p99_ms_max)
    };
    let (mut held, mut open) = (0, RATES.len());
    while held < open {
        let tried = held.midpoint(open);
        if holds(RATES[tried])? || holds(RATES[tried])? {
            held = tried + 1;
        } else {
            open = tried;
        }
    }
    Ok(vec![held.checked_sub(1).map_or(0.0, |highest| RATES[highest])])
}

fn fanout(
    bench: &Bench<'_>,
    server: &Contender,
    connections: f64,
    deliveries: f64,
    seconds: f64,
) -> Result<Value> {
    let rate = deliveries / connections;
    let events = (rate * seconds).ceil();
    let numbers = [("--connections", connections), ("--events", events), ("--rate", rate)];
    let mut numbers = numbers.to_vec();
    if server.dialect != Dialect::Alarmcast {
        // What does not come at all is not waited for as long as by default.
        numbers.push(("--quiet", 2.0));
    }
    bench.run(server, "fanout", &numbers)
}

fn priorities(bench: &Bench<'_>, server: &Contender) -> Result<Vec<f64>> {
    let numbers = [
        ("--connections", 10_000.0),
        ("--events", 1_500.0),
        ("--rate", 400.0),
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
    let many = [("--events", 300_000.0), ("--criticals", 1.0), ("--fast", 1.0), ("--slow", 0.0)];
    let many = bench.run(server, "slow", &many)?;
    refuse_complaints(&many)?;
    Ok(vec![
        number(&one, "/publishing/answer_p50_us")? / 1e3,
        number(&one, "/publishing/answer_p99_us")? / 1e3,
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

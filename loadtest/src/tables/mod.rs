//! Outcomes as people read them.

pub mod churn;
pub mod filtered;
pub mod idle;
pub mod slow;
pub mod stalled;
pub mod storm;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use crate::outcome::{Outcome, Priorities, Server};
use crate::priority::Priority;

/// A table of the outcome, one value a line.
pub fn table(outcome: &Outcome) -> String {
    let mut table = Table::default();
    rows(outcome, &mut table);
    table.end(outcome.ok, &outcome.complaints, "nothing is missing");
    table.text
}

/// All but the last lines.
fn rows(outcome: &Outcome, table: &mut Table) {
    connections(outcome, table);
    publishing(outcome, table);
    deliveries(outcome, table);
    if let Some(measured) = &outcome.priorities {
        priorities(measured, table);
    }
    if let Some(measured) = &outcome.server {
        server(measured, table);
    }
    drain(outcome, table);
    table.counts("error", &outcome.errors);
    table.counts("failure", &outcome.failures);
}

fn connections(outcome: &Outcome, table: &mut Table) {
    let connections = &outcome.connections;
    table.row(
        "connections",
        format_args!(
            "{} of {} subscribed, {} lost, from {} processes",
            connections.subscribed, connections.asked, connections.lost, connections.processes
        ),
    );
    table.row(
        "connecting",
        format_args!("{:.0}/s, {:.2} s", connections.per_second, connections.seconds),
    );
    table.counts("retry", &connections.retries);
}

fn publishing(outcome: &Outcome, table: &mut Table) {
    let publishing = &outcome.publishing;
    table.row(
        "publishing",
        format_args!(
            "{} of {} events of {} bytes accepted in {:.2} s, {}/s asked for",
            publishing.accepted,
            publishing.events,
            publishing.event_bytes,
            publishing.seconds,
            publishing.rate
        ),
    );
    table.row(
        "due to answered",
        format_args!(
            "p50 {}, p99 {}, {} waits",
            Micros(publishing.answer_p50_us),
            Micros(publishing.answer_p99_us),
            publishing.waits
        ),
    );
    table.counts("refused", &publishing.refused);
}

fn deliveries(outcome: &Outcome, table: &mut Table) {
    let deliveries = &outcome.deliveries;
    table.row(
        "deliveries",
        format_args!(
            "{} of {}, {:.0}/s over {:.2} s",
            deliveries.delivered, deliveries.expected, deliveries.per_second, deliveries.seconds
        ),
    );
    table.row(
        "wrong",
        format_args!(
            "{} missing, {} duplicates, {} out of order, {} seq not rising, {} seq gaps",
            deliveries.missing,
            deliveries.duplicates,
            deliveries.out_of_order,
            deliveries.seq_not_rising,
            deliveries.seq_gaps
        ),
    );
    table.row(
        "load tester CPU",
        format_args!(
            "{:.2} s in {:.2} s, {} processes",
            deliveries.client_cpu_seconds, deliveries.seconds, outcome.connections.processes
        ),
    );
    let latency = &outcome.latency_us;
    table.row(
        "due to delivered",
        format_args!(
            "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            Micros(latency.p50),
            Micros(latency.p90),
            Micros(latency.p99),
            Micros(latency.p99_9),
            Micros(latency.max)
        ),
    );
}

fn priorities(priorities: &Priorities, table: &mut Table) {
    for priority in Priority::ALL {
        let Some(lane) = &priorities.lanes[priority] else { continue };
        let publishing = &lane.publishing;
        table.row(
            priority.name(),
            format_args!(
                "{} events at {}/s, {} waits: {} delivered, {} dropped, {} not accounted for",
                publishing.accepted,
                publishing.rate,
                publishing.waits,
                lane.delivered,
                lane.dropped,
                lane.unaccounted
            ),
        );
        for (from, latency) in [("  from due", &lane.due_us), ("  from request", &lane.sent_us)] {
            table.row(
                from,
                format_args!(
                    "p50 {}, p90 {}, p99 {}, max {}",
                    Micros(latency.p50),
                    Micros(latency.p90),
                    Micros(latency.p99),
                    Micros(latency.max)
                ),
            );
        }
    }
    if priorities.p99_ratio > 0.0 {
        let ratio = priorities.p99_ratio;
        table.row("p99", format_args!("{ratio:.3} of that of low events, of critical ones"));
    }
}

fn server(server: &Server, table: &mut Table) {
    table.row(
        "server CPU",
        format_args!(
            "{:.2} µs per delivery ({:.2} s in all), {:.1} µs per connect",
            server.cpu_us_per_delivery, server.cpu_seconds, server.cpu_us_per_connect
        ),
    );
    table.row(
        "server memory",
        format_args!(
            "{:.0} bytes RSS per connection; {} before, {} with all, {} at the end",
            server.rss_bytes_per_connection,
            Bytes(server.rss_bytes_before),
            Bytes(server.rss_bytes_idle),
            Bytes(server.rss_bytes_after)
        ),
    );
    table.row("server descriptors", server.descriptors);
}

fn drain(outcome: &Outcome, table: &mut Table) {
    let Some(drain) = &outcome.drain else { return };
    let endings = &drain.endings;
    table.row(
        "drain",
        format_args!(
            "{} of {} ended in order in {:.2} s: {} told, {} answered, {} clean",
            endings.orderly,
            drain.expected,
            drain.seconds,
            endings.told,
            endings.answered,
            endings.clean
        ),
    );
    table.counts("close code", &endings.close_codes);
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, value: impl Display) {
        if writeln!(self.text, "{name:<20}{value}").is_err() {
            unreachable!("a string takes every character");
        }
    }

    /// The last lines: what is wrong, or that nothing is.
    fn end(&mut self, is_ok: bool, complaints: &[String], ok: &str) {
        complaints.iter().for_each(|complaint| self.row("NOT OK", complaint));
        if is_ok {
            self.row("ok", ok);
        }
    }

    fn counts<K: Display>(&mut self, name: &str, counts: &BTreeMap<K, u64>) {
        for (key, count) in counts {
            self.row(name, format_args!("{count} × {key}"));
        }
    }
}

/// A duration in the unit that suits it.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros @ 0..1_000 => write!(formatter, "{micros} µs"),
            micros @ 1_000..1_000_000 => write!(formatter, "{:.1} ms", micros as f64 / 1e3),
            micros => write!(formatter, "{:.2} s", micros as f64 / 1e6),
        }
    }
}

struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} MiB", self.0 as f64 / (1024.0 * 1024.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_at_the_end() {
        let outcome = Outcome { complaints: vec!["3 missing".to_owned()], ..Outcome::default() };
        assert!(table(&outcome).ends_with("NOT OK              3 missing\n"));
        let outcome = Outcome { ok: true, ..Outcome::default() };
        assert!(table(&outcome).ends_with("nothing is missing\n"));
    }
}

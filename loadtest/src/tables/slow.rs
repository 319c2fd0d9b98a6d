//! A run with slow subscribers, as people read it.

use crate::priority::{ByPriority, Priority};
use crate::slow::outcome::{Flood, Slow, SlowOutcome};
use crate::tables::{Micros, Table};

/// A table of the outcome, one value a line.
pub fn table(outcome: &SlowOutcome) -> String {
    let mut table = Table::default();
    table.row("seed", outcome.seed);
    flood("before", &outcome.before, &mut table);
    flood("with slow ones", &outcome.during, &mut table);
    flood("after", &outcome.after, &mut table);
    table.row("rate", format_args!("{:.2} of that without slow ones", outcome.rate_ratio));
    let fast = &outcome.fast;
    table.row(
        "fast",
        format_args!(
            "{} connections: {} delivered, {} dropped, {} out of order",
            fast.connections, fast.delivered, fast.dropped, fast.out_of_order
        ),
    );
    outcome.slow.iter().for_each(|connection| slow(connection, &mut table));
    table.end(outcome.ok, &outcome.complaints, "everything is accounted for");
    table.text
}

fn flood(name: &str, flood: &Flood, table: &mut Table) {
    table.row(
        name,
        format_args!(
            "{} events in {:.2} s, {:.0}/s; each request with all fast ones: p50 {}, p99 {}",
            flood.events,
            flood.seconds,
            flood.per_second,
            Micros(flood.request_p50_us),
            Micros(flood.request_p99_us)
        ),
    );
    if let Some(cpu_us) = flood.server_cpu_us_per_event {
        table.row("  server CPU", format_args!("{cpu_us:.1} µs per event"));
    }
}

fn slow(slow: &Slow, table: &mut Table) {
    table.row(
        "slow",
        format_args!("{:.0} bytes/s, {} notices", slow.bytes_per_second, slow.notices),
    );
    table.row("  published", counts(&slow.published));
    table.row("  delivered", counts(&slow.delivered));
    table.row("  dropped", counts(&slow.dropped));
    let lost = &slow.lost;
    table.row(
        "  lost",
        format_args!(
            "{:.3} % of low, {:.3} % of normal, {:.3} % of high",
            lost.low * 100.0,
            lost.normal * 100.0,
            lost.high * 100.0
        ),
    );
    let behind = &slow.behind;
    table.row(
        "  critical behind",
        format_args!(
            "at most {} bytes, {} of them not with the client's kernel ({} measured)",
            behind.bytes_max, behind.unsent_bytes_max, behind.criticals
        ),
    );
    table.row(
        "  kernel at most",
        format_args!(
            "{} bytes at the server, {} at the client",
            behind.server_kernel_bytes_max, behind.client_kernel_bytes_max
        ),
    );
}

fn counts(counts: &ByPriority<u64>) -> String {
    let parts = Priority::ALL.map(|priority| format!("{} {}", counts[priority], priority.name()));
    parts.join(", ")
}

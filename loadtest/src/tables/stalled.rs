//! Runs with subscribers that never read, as people read them.

use crate::stalled::{Round, StalledOutcome};
use crate::tables::{Bytes, Micros, Table};

/// A table of the outcome, one value a line.
pub fn table(outcome: &StalledOutcome) -> String {
    let mut table = Table::default();
    outcome.rounds.iter().for_each(|round| rows_of_round(round, &mut table));
    table.row(
        "p99",
        format_args!(
            "{} without, {} with {} that never read: {:.2} of it, by round {:.2}",
            Micros(outcome.p99_us_without as u64),
            Micros(outcome.p99_us_with as u64),
            outcome.stalled,
            outcome.p99_ratio,
            outcome.p99_ratio_by_round
        ),
    );
    if outcome.rounds.len() > 1 {
        let by_event = &outcome.by_event;
        table.row(
            "  by event",
            format_args!(
                "slowest deliveries, medians of the rounds: p99 {} without, {} with: {:.2} of it",
                Micros(by_event.without.p99_us as u64),
                Micros(by_event.with.p99_us as u64),
                by_event.p99_ratio
            ),
        );
    }
    if let (Some(p99_us), Some(ratio)) =
        (outcome.p99_us_placeholders, outcome.p99_ratio_placeholders)
    {
        table.row(
            "",
            format_args!(
                "{} without, but {} more descriptors open: {ratio:.2} of it",
                Micros(p99_us as u64),
                outcome.descriptors
            ),
        );
    }
    table.row(
        "memory",
        format_args!("{:.0} bytes at most for each that never reads", outcome.bytes_per_stalled),
    );
    table.end(outcome.ok, &outcome.complaints, "nothing is missing, memory is bounded and flat");
    table.text
}

fn rows_of_round(round: &Round, table: &mut Table) {
    for (name, outcome) in round.runs() {
        let (deliveries, latency) = (&outcome.deliveries, &outcome.latency_us);
        table.row(
            name,
            format_args!(
                "{} of {} delivered, {:.0}/s; p50 {}, p99 {}, max {}",
                deliveries.delivered,
                deliveries.expected,
                deliveries.per_second,
                Micros(latency.p50),
                Micros(latency.p99),
                Micros(latency.max)
            ),
        );
    }
    let memory = &round.memory;
    let tenths: Vec<String> = memory.tenths.iter().map(|&rss| Bytes(rss).to_string()).collect();
    table.row(
        "  server memory",
        format_args!(
            "{} before, {} with all connected, then {}, where history grew by {}; {} held to the end",
            Bytes(memory.before),
            Bytes(memory.connected),
            tenths.join(", "),
            Bytes(memory.history_grown),
            memory.held
        ),
    );
}

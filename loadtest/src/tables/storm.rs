//! A storm, as people read it.

use crate::storm::{Span, StormOutcome};
use crate::tables::{Micros, Table};

/// A table of the outcome, one value a line.
pub fn table(outcome: &StormOutcome) -> String {
    let mut table = Table::default();
    table.row(
        "storm",
        format_args!(
            "{} connections back and caught up in {:.2} s, {} events replayed, {} retries",
            outcome.connections, outcome.back_seconds, outcome.replayed, outcome.retries
        ),
    );
    table.counts("refusal", &outcome.refusals);
    let spans =
        [("before", &outcome.before), ("during", &outcome.during), ("after", &outcome.after)];
    for (name, Span { deliveries, p50, p99, max }) in spans {
        table.row(
            name,
            format_args!(
                "{} live: p50 {}, p99 {}, max {}, {deliveries} deliveries",
                outcome.live,
                Micros(*p50),
                Micros(*p99),
                Micros(*max)
            ),
        );
    }
    table.row("p99", format_args!("{:.2} of that before", outcome.p99_ratio));
    table.row(
        "wrong",
        format_args!(
            "{} missing, {} duplicates, {} behind, {} live ones lost; {} told as dropped",
            outcome.holes, outcome.duplicates, outcome.behind, outcome.lost, outcome.dropped
        ),
    );
    if let Some(cpu_us) = outcome.server_cpu_us_per_return {
        table.row("server CPU", format_args!("{cpu_us:.0} µs for each that came back"));
    }
    table.end(outcome.ok, &outcome.complaints, "all are back, and nothing is missing");
    table.text
}

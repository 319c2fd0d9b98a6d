//! Runs with many filters, as people read them.

use crate::filtered::FilteredOutcome;
use crate::tables::Table;

/// A table of the outcome, one value a line.
pub fn table(outcome: &FilteredOutcome) -> String {
    let mut table = Table::default();
    for cost in &outcome.costs {
        let rounds = cost.cpu_us_per_delivery.iter().map(|us| format!("{us:.2}"));
        table.row(
            cost.kind.name(),
            format_args!(
                "{:.2} µs of server CPU per delivery (median of {}), {} deliveries",
                cost.median,
                rounds.collect::<Vec<_>>().join(", "),
                cost.deliveries
            ),
        );
        if let Some(ratio) = cost.to_one {
            table.row("", format_args!("{ratio:.2} of the cost with one filter"));
        }
    }
    table.end(outcome.ok, &outcome.complaints, "nothing is missing");
    table.text
}

//! Connections that come and go, as people read of them.

use super::{Micros, Table, rows};
use crate::churn::ChurnOutcome;

/// A table of the outcome, one value a line.
pub fn table(outcome: &ChurnOutcome) -> String {
    let mut table = Table::default();
    rows(&outcome.fanout, &mut table);
    let visits = &outcome.visits;
    table.row(
        "visitors",
        format_args!(
            "{} of {} subscribed, {:.0}/s, for {} s each; {} ended in order",
            visits.subscribed, visits.due, visits.per_second, visits.stay_seconds, visits.orderly
        ),
    );
    let connect = &visits.connect_us;
    table.row(
        "due to subscribed",
        format_args!(
            "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            Micros(connect.p50),
            Micros(connect.p90),
            Micros(connect.p99),
            Micros(connect.p99_9),
            Micros(connect.max)
        ),
    );
    table.row(
        "  deliveries",
        format_args!(
            "{}; {} seq not rising, {} seq gaps",
            visits.deliveries, visits.seq_not_rising, visits.seq_gaps
        ),
    );
    table.counts("visitor", &visits.failures);
    table.end(outcome.ok, &outcome.complaints, "nothing is missing, and all were let in");
    table.text
}

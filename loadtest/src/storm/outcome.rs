//! What a storm showed; serialised as the result of `--json`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::series::Series;
use crate::tally::empty_histogram;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StormOutcome {
    /// All came back in time, nothing is missing, and the others felt little of it.
    pub ok: bool,
    pub complaints: Vec<String>,
    pub connections: u32,
    pub live: u32,
    pub rate: f64,
    pub published: u32,
    /// From the cut until the last of them had caught up.
    pub back_seconds: f64,
    pub limit_seconds: f64,
    /// Of the live ones, by when events were due: before the cut, until all were back, after.
    pub before: Span,
    pub during: Span,
    pub after: Span,
    /// The p99 during the storm to that before.
    pub p99_ratio: f64,
    /// Answers to handshakes that were none, and closes, by what they were.
    pub refusals: BTreeMap<String, u64>,
    /// Attempts after the first.
    pub retries: u64,
    /// Events that came between `subscribed` and `caught_up`.
    pub replayed: u64,
    pub holes: u64,
    pub duplicates: u64,
    /// As the server told.
    pub dropped: u64,
    /// Connections that did not get to the last event.
    pub behind: u64,
    /// Live ones whose connection ended.
    pub lost: u64,
    /// Of the whole process from the cut until all were back, for each that came back; absent
    /// unless the server's process is known.
    pub server_cpu_us_per_return: Option<f64>,
    /// Of the three spans.
    #[serde(skip)]
    pub series: Vec<Series>,
}

/// Latencies of a part of the run, from due to delivered, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub deliveries: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl StormOutcome {
    /// Says what is wrong.
    pub(super) fn judge(&mut self, is_back: bool, failure: Option<String>) {
        if self.before.p99 > 0 {
            self.p99_ratio = self.during.p99 as f64 / self.before.p99 as f64;
        }
        let mut complaints: Vec<String> = failure.into_iter().collect();
        if !is_back || self.back_seconds > self.limit_seconds {
            complaints.push(format!("not all were back within {} s", self.limit_seconds));
        }
        let counts = [
            (self.holes, "events are missing"),
            (self.duplicates, "events came twice"),
            (self.behind, "connections did not get to the last event"),
            (self.lost, "live connections ended"),
        ];
        let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
        complaints.extend(wrong.map(|(count, what)| format!("{count} {what}")));
        if self.p99_ratio >= 2.0 {
            complaints.push(format!("the p99 of live ones grew {:.1} times", self.p99_ratio));
        }
        self.ok = complaints.is_empty();
        self.complaints = complaints;
    }
}

/// Of `(due, µs)`, what was due within a time.
pub(super) fn series(name: &str, latencies: &[(u64, u64)], due_ns: Range<u64>) -> Series {
    let mut histogram = empty_histogram();
    let within = latencies.iter().filter(|(due, _)| due_ns.contains(due));
    within.for_each(|(_, micros)| histogram.saturating_record(*micros));
    Series::new(name, histogram)
}

pub(super) fn span(series: &Series) -> Span {
    let histogram = &series.histogram;
    Span {
        deliveries: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_nothing_else() {
        let span = |p99| Span { p99, ..Span::default() };
        let good = StormOutcome {
            back_seconds: 9.0,
            limit_seconds: 10.0,
            before: span(10),
            during: span(19),
            dropped: 3,
            ..StormOutcome::default()
        };
        let judged = |outcome: &StormOutcome, is_back| {
            let mut outcome = outcome.clone();
            outcome.judge(is_back, None);
            assert_eq!(outcome.ok, outcome.complaints.is_empty());
            outcome.complaints.len()
        };
        assert_eq!(judged(&good, true), 0);
        assert_eq!(judged(&good, false), 1);
        assert_eq!(judged(&StormOutcome { during: span(20), ..good.clone() }, true), 1);
        assert_eq!(judged(&StormOutcome { back_seconds: 10.1, ..good.clone() }, true), 1);
        assert_eq!(judged(&StormOutcome { holes: 1, duplicates: 1, lost: 1, ..good }, true), 3);
    }

    #[test]
    fn an_event_counts_where_it_was_due() {
        let span = span(&series("during", &[(1, 10), (5, 20), (9, 400)], 2..9));
        assert_eq!((span.deliveries, span.p99), (1, 20));
    }
}

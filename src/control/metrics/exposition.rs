//! Prometheus' text format 0.0.4, written with names exactly as given.

use std::fmt::{Display, Write};

use hdrhistogram::Histogram;

/// The name and value of a label.
pub type Label<'a> = (&'a str, &'a str);

const NANOS_PER_SECOND: f64 = 1e9;

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    pub fn into_text(self) -> String {
        self.0
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, &[(&[], value)]);
    }

    pub fn counters(&mut self, name: &str, help: &str, samples: &[(&[Label<'_>], u64)]) {
        self.family(name, help, "counter");
        for (labels, value) in samples {
            self.sample(name, "", labels, None, value);
        }
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help, &[(&[], value)]);
    }

    pub fn gauges<V: Display>(&mut self, name: &str, help: &str, samples: &[(&[Label<'_>], V)]) {
        self.family(name, help, "gauge");
        for (labels, value) in samples {
            self.sample(name, "", labels, None, value);
        }
    }

    /// Nanoseconds, as seconds in cumulative buckets below `bounds` (in seconds, rising).
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64],
        samples: &[(&[Label<'_>], &Histogram<u64>)],
    ) {
        self.family(name, help, "histogram");
        for (labels, histogram) in samples {
            let mut below = 0;
            for (bound, count) in bounds.iter().zip(bucket_counts(histogram, bounds)) {
                below += count;
                self.sample(name, "_bucket", labels, Some(("le", &bound.to_string())), below);
            }
            self.sample(name, "_bucket", labels, Some(("le", "+Inf")), histogram.len());
            self.sum_and_count(name, labels, histogram);
        }
    }

    /// Nanoseconds, as seconds at `quantiles`.
    pub fn summaries(
        &mut self,
        name: &str,
        help: &str,
        quantiles: &[f64],
        samples: &[(&[Label<'_>], &Histogram<u64>)],
    ) {
        self.family(name, help, "summary");
        for (labels, histogram) in samples {
            for quantile in quantiles {
                let nanos = histogram.value_at_quantile(*quantile);
                // Without measurements there is no quantile.
                let value = if histogram.is_empty() { f64::NAN } else { seconds(nanos as f64) };
                let quantile = quantile.to_string();
                self.sample(name, "", labels, Some(("quantile", &quantile)), value);
            }
            self.sum_and_count(name, labels, histogram);
        }
    }

    fn sum_and_count(&mut self, name: &str, labels: &[Label<'_>], histogram: &Histogram<u64>) {
        // Of the values as recorded: two significant digits.
        let nanos: f64 = histogram
            .iter_recorded()
            .map(|step| step.value_iterated_to() as f64 * step.count_since_last_iteration() as f64)
            // Not `sum`, for which nothing is -0.
            .fold(0.0, |sum, nanos| sum + nanos);
        self.sample(name, "_sum", labels, None, seconds(nanos));
        self.sample(name, "_count", labels, None, histogram.len());
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[Label<'_>],
        extra: Option<Label<'_>>,
        value: impl Display,
    ) {
        self.write(format_args!("{name}{suffix}"));
        let mut separator = "{";
        for (label, text) in labels.iter().copied().chain(extra) {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.write(format_args!("{separator}{label}=\"{text}\""));
            separator = ",";
        }
        let end = if separator == "{" { "" } else { "}" };
        self.write(format_args!("{end} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string");
    }
}

/// How many values fall between each bound and the one before it.
fn bucket_counts(histogram: &Histogram<u64>, bounds: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; bounds.len() + 1];
    for step in histogram.iter_recorded() {
        let value = seconds(histogram.lowest_equivalent(step.value_iterated_to()) as f64);
        let bucket = bounds.partition_point(|bound| *bound < value);
        counts[bucket] += step.count_since_last_iteration();
    }
    counts
}

fn seconds(nanos: f64) -> f64 {
    nanos / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_with_escaped_labels() {
        let mut text = Exposition::default();
        text.counters("a_total", "What\nis \\ it.", &[(&[("why", "a\"b\\c\nd"), ("x", "y")], 7)]);
        text.gauge("b", "B.", 0.5);
        let expected = "# HELP a_total What\\nis \\\\ it.\n# TYPE a_total counter\n\
                        a_total{why=\"a\\\"b\\\\c\\nd\",x=\"y\"} 7\n\
                        # HELP b B.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(text.into_text(), expected);
    }

    #[test]
    fn buckets_are_cumulative_and_hold_their_bound() {
        let mut histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("bounds");
        for millis in [1, 1, 5, 10, 2_000] {
            histogram.record(millis * 1_000_000).expect("in range");
        }
        let mut text = Exposition::default();
        text.histograms("h", "H.", &[0.001, 0.01, 0.1], &[(&[("p", "q")], &histogram)]);
        let text = text.into_text();
        for line in [
            "h_bucket{p=\"q\",le=\"0.001\"} 2\n",
            "h_bucket{p=\"q\",le=\"0.01\"} 4\n",
            "h_bucket{p=\"q\",le=\"0.1\"} 4\n",
            "h_bucket{p=\"q\",le=\"+Inf\"} 5\n",
            "h_count{p=\"q\"} 5\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_summary_without_measurements_has_no_quantiles() {
        let histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 2).expect("bounds");
        let mut text = Exposition::default();
        text.summaries("s", "S.", &[0.5], &[(&[], &histogram)]);
        let text = text.into_text();
        assert!(text.contains("s{quantile=\"0.5\"} NaN\ns_sum 0\ns_count 0\n"), "{text}");
    }
}

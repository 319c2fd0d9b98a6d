//! Latencies under a name: those of one priority, or of one part of a run.

use hdrhistogram::Histogram;

use crate::outcome::Outcome;

/// A histogram with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Serves as a file's name too: letters, digits, `-`.
    pub name: String,
    /// In µs.
    pub histogram: Histogram<u64>,
}

impl Series {
    pub fn new(name: impl Into<String>, histogram: Histogram<u64>) -> Self {
        let name = name.into();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        Self { name, histogram }
    }
}

/// A run's latencies of all priorities under another name.
pub fn named(name: &str, outcome: &Outcome) -> impl Iterator<Item = Series> {
    outcome.series.iter().map(move |series| Series::new(name, series.histogram.clone()))
}

/// Adds up those of the same name, in the order in which names first come.
pub fn merged(series: impl IntoIterator<Item = Series>) -> Vec<Series> {
    let mut sums: Vec<Series> = Vec::new();
    for one in series {
        match sums.iter_mut().find(|sum| sum.name == one.name) {
            None => sums.push(one),
            Some(sum) => {
                if let Err(error) = sum.histogram.add(&one.histogram) {
                    unreachable!("all have the bounds of `empty_histogram`: {error}");
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram_of;

    #[test]
    fn series_of_one_name_are_added() {
        let one = |name, micros| Series::new(name, histogram_of(&[(micros, 2)]));
        let sums = merged([one("with", 10), one("without", 20), one("with", 30)]);
        let found: Vec<_> =
            sums.iter().map(|sum| (&*sum.name, sum.histogram.len(), sum.histogram.max())).collect();
        assert_eq!(found, [("with", 4, 30), ("without", 2, 20)]);
    }
}

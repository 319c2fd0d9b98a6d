//! A scrape of `/metrics`.

use std::collections::BTreeMap;

/// One line of the text format.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All samples of a scrape.
#[derive(Debug)]
pub struct Metrics {
    pub text: String,
    samples: Vec<Sample>,
}

impl Metrics {
    pub fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(parse_sample).collect();
        Self { text, samples }
    }

    /// The sum over all label sets.
    ///
    /// # Panics
    /// When there is no sample of that name.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let mut values = self.samples.iter().filter(|sample| sample.name == name).peekable();
        assert!(values.peek().is_some(), "no sample of {name} in:\n{}", self.text);
        values.map(|sample| sample.value).sum()
    }

    /// The sum over the label sets that have this pair; zero where there is none.
    pub fn sum_with(&self, name: &str, label: &str, value: &str) -> f64 {
        let has_pair = |sample: &&Sample| {
            sample.name == name && sample.labels.get(label).is_some_and(|found| found == value)
        };
        // Beginning with 0: the sum of no floats is a negative zero.
        self.samples.iter().filter(has_pair).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The labels of the only sample of that name.
    #[track_caller]
    pub fn labels(&self, name: &str) -> &BTreeMap<String, String> {
        let found: Vec<_> = self.samples.iter().filter(|sample| sample.name == name).collect();
        assert_eq!(found.len(), 1, "samples of {name} in:\n{}", self.text);
        &found[0].labels
    }

    /// Whether there is a sample of `name`, or of the parts of a histogram or summary.
    pub fn has(&self, name: &str) -> bool {
        let parts = ["", "_bucket", "_sum", "_count"];
        self.samples.iter().any(|sample| {
            sample.name.strip_prefix(name).is_some_and(|suffix| parts.contains(&suffix))
        })
    }

    /// Every series: the name with its labels, as written.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series)
    }

    /// Every name of a sample.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.iter().map(|sample| sample.name.as_str())
    }
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("closing brace")),
        None => (series, ""),
    };
    let pairs = labels.split_terminator("\",").map(|pair| {
        let (name, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("labels: {line}"));
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    Sample { name: name.to_owned(), labels: pairs.collect(), value }
}

//! What was counted before, and how it compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;

/// By how much a count may grow before it fails, in percent. Counts of one build repeat to a
/// fraction of that; code nearby that is inlined in another way moves them as well.
const GROWTH_PERCENT_MAX: u64 = 3;

type Counts = BTreeMap<String, u64>;

#[derive(Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Compiler, C library and architecture: counts of others do not compare.
    pub made_with: Vec<String>,
    /// Instructions for each unit of work.
    pub instructions: Counts,
    /// Memory in user space.
    pub bytes: Counts,
}

impl Baseline {
    pub fn read(path: &Path) -> Result<Self> {
        let in_file = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| in_file(&error))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| in_file(&error))?;
        Self::from_json(&value).ok_or_else(|| in_file(&"write it anew with --bless"))
    }

    fn from_json(value: &Value) -> Option<Self> {
        let words = value["made_with"].as_array()?.iter();
        let made_with =
            words.map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        let counts = |key: &str| -> Option<Counts> {
            let entries = value[key].as_object()?.iter();
            entries.map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
        };
        Some(Self { made_with, instructions: counts("instructions")?, bytes: counts("bytes")? })
    }

    pub fn write(&self, path: &Path) -> Result {
        let Self { made_with, instructions, bytes } = self;
        let value = json!({"made_with": made_with, "instructions": instructions, "bytes": bytes});
        let text = format!("{value:#}\n");
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// One line of the table.
struct Line {
    name: String,
    before: Option<u64>,
    now: Option<u64>,
}

impl Line {
    /// By how many percent it grew.
    fn growth(&self) -> Option<f64> {
        let (before, now) = (self.before? as f64, self.now? as f64);
        Some((now / before - 1.0) * 100.0)
    }

    fn complaint(&self) -> Option<String> {
        let name = &self.name;
        match (self.before, self.now) {
            (None, _) => Some(format!("{name}: not in the baseline")),
            (_, None) => Some(format!("{name}: in the baseline, but was not counted")),
            (Some(before), Some(now)) => {
                let is_above = now * 100 > before * (100 + GROWTH_PERCENT_MAX);
                let growth = self.growth().unwrap_or_default();
                is_above.then(|| format!("{name}: {now}, was {before}, {growth:+.1} %"))
            }
        }
    }
}

/// Two sets of counts, side by side.
pub struct Comparison {
    lines: Vec<Line>,
}

impl Comparison {
    pub fn new(before: &Baseline, now: &Baseline) -> Self {
        let mut lines = side_by_side(&before.instructions, &now.instructions, "instructions");
        lines.extend(side_by_side(&before.bytes, &now.bytes, "bytes"));
        Self { lines }
    }

    pub fn table(&self, nanoseconds: &BTreeMap<String, f64>) -> String {
        let mut text =
            format!("{:<48}{:>10}{:>10}{:>9}{:>10}\n", "each", "before", "now", "change", "ns");
        let or_none = |count: Option<u64>| count.map_or("none".to_owned(), |n| n.to_string());
        for line in &self.lines {
            let change = line.growth().map_or(String::new(), |growth| format!("{growth:+.2} %"));
            let work = line.name.split(' ').next().unwrap_or("");
            let time = nanoseconds.get(work).map_or(String::new(), |ns| format!("{ns:.1}"));
            let (before, now) = (or_none(line.before), or_none(line.now));
            let _ = writeln!(text, "{:<48}{before:>10}{now:>10}{change:>9}{time:>10}", line.name);
        }
        text
    }

    /// Fails with each line that is above what the baseline allows, or in one of the sets only.
    pub fn judge(&self) -> Result {
        let complaints: Vec<_> = self.lines.iter().filter_map(Line::complaint).collect();
        if complaints.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{} of {} counts are more than {GROWTH_PERCENT_MAX} % above the baseline or without \
             one\n{}\nwhere that is meant: cargo xtask instructions --bless",
            complaints.len(),
            self.lines.len(),
            complaints.join("\n")
        ))
    }
}

fn side_by_side(before: &Counts, now: &Counts, of_what: &str) -> Vec<Line> {
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let line = |name: &String| Line {
        name: format!("{name} {of_what}"),
        before: before.get(name).copied(),
        now: now.get(name).copied(),
    };
    names.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(deliver: u64, idle: u64) -> Baseline {
        Baseline {
            made_with: vec!["rustc 1".to_owned()],
            instructions: BTreeMap::from([("deliver".to_owned(), deliver)]),
            bytes: BTreeMap::from([("idle".to_owned(), idle)]),
        }
    }

    fn judged(before: &Baseline, now: &Baseline) -> Result {
        Comparison::new(before, now).judge()
    }

    #[test]
    fn what_grows_by_more_than_the_tolerance_fails_and_what_shrinks_does_not() {
        let before = counts(1000, 300);
        assert_eq!(judged(&before, &counts(1030, 309)), Ok(()));
        assert_eq!(judged(&before, &counts(500, 10)), Ok(()));
        let reason = judged(&before, &counts(1031, 300)).unwrap_err();
        assert!(reason.contains("deliver instructions: 1031, was 1000, +3.1 %"), "{reason}");
        assert!(judged(&before, &counts(1000, 310)).is_err());
    }

    #[test]
    fn what_only_one_of_them_has_fails() {
        let whole = counts(1000, 300);
        let mut part = counts(1000, 300);
        part.bytes.clear();
        assert!(judged(&whole, &part).is_err());
        assert!(judged(&part, &whole).is_err());
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let dir = std::env::temp_dir().join(format!("alarmcast-baseline-{}", std::process::id()));
        let baseline = counts(7, 8);
        baseline.write(&dir).unwrap();
        let read = Baseline::read(&dir);
        fs::remove_file(&dir).unwrap();
        assert_eq!(read, Ok(baseline));
    }

    #[test]
    fn the_table_has_counts_change_and_time() {
        let times = BTreeMap::from([("deliver".to_owned(), 41.25)]);
        let table = Comparison::new(&counts(1000, 300), &counts(900, 300)).table(&times);
        let words: Vec<Vec<_>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["deliver", "instructions", "1000", "900", "-10.00", "%", "41.2"]);
        assert_eq!(words[2], ["idle", "bytes", "300", "300", "+0.00", "%"]);
    }
}

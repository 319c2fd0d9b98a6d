//! What a run leaves on disk: `result.json`, and each of its latency series as a histogram log
//! and as a percentile distribution.

mod about;
mod hgrm;
mod hlog;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::series::Series;

pub use about::{About, Clock, Machine, Running, Versions};

/// The file that makes a folder a result.
pub const RESULT_FILE: &str = "result.json";

/// What every scenario's outcome can tell.
pub trait ScenarioOutcome: Serialize {
    /// Nothing is wrong.
    fn is_ok(&self) -> bool;
    /// As people read it, one value a line.
    fn table(&self) -> String;
    /// Its latencies.
    fn series(&self) -> &[Series];
}

/// Of a scenario whose table is in [`crate::tables`].
macro_rules! outcome {
    ($outcome:ty, $table:path) => {
        impl ScenarioOutcome for $outcome {
            fn is_ok(&self) -> bool {
                self.ok
            }

            fn table(&self) -> String {
                $table(self)
            }

            fn series(&self) -> &[Series] {
                &self.series
            }
        }
    };
}

outcome!(crate::outcome::Outcome, crate::tables::table);
outcome!(crate::churn::ChurnOutcome, crate::tables::churn::table);
outcome!(crate::idle::IdleOutcome, crate::tables::idle::table);
outcome!(crate::filtered::FilteredOutcome, crate::tables::filtered::table);
outcome!(crate::slow::outcome::SlowOutcome, crate::tables::slow::table);
outcome!(crate::stalled::StalledOutcome, crate::tables::stalled::table);
outcome!(crate::storm::StormOutcome, crate::tables::storm::table);

/// `result.json`; `T` is a scenario's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultFile<T = Value> {
    pub about: About,
    pub series: Vec<SeriesEntry>,
    /// What `--json` prints.
    pub result: T,
}

/// A series, by its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesEntry {
    pub name: String,
    pub count: u64,
    /// HdrHistogram's log, in µs.
    pub hlog: String,
    /// HdrHistogram's percentile distribution, in ms.
    pub hgrm: String,
}

/// Makes the folder, before the run.
///
/// # Errors
/// When it cannot be made, or has a result already.
pub fn prepare(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
    if folder.join(RESULT_FILE).exists() {
        let folder = folder.display();
        return Err(Error::Usage(format!(
            "{folder} has a result; name another folder, or delete it"
        )));
    }
    Ok(())
}

/// Writes everything.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, about: About, outcome: &impl ScenarioOutcome) -> Result<(), Error> {
    let series: Vec<&Series> =
        outcome.series().iter().filter(|series| !series.histogram.is_empty()).collect();
    for one in &series {
        write_file(&folder.join(format!("{}.hlog", one.name)), |to| {
            hlog::write(one, &about.clock, to)
        })?;
        write_file(&folder.join(format!("{}.hgrm", one.name)), |to| hgrm::write(one, to))?;
    }
    let series = series.iter().map(|Series { name, histogram }| SeriesEntry {
        name: name.clone(),
        count: histogram.len(),
        hlog: format!("{name}.hlog"),
        hgrm: format!("{name}.hgrm"),
    });
    let file = ResultFile { about, series: series.collect(), result: outcome };
    // Last: a folder with this file is whole.
    write_file(&folder.join(RESULT_FILE), |to| {
        serde_json::to_writer_pretty(&mut *to, &file)?;
        to.write_all(b"\n")
    })
}

/// Reads a folder back.
///
/// # Errors
/// When it is not a result, or not one of this version.
pub fn read(folder: &Path) -> Result<(ResultFile, Vec<Series>), Error> {
    let path = folder.join(RESULT_FILE);
    let text = read_text(&path)?;
    let file: ResultFile = serde_json::from_str(&text).map_err(|error| {
        Error::Usage(format!("{} is no result of this program: {error}", path.display()))
    })?;
    let series = file.series.iter().map(|entry| {
        let path = folder.join(&entry.hlog);
        hlog::read(&read_text(&path)?, &entry.name)
            .map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
    });
    let series = series.collect::<Result<_, _>>()?;
    Ok((file, series))
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io(format!("cannot read {}", path.display())))
}

fn write_file(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let written = File::create(path).and_then(|file| {
        let mut to = BufWriter::new(file);
        content(&mut to)?;
        to.flush()
    });
    written.map_err(Error::io(format!("cannot write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::empty_histogram;

    #[derive(Serialize)]
    struct Outcome {
        answer: u32,
        #[serde(skip)]
        series: Vec<Series>,
    }

    impl ScenarioOutcome for Outcome {
        fn is_ok(&self) -> bool {
            true
        }

        fn table(&self) -> String {
            String::new()
        }

        fn series(&self) -> &[Series] {
            &self.series
        }
    }

    fn random_series(name: &str) -> Series {
        let mut histogram = empty_histogram();
        (0..5_000).for_each(|_| histogram.saturating_record(fastrand::u64(1..40_000_000)));
        Series::new(name, histogram)
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("below/run");
        let series = vec![random_series("critical"), random_series("low")];
        let empty = Series::new("high", empty_histogram());
        let outcome = Outcome { answer: 42, series: [series.clone(), vec![empty]].concat() };
        prepare(&path).expect("it is new");
        let clock = Clock::start();
        let about = About::collect("fanout", None, "http://127.0.0.1:1", clock.stop());
        write(&path, about.clone(), &outcome).expect("there is room");
        let (file, read) = read(&path).expect("it is whole");
        assert_eq!((file.about, &file.result["answer"]), (about, &42.into()));
        assert_eq!(read, series, "every count of every value, and no empty series");
        assert!(matches!(prepare(&path), Err(Error::Usage(_))), "it is not written over");
        assert_eq!(fs::read_dir(&path).expect("a folder").count(), 5);
    }
}

//! Results side by side: plots, and a document with tables.

mod axis;
mod chart;
mod cost;
mod latency;
mod markdown;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;
use chart::Chart;
use run::Run;

/// What to make of which results.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folders as `--output` of a run writes them.
    pub results: Vec<PathBuf>,
    pub output: PathBuf,
    pub title: String,
    /// Series to show; empty: all but those that are counted from requests.
    pub series: Vec<String>,
}

/// Reads the results, and writes `report.md` and its plots; returns what was written.
///
/// # Errors
/// When a folder is no result, or nothing is left to show, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Vec<PathBuf>, Error> {
    let runs = run::read(&settings.results, &settings.series)?;
    let folder = &settings.output;
    fs::create_dir_all(folder).map_err(Error::io(format!("cannot make {}", folder.display())))?;
    let charts = charts(&settings.title, &runs);
    let mut written = Vec::new();
    for (name, chart) in &charts {
        written.push(write(folder, &format!("{name}.svg"), chart.svg()?.as_bytes())?);
        written.push(write(folder, &format!("{name}.png"), &chart.png()?)?);
    }
    let names: Vec<_> = charts.iter().map(|(name, chart)| (*name, &*chart.title)).collect();
    let document = markdown::document(&settings.title, &runs, &names);
    written.push(write(folder, "report.md", document.as_bytes())?);
    Ok(written)
}

/// By the names of their files; where nothing is known, there is no chart.
fn charts(title: &str, runs: &[Run]) -> Vec<(&'static str, Chart)> {
    let charts = [
        ("latency", latency::chart(title, runs)),
        ("cpu", cost::cpu(title, runs)),
        ("memory", cost::memory(title, runs)),
    ];
    charts.into_iter().filter_map(|(name, chart)| Some((name, chart?))).collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(Error::io(format!("cannot write {}", path.display())))?;
    Ok(path)
}

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
use chart::Picture;
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
    let pictures = pictures(&settings.title, &runs);
    let mut written = Vec::new();
    for (name, picture) in &pictures {
        written.push(write(folder, &format!("{name}.svg"), picture.svg()?.as_bytes())?);
        written.push(write(folder, &format!("{name}.png"), &picture.png()?)?);
    }
    let names: Vec<_> = pictures.iter().map(|(name, picture)| (*name, picture.title())).collect();
    let document = markdown::document(&settings.title, &runs, &names);
    written.push(write(folder, "report.md", document.as_bytes())?);
    Ok(written)
}

/// By the names of their files; where nothing is known, there is none.
fn pictures(title: &str, runs: &[Run]) -> Vec<(&'static str, Picture)> {
    let latency = latency::chart(title, runs);
    let cost = [cost::cpu(title, runs), cost::memory(title, runs)];
    [("latency", latency.into_iter().collect()), ("cost", cost.into_iter().flatten().collect())]
        .into_iter()
        .filter(|(_, charts): &(_, Vec<_>)| !charts.is_empty())
        .map(|(name, charts)| (name, Picture { charts }))
        .collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(Error::io(format!("cannot write {}", path.display())))?;
    Ok(path)
}

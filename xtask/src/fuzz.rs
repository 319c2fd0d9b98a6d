//! Fuzzing from the stored corpus, on the stable compiler.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use crate::Result;
use crate::command::{command, describe, path_with, read, run};
use crate::context::Context;
use crate::tools::{cargo, debian};

/// Compiles the targets, for [`run_all`].
pub fn build(context: &Context) -> Result {
    debian::ensure(context, "c++", "g++")?;
    let fuzzer = cargo::ensure(context, &cargo::FUZZ)?;
    run(&mut fuzz(context, &fuzzer, "build")?)
}

/// Runs each target for [`Context::fuzz_seconds`], as many at once as there are
/// cores, and tells how often each was executed. New inputs go to the target
/// folder; what breaks a target is kept in `fuzz/artifacts` and named.
pub fn run_all(context: &Context) -> Result {
    build(context)?;
    let fuzzer = cargo::ensure(context, &cargo::FUZZ)?;
    let listed = read(command(context, &fuzzer).args(["list"]))?;
    let names: VecDeque<_> = listed.lines().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err("cargo fuzz lists no target".to_owned());
    }
    let outcomes = Mutex::new(Vec::new());
    let waiting = Mutex::new(names);
    let next = || waiting.lock().ok()?.pop_front();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let outcome = run_one(context, &fuzzer, name);
                    outcomes
                        .lock()
                        .into_iter()
                        .for_each(|mut all| all.push((name, outcome.clone())));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().map_err(|_| "a target was not run".to_owned())?;
    outcomes.sort();
    summarise(context, &outcomes)
}

/// Executions, or why there is no number.
type Outcome = Result<u64>;

fn summarise(context: &Context, outcomes: &[(&str, Outcome)]) -> Result {
    println!("\nexecutions in {} s each:", context.fuzz_seconds);
    let mut failures = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(executions) => println!("{name:<24} {executions:>12}"),
            Err(reason) => {
                println!("{name:<24} {:>12}", "FAILED");
                failures.push(format!("{name}: {reason}"));
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn run_one(context: &Context, fuzzer: &Path, name: &str) -> Outcome {
    let found = folder(context.target.join("fuzz-corpus").join(name))?;
    let stored = context.root.join("fuzz").join("corpus").join(name);
    if !stored.is_dir() {
        return Err(format!("no stored corpus at {}", stored.display()));
    }
    let mut fuzz = fuzz(context, fuzzer, "run")?;
    fuzz.arg(name).arg(found).arg(stored).arg("--");
    fuzz.arg(format!("-max_total_time={}", context.fuzz_seconds));
    // By the clock: on a busy machine a moment of work takes seconds.
    fuzz.args(["-timeout=60", "-rss_limit_mb=2048", "-max_len=65536"]);
    fuzz.args(["-verbosity=0", "-print_final_stats=1"]);
    println!("$ {}", describe(&fuzz));
    // Several run at once: what each says is kept apart.
    let log = folder(context.target.join("fuzz-logs"))?.join(name);
    let said = File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = said.map_err(|error| format!("{}: {error}", log.display()))?;
    let status = fuzz.stdout(out).stderr(err).status();
    let status = status.map_err(|error| format!("{name} did not start: {error}"))?;
    let said = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    match executions(&said) {
        Some(count) if status.success() => Ok(count),
        _ => {
            println!("{said}");
            let kept = artifact(&said).map_or_else(String::new, |path| format!(", kept {path}"));
            Err(format!("{status}{kept}, said {}", log.display()))
        }
    }
}

/// `cargo fuzz VERB`, the same for building and running so that nothing is built twice.
fn fuzz(context: &Context, fuzzer: &Path, verb: &str) -> Result<Command> {
    let mut fuzz = command(context, fuzzer);
    // The sanitizer needs an unstable compiler flag.
    fuzz.env("RUSTC_BOOTSTRAP", "1").env("PATH", path_with(&context.cache.join("bin"))?);
    // Compiling takes longer than fuzzing here.
    fuzz.args([verb, "--codegen-units", "16"]);
    Ok(fuzz)
}

fn folder(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The number in libFuzzer's final statistics.
fn executions(said: &str) -> Option<u64> {
    let mut counts =
        said.lines().filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    counts.next()?.trim().parse().ok()
}

/// Where libFuzzer wrote the input that broke the target.
fn artifact(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_executions_is_read_from_the_statistics() {
        let said = "Done 7 runs in 1 second(s)\nstat::number_of_executed_units: 712\nstat::x: 3\n";
        assert_eq!(executions(said), Some(712));
        assert_eq!(executions("Done 7 runs"), None);
    }

    #[test]
    fn the_input_that_broke_a_target_is_named() {
        let said = "artifact_prefix='/a/'; Test unit written to /a/crash-12ab\nBase64: AA==\n";
        assert_eq!(artifact(said), Some("/a/crash-12ab"));
        assert_eq!(artifact("fine"), None);
    }
}

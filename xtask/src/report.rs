//! Runs steps and tells how they went.

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::command::command;
use crate::context::Context;
use crate::steps::{Stage, Step};

/// Runs every step, also after a failure, then prints a table. The last line
/// is `N passed, M failed`.
pub fn run(context: &Context, stages: &[Stage]) -> ExitCode {
    let start = now();
    let outcomes: Vec<Outcome> =
        stages.iter().flat_map(|stage| run_stage(context, stage)).collect();
    println!("\n{}", table(&outcomes));
    println!("in all {:.1} s", (now() - start).as_secs_f64());
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Outcome {
    name: &'static str,
    took: Duration,
    result: Result,
}

/// To time what a person waits for.
#[allow(clippy::disallowed_methods, reason = "times a step for the person who waits for it")]
pub fn now() -> Instant {
    Instant::now()
}

/// Steps of a lane that is alone print as they go. What others print is held back until the step
/// has ended, so that it can be read.
fn run_stage(context: &Context, stage: &Stage) -> Vec<Outcome> {
    if let [lane] = stage.as_slice() {
        return lane.iter().map(|step| run_one(context, step)).collect();
    }
    let printing = Mutex::new(());
    let run_lane = &|steps: &Vec<&'static Step>| -> Vec<Outcome> {
        steps.iter().map(|step| run_beside(context, step, &printing)).collect()
    };
    thread::scope(|scope| {
        let start = |steps| scope.spawn(move || run_lane(steps));
        let lanes: Vec<_> = stage.iter().map(start).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane ends")).collect()
    })
}

fn run_one(context: &Context, step: &Step) -> Outcome {
    println!("\n=== {}: {}", step.name, step.about);
    let start = now();
    let result = (step.run)(context);
    let outcome = Outcome { name: step.name, took: now() - start, result };
    println!("{}", outcome.last_line());
    outcome
}

/// In a process of its own, whose output goes to a file and is printed at the end.
fn run_beside(context: &Context, step: &Step, printing: &Mutex<()>) -> Outcome {
    let start = now();
    let log = context.target.join("xtask-logs").join(step.name);
    let result = run_logged(context, step, &log);
    let outcome = Outcome { name: step.name, took: now() - start, result };
    let said = fs::read(&log).unwrap_or_default();
    let _turn = printing.lock();
    println!("\n=== {}: {}", step.name, step.about);
    print!("{}", String::from_utf8_lossy(&said));
    println!("{}", outcome.last_line());
    outcome
}

fn run_logged(context: &Context, step: &Step, log: &Path) -> Result {
    let in_log = |error: std::io::Error| format!("{}: {error}", log.display());
    log.parent().map_or(Ok(()), fs::create_dir_all).map_err(in_log)?;
    let out = File::create(log).map_err(in_log)?;
    let errors = out.try_clone().map_err(in_log)?;
    let mut alone = command(context, &context.xtask);
    alone.args(["step", step.name, "--fuzz-seconds", &context.fuzz_seconds.to_string()]);
    let status = alone.stdout(out).stderr(errors).status().map_err(in_log)?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read(log).map_err(in_log)?;
    Err(last_error(&String::from_utf8_lossy(&said)).unwrap_or_else(|| status.to_string()))
}

/// The reason that a process of ours ended with.
fn last_error(said: &str) -> Option<String> {
    Some(said.rsplit_once("\nerror: ")?.1.trim_end().to_owned())
}

impl Outcome {
    fn last_line(&self) -> String {
        let (name, seconds) = (self.name, self.took.as_secs_f64());
        match &self.result {
            Ok(()) => format!("--- {name}: ok, {seconds:.1} s"),
            Err(reason) => format!("--- {name}: FAILED, {seconds:.1} s\n{reason}"),
        }
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let seconds = outcome.took.as_secs_f64();
        let (word, reason) = match &outcome.result {
            Ok(()) => ("ok", ""),
            Err(reason) => ("FAILED", reason.lines().next().unwrap_or("")),
        };
        let line = format!("{:<16} {seconds:>7.1} s  {word:<6}  {reason}", outcome.name);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_step_that_ran_beside_others_is_the_last_error() {
        let said = "error: could not compile\nmore\nerror: cargo clippy: exit status: 101\nand\n";
        assert_eq!(last_error(said).as_deref(), Some("cargo clippy: exit status: 101\nand"));
        assert_eq!(last_error("killed"), None);
    }

    #[test]
    fn the_table_names_each_step_its_time_and_the_first_line_of_a_failure() {
        let ok = Outcome { name: "fmt", took: Duration::from_millis(1500), result: Ok(()) };
        let failed = Outcome {
            name: "clippy",
            took: Duration::from_secs(61),
            result: Err("cargo clippy: exit status: 1\nmore".to_owned()),
        };
        assert_eq!(
            table(&[ok, failed]),
            "fmt                  1.5 s  ok\n\
             clippy              61.0 s  FAILED  cargo clippy: exit status: 1\n"
        );
    }
}

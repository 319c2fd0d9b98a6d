//! Runs steps and tells how they went.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Result;
use crate::context::Context;
use crate::steps::Step;

/// Runs every step, also after a failure, then prints a table. The last line
/// is `N passed, M failed`.
pub fn run(context: &Context, steps: &[&Step]) -> ExitCode {
    let outcomes: Vec<Outcome> = steps.iter().map(|step| run_one(context, step)).collect();
    println!("\n{}", table(&outcomes));
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Outcome {
    name: &'static str,
    took: Duration,
    result: Result,
}

#[allow(clippy::disallowed_methods, reason = "times a step for the person who waits for it")]
fn run_one(context: &Context, step: &Step) -> Outcome {
    println!("\n=== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)(context);
    let took = start.elapsed();
    match &result {
        Ok(()) => println!("--- {}: ok, {:.1} s", step.name, took.as_secs_f64()),
        Err(reason) => {
            println!("--- {}: FAILED, {:.1} s\n{reason}", step.name, took.as_secs_f64());
        }
    }
    Outcome { name: step.name, took, result }
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

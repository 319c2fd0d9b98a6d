#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use alarmcast_loadtest::args::{Cli, Command, FanoutArgs, SlowArgs};
use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::slow::outcome::SlowOutcome;
use alarmcast_loadtest::{Error, fanout, report, slow, worker};
use clap::Parser;
use serde::Serialize;

/// The run could not be made.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Fanout(args) => {
            let is_json = args.json;
            conclude(try_fanout(args), is_json, report::table, |outcome| outcome.ok)
        }
        Command::Slow(args) => {
            let is_json = args.json;
            conclude(try_slow(args), is_json, report::slow::table, |outcome| outcome.ok)
        }
        Command::Worker => {
            worker::run();
            ExitCode::SUCCESS
        }
    }
}

fn try_fanout(args: FanoutArgs) -> Result<Outcome, Error> {
    let program = env::current_exe().map_err(Error::io("cannot find this program"))?;
    fanout::run(&args.settings(program)?, &mut say)
}

fn try_slow(args: SlowArgs) -> Result<SlowOutcome, Error> {
    slow::run(&args.settings()?, &mut say)
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints what came of a run; the program's exit code.
fn conclude<T: Serialize>(
    result: Result<T, Error>,
    is_json: bool,
    table: impl FnOnce(&T) -> String,
    is_ok: impl FnOnce(&T) -> bool,
) -> ExitCode {
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("alarmcast-loadtest: {error}");
            return ExitCode::from(EXIT_NOT_RUN);
        }
    };
    match serde_json::to_string_pretty(&outcome) {
        Ok(text) if is_json => println!("{text}"),
        Ok(_) => print!("{}", table(&outcome)),
        Err(error) => eprintln!("alarmcast-loadtest: {error}"),
    }
    if is_ok(&outcome) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#![forbid(unsafe_code)]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use alarmcast_loadtest::args::{
    Cli, Command, FanoutArgs, FilteredArgs, PrioritiesArgs, SlowArgs, StalledArgs, StormArgs,
};
use alarmcast_loadtest::filtered::FilteredOutcome;
use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::slow::outcome::SlowOutcome;
use alarmcast_loadtest::stalled::StalledOutcome;
use alarmcast_loadtest::storm::StormOutcome;
use alarmcast_loadtest::{Error, fanout, filtered, report, slow, stalled, storm, worker};
use clap::Parser;
use serde::Serialize;

/// The run could not be made.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Fanout(args) => {
            let is_json = args.crowd.json;
            conclude(try_fanout(args), is_json, report::table, |outcome| outcome.ok)
        }
        Command::Filtered(args) => {
            let is_json = args.crowd.json;
            conclude(try_filtered(args), is_json, report::filtered::table, |outcome| outcome.ok)
        }
        Command::Priorities(args) => {
            let is_json = args.crowd.json;
            conclude(try_priorities(args), is_json, report::table, |outcome| outcome.ok)
        }
        Command::Slow(args) => {
            let is_json = args.json;
            conclude(try_slow(args), is_json, report::slow::table, |outcome| outcome.ok)
        }
        Command::Stalled(args) => {
            let is_json = args.crowd.json;
            conclude(try_stalled(args), is_json, report::stalled::table, |outcome| outcome.ok)
        }
        Command::Storm(args) => {
            let is_json = args.json;
            conclude(try_storm(args), is_json, report::storm::table, |outcome| outcome.ok)
        }
        Command::Worker => {
            worker::run();
            ExitCode::SUCCESS
        }
    }
}

fn try_fanout(args: FanoutArgs) -> Result<Outcome, Error> {
    fanout::run(&args.settings(this_program()?)?, &mut say)
}

fn try_filtered(args: FilteredArgs) -> Result<FilteredOutcome, Error> {
    filtered::run(&args.settings(this_program()?)?, &mut say)
}

fn try_priorities(args: PrioritiesArgs) -> Result<Outcome, Error> {
    fanout::run(&args.settings(this_program()?)?, &mut say)
}

fn this_program() -> Result<PathBuf, Error> {
    env::current_exe().map_err(Error::io("cannot find this program"))
}

fn try_slow(args: SlowArgs) -> Result<SlowOutcome, Error> {
    slow::run(&args.settings()?, &mut say)
}

fn try_storm(args: StormArgs) -> Result<StormOutcome, Error> {
    storm::run(&args.settings()?, &mut say)
}

fn try_stalled(args: StalledArgs) -> Result<StalledOutcome, Error> {
    stalled::run(&args.settings(this_program()?)?, &mut say)
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

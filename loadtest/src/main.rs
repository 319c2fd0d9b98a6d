#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use alarmcast_loadtest::args::{Cli, Command, FanoutArgs};
use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::{Error, fanout, report, worker};
use clap::Parser;

/// The run could not be made.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Fanout(args) => run_fanout(args),
        Command::Worker => {
            worker::run();
            ExitCode::SUCCESS
        }
    }
}

fn run_fanout(args: FanoutArgs) -> ExitCode {
    let is_json = args.json;
    match try_fanout(args) {
        Ok(outcome) => {
            print_outcome(&outcome, is_json);
            if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("alarmcast-loadtest: {error}");
            ExitCode::from(EXIT_NOT_RUN)
        }
    }
}

fn try_fanout(args: FanoutArgs) -> Result<Outcome, Error> {
    let program = env::current_exe().map_err(Error::io("cannot find this program"))?;
    fanout::run(&args.settings(program)?, &mut |line| eprintln!("{line}"))
}

fn print_outcome(outcome: &Outcome, is_json: bool) {
    if !is_json {
        return print!("{}", report::table(outcome));
    }
    match serde_json::to_string_pretty(outcome) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("alarmcast-loadtest: {error}"),
    }
}

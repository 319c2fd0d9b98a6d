//! Alarmcast's development commands, run as `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod autobahn;
mod bench;
mod command;
mod compare;
mod context;
mod fuzz;
mod instructions;
mod loom;
mod metadata;
mod msrv;
mod report;
mod scale;
mod seccomp;
mod steps;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::context::Context;

/// What went wrong, in words for the person who runs the command.
type Result<T = ()> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Alarmcast's development commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check; the last line is `N passed, M failed`.
    Test {
        /// Run only this step; may be given several times.
        #[arg(long, value_name = "STEP")]
        only: Vec<String>,
        /// List the steps and stop.
        #[arg(long)]
        list: bool,
        /// How long each fuzz target runs, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 40)]
        fuzz_seconds: u32,
    },
    /// Run one step as `test` does, and say nothing more.
    #[command(hide = true)]
    Step {
        name: String,
        #[arg(long, default_value_t = 40)]
        fuzz_seconds: u32,
    },
    /// Install the tools and packages that the checks need, and stop.
    Tools,
    /// Measure Alarmcast and other servers in turns under one load: CPU per delivery first.
    ///
    /// Builds release binaries, starts each server in turn (A B C, C B A, …), has
    /// `alarmcast-loadtest fanout` measure it, and prints medians, each round, and ratios.
    /// docs/BENCHMARKS.md says how to read them.
    Compare(compare::Arguments),
    /// Measure everything that operators choose by, Alarmcast beside other servers, in one table.
    ///
    /// Cost per delivery, highest rates, memory, connects, priorities, filters, publishing: each row
    /// is one or several runs of `alarmcast-loadtest` against a fresh server. About 15 minutes for
    /// all. docs/BENCHMARKS.md says how to read it.
    Bench(bench::Arguments),
    /// Measure Alarmcast with 10,000, 100,000, 250,000 and 1,000,000 connections.
    ///
    /// Connects all, sends critical events to all, has a tenth as many more come, cut off and come
    /// back with `resume`, and drains. About 10 minutes. docs/BENCHMARKS.md says how to read it.
    Scale(scale::Arguments),
    /// Count instructions and memory of parts of the program and compare them with the baseline.
    ///
    /// Counts are for each delivery, message, match and so on, and repeat to a fraction of a
    /// percent: a regression shows on a busy machine too. docs/BENCHMARKS.md says what is counted.
    Instructions {
        /// Write what is counted as the new baseline, benches/instructions/baseline.json.
        #[arg(long)]
        bless: bool,
    },
    /// Run a command whose io_uring system calls all fail with EPERM.
    SeccompNoUring {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test { list: true, .. } => {
            steps::list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Test { only, fuzz_seconds, .. } => {
            let context = Context::find(fuzz_seconds)?;
            Ok(report::run(&context, &steps::choose(&only)?))
        }
        Command::Step { name, fuzz_seconds } => {
            let context = Context::find(fuzz_seconds)?;
            (steps::find(&name)?.run)(&context).map(|()| ExitCode::SUCCESS)
        }
        Command::Tools => tools::install_all(&Context::find(0)?).map(|()| ExitCode::SUCCESS),
        Command::Compare(arguments) => {
            compare::compare(&Context::find(0)?, &arguments).map(|()| ExitCode::SUCCESS)
        }
        Command::Bench(arguments) => {
            bench::bench(&Context::find(0)?, &arguments).map(|()| ExitCode::SUCCESS)
        }
        Command::Scale(arguments) => {
            scale::scale(&Context::find(0)?, &arguments).map(|()| ExitCode::SUCCESS)
        }
        Command::Instructions { bless } => {
            let context = Context::find(0)?;
            let run = if bless { instructions::bless } else { instructions::check };
            run(&context).map(|()| ExitCode::SUCCESS)
        }
        Command::SeccompNoUring { command } => Err(seccomp::exec_without_io_uring(&command)),
    }
}

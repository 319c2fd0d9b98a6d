#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use alarmcast_loadtest::args::{Cli, Command, ResultArgs};
use alarmcast_loadtest::results::{self, About, Clock, ScenarioOutcome};
use alarmcast_loadtest::say::{Lines, Say};
use alarmcast_loadtest::{
    Error, churn, fanout, filtered, idle, report, scenario_file, slow, stalled, storm, worker,
};
use clap::Parser;

/// The run could not be made.
const EXIT_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    try_main(Cli::parse().command, None).unwrap_or_else(|error| {
        eprintln!("alarmcast-loadtest: {error}");
        ExitCode::from(EXIT_NOT_RUN)
    })
}

/// `from_file`: the arguments that a scenario's file stands for.
fn try_main(command: Command, from_file: Option<Vec<String>>) -> Result<ExitCode, Error> {
    let program = env::current_exe().map_err(Error::io("cannot find this program"))?;
    let tell = |scenario, control: &str, to: &ResultArgs| {
        Telling::new(scenario, control, to, from_file.clone())
    };
    match command {
        Command::Run(args) => {
            let (arguments, command) = scenario_file::read(&args.file, &args.set)?;
            try_main(command, Some(arguments))
        }
        Command::Fanout(args) => {
            let telling = tell("fanout", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| fanout::run(&settings, say))
        }
        Command::Idle(args) => {
            let telling = tell("idle", &args.control, &args.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| idle::run(&settings, say))
        }
        Command::Churn(args) => {
            let telling = tell("churn", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| churn::run(&settings, say))
        }
        Command::Mixed(args) => {
            let telling = tell("mixed", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| fanout::run(&settings, say))
        }
        Command::Filtered(args) => {
            let telling = tell("filtered", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| filtered::run(&settings, say))
        }
        Command::Priorities(args) => {
            let telling = tell("priorities", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| fanout::run(&settings, say))
        }
        Command::Slow(args) => {
            let telling = tell("slow", &args.control, &args.result)?;
            let settings = args.settings()?;
            telling.conclude(|say| slow::run(&settings, say))
        }
        Command::Stalled(args) => {
            let telling = tell("stalled", &args.crowd.control, &args.crowd.result)?;
            let settings = args.settings(program)?;
            telling.conclude(|say| stalled::run(&settings, say))
        }
        Command::Storm(args) => {
            let telling = tell("storm", &args.control, &args.result)?;
            let settings = args.settings()?;
            telling.conclude(|say| storm::run(&settings, say))
        }
        Command::Report(args) => {
            for path in report::run(&args.into())? {
                println!("{}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker => {
            worker::run();
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// How a run's result is told.
struct Telling {
    scenario: &'static str,
    control: String,
    to: ResultArgs,
    clock: results::Running,
    from_file: Option<Vec<String>>,
}

impl Telling {
    /// Before the run: a result that could not be written is not worth the time.
    fn new(
        scenario: &'static str,
        control: &str,
        to: &ResultArgs,
        from_file: Option<Vec<String>>,
    ) -> Result<Self, Error> {
        if let Some(folder) = &to.output {
            results::prepare(folder)?;
        }
        let (control, to, clock) = (control.to_owned(), to.clone(), Clock::start());
        Ok(Self { scenario, control, to, clock, from_file })
    }

    /// Makes the run, prints what came of it, and writes it; the program's exit code.
    fn conclude<T: ScenarioOutcome>(
        self,
        run: impl FnOnce(&mut dyn Say) -> Result<T, Error>,
    ) -> Result<ExitCode, Error> {
        let mut lines = Lines::stderr();
        let outcome = run(&mut lines);
        lines.clear();
        let outcome = &outcome?;
        let clock = self.clock.stop();
        if self.to.json {
            let text = serde_json::to_string_pretty(outcome);
            println!("{}", text.map_err(|error| Error::Usage(error.to_string()))?);
        } else {
            print!("{}", outcome.table());
        }
        if let Some(folder) = &self.to.output {
            let about = About::collect(self.scenario, self.to.label, &self.control, clock);
            results::write(folder, About { from_file: self.from_file, ..about }, outcome)?;
        }
        Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

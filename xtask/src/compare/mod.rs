//! Servers side by side under one load, in turns, so that what else the machine does falls
//! on all of them.

pub mod contenders;
pub mod machine;
mod others;
mod run;
pub mod server;
pub mod table;
pub mod tester;

use clap::Args;

use self::contenders::Contender;
use self::machine::Cores;
use self::run::Run;
use crate::command::{cargo, run};
use crate::context::Context;
use crate::{Result, command};

/// The one that is a workspace of its own.
pub const AXUM_MANIFEST: &str = "loadtest/compare/axum/Cargo.toml";

/// The load, and who is to bear it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Subscribers, each of which gets every event
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    /// Events per second times subscribers
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    deliveries_per_second: u32,
    /// How long events are published in each run
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,
    /// Bytes of each event's JSON
    #[arg(long, value_name = "N", default_value_t = 512)]
    event_bytes: u32,
    /// How often each server is measured; the first in one round is the last in the next
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Threads of each server that hold connections; where the machine has more cores, the server
    /// is kept on as many and the load tester on the others
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: u32,
    /// Only this server; may be given several times [default: all]
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// The server that the others are compared with
    #[arg(long, value_name = "NAME", default_value = "plain-mio")]
    against: String,
    /// Run servers and load tester before everything else on the machine (real-time priority, as
    /// root): on a busy one, they are not kept waiting
    #[arg(long)]
    realtime: bool,
    /// List the servers and stop
    #[arg(long)]
    list: bool,
}

/// Measures and prints. What a server needs is installed, or it is left out, and is told with the
/// reason; so is a run that came to nothing.
///
/// # Errors
/// When no server can be measured.
pub fn compare(context: &Context, arguments: &Arguments) -> Result {
    if arguments.list {
        contenders::list();
        return Ok(());
    }
    if arguments.rounds == 0 || arguments.connections == 0 || arguments.shards == 0 {
        return Err("--rounds, --connections and --shards take at least 1".to_owned());
    }
    build_tester(context)?;
    let chosen = contenders::choose(&arguments.servers)?;
    let (chosen, left_out) = get_ready(context, chosen, arguments.shards);
    if chosen.is_empty() {
        return Err(format!("there is no server to measure\n{}", left_out.join("\n")));
    }
    let cores = Cores::divide(arguments.shards, arguments.realtime)?;
    let load = run::Load::new(arguments);
    println!("\n{load}\n{cores}\n{}\n", machine::describe());
    left_out.iter().for_each(|line| println!("{line}"));
    let mut runs: Vec<Run> = Vec::new();
    for round in 1..=arguments.rounds {
        for contender in in_turn(&chosen, round) {
            match load.put_on(context, contender, &cores, round) {
                Ok(run) => {
                    println!("{}", table::line(&run));
                    runs.push(run);
                }
                Err(reason) => println!("round {round}  {} NOT MEASURED: {reason}", contender.name),
            }
        }
    }
    let is_measured = |name: &&str| runs.iter().any(|run| run.name == *name);
    let names: Vec<_> = chosen.iter().map(|contender| contender.name).filter(is_measured).collect();
    println!("\n{}", table::medians(&names, &runs));
    println!("{}", table::ratios(&names, &runs, &arguments.against));
    if names.is_empty() { Err("no server was measured".to_owned()) } else { Ok(()) }
}

/// The load tester, in its release build.
pub fn build_tester(context: &Context) -> Result {
    let tester = ["build", "--locked", "--release", "--package", "alarmcast-loadtest", "--bins"];
    run(&mut cargo(context, &tester))
}

/// Those that can be measured, and a line about each of the others.
pub fn get_ready(
    context: &Context,
    chosen: Vec<&'static Contender>,
    shards: u32,
) -> (Vec<&'static Contender>, Vec<String>) {
    let mut left_out = Vec::new();
    let ready = chosen.into_iter().filter(|contender| {
        let reason = contender.get_ready(context, shards).err();
        left_out.extend(reason.iter().map(|why| format!("{} is left out: {why}", contender.name)));
        reason.is_none()
    });
    (ready.collect(), left_out)
}

/// Forward and backward by turns: a drift of the machine falls on all alike.
fn in_turn<'a>(chosen: &[&'a Contender], round: u32) -> Vec<&'a Contender> {
    let mut order = chosen.to_vec();
    if round.is_multiple_of(2) {
        order.reverse();
    }
    order
}

/// A program of this repository, in its release build.
pub fn build(context: &Context, target: &[&str]) -> Result {
    let mut build = cargo(context, &["build", "--locked", "--release", "--package", "alarmcast"]);
    command::run(build.args(target))
}

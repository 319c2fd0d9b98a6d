//! Servers side by side under one load, in turns, so that what else the machine does falls
//! on all of them.

mod contenders;
mod machine;
mod run;
mod table;

use clap::Args;

use self::contenders::Contender;
use self::machine::Cores;
use self::run::Run;
use crate::command::{cargo, run};
use crate::context::Context;
use crate::{Result, command};

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

/// Measures and prints.
///
/// # Errors
/// When a server cannot be built or started, or the load tester could not measure it.
pub fn compare(context: &Context, arguments: &Arguments) -> Result {
    if arguments.list {
        contenders::list();
        return Ok(());
    }
    if arguments.rounds == 0 || arguments.connections == 0 || arguments.shards == 0 {
        return Err("--rounds, --connections and --shards take at least 1".to_owned());
    }
    let chosen = contenders::choose(&arguments.servers)?;
    for contender in &chosen {
        (contender.prepare)(context)?;
    }
    let tester = ["build", "--locked", "--release", "--package", "alarmcast-loadtest", "--bins"];
    run(&mut cargo(context, &tester))?;
    let cores = Cores::divide(arguments.shards, arguments.realtime)?;
    let load = run::Load::new(arguments);
    println!("\n{load}\n{cores}\n{}\n", machine::describe());
    let mut runs: Vec<Run> = Vec::new();
    for round in 1..=arguments.rounds {
        for contender in in_turn(&chosen, round) {
            let run = load.put_on(context, contender, &cores, round)?;
            println!("{}", table::line(&run));
            runs.push(run);
        }
    }
    let names: Vec<_> = chosen.iter().map(|contender| contender.name).collect();
    println!("\n{}", table::medians(&names, &runs));
    println!("{}", table::ratios(&names, &runs, &arguments.against));
    Ok(())
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
fn build(context: &Context, target: &[&str]) -> Result {
    let mut build = cargo(context, &["build", "--locked", "--release", "--package", "alarmcast"]);
    command::run(build.args(target))
}

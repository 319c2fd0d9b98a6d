//! Alarmcast with ever more connections, up to a million: what each costs; that all get an urgent
//! event, that a tenth as many more can be cut off and come back, and that all are told to go
//! elsewhere.

mod storm;
mod table;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{fs, thread};

use clap::Args;
use serde_json::Value;

use self::storm::Storm;
use crate::Result;
use crate::bench::new_folder;
use crate::command::{command, run};
use crate::compare::contenders::telling;
use crate::compare::server::{Guard, Server};
use crate::compare::tester;
use crate::compare::{build, build_tester, machine};
use crate::context::Context;
use crate::report;

const SIZES: [u32; 4] = [10_000, 100_000, 250_000, 1_000_000];
/// A ring's table has one entry for each descriptor that a process may usually have; shards get
/// unequal shares.
const CONNECTIONS_PER_SHARD: u32 = 18_000;
/// Of an event to all: half of what two cores carry, clients included.
const DELIVERIES_PER_SECOND: f64 = 40_000.0;
/// What the load tester says when the server may be ended.
const READY_FOR_DRAIN: &str = "ready for drain";

/// How many, and where results go.
#[derive(Args, Debug)]
pub struct Arguments {
    /// So many connections; may be given several times
    /// [default: 10000, 100000, 250000, 1000000, the last of which takes about 10 GiB of memory]
    #[arg(long = "connections", value_name = "N", value_parser = clap::value_parser!(u32).range(100..))]
    sizes: Vec<u32>,
    /// Write results, table and a plot there too; a new folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// One number of connections, and what came of it.
pub struct Scaled {
    pub connections: u32,
    pub shards: u32,
    /// The load tester's result, of the connections that stay.
    pub fanout: Value,
    pub storm: Storm,
    /// From the signal until the last one was gone.
    pub drain_seconds: f64,
}

/// Measures and prints a table.
///
/// # Errors
/// When a run cannot be made.
pub fn scale(context: &Context, arguments: &Arguments) -> Result {
    new_folder(arguments.output.as_deref())?;
    build_tester(context)?;
    build(context, &["--bin", "alarmcast"])?;
    let sizes = if arguments.sizes.is_empty() { &SIZES[..] } else { &arguments.sizes };
    let folder = |size: u32| {
        let output = arguments.output.as_ref();
        output.map(|output| output.join("runs").join(size.to_string()))
    };
    let mut all = Vec::new();
    for &size in sizes {
        eprintln!("{size} connections");
        let scaled = measure(context, size, folder(size).as_deref())?;
        eprintln!("{}", table::markdown(std::slice::from_ref(&scaled)));
        all.push(scaled);
    }
    let text = format!("{}\n\n{}", machine::describe(), table::markdown(&all));
    print!("{text}");
    if let Some(output) = &arguments.output {
        let path = output.join("table.md");
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        let results: Vec<PathBuf> = sizes.iter().copied().filter_map(folder).collect();
        tester::report(context, &results, &output.join("cost"), "Alarmcast on io_uring")?;
    }
    Ok(())
}

fn measure(context: &Context, connections: u32, output: Option<&Path>) -> Result<Scaled> {
    let returning = connections / 10;
    let shards = (connections + returning).div_ceil(CONNECTIONS_PER_SHARD);
    let server = start(context, connections + returning, shards)?;
    let mut fanout = start_fanout(context, &server, connections, output)?;
    await_ready(&mut fanout)?;
    eprintln!("  all have the event; {returning} more come, are cut off, and come back");
    let storm = Storm::run(context, &server, returning)?;
    eprintln!("  they are gone; the server is asked to end");
    let asked = report::now();
    run(command(context, "kill").args(["-TERM", &server.child.id().to_string()]))?;
    let said = tester::everything_said(&mut fanout)?;
    let drain_seconds = asked.elapsed().as_secs_f64();
    let fanout = tester::outcome(fanout, &said)?;
    Ok(Scaled { connections, shards, fanout, storm, drain_seconds })
}

/// A server for so many, that gives clients time: they share its cores.
fn start(context: &Context, connections: u32, shards: u32) -> Result<Server> {
    let drain_secs = connections / 20_000 + 5;
    let settings = [
        format!("limits.connections_max={}", connections + connections / 20),
        "session.heartbeat_interval_secs=600".to_owned(),
        "session.idle_timeout_secs=1800".to_owned(),
        format!("server.drain_window_secs={drain_secs}"),
        format!("server.drain_timeout_secs={}", 3 * drain_secs),
    ];
    let program = context.target.join("release/alarmcast").display().to_string();
    let shards = shards.to_string();
    let listening = ["--stream-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];
    let words = ["serve", "--driver", "uring", "--shards", &shards].into_iter().chain(listening);
    let words = words.map(str::to_owned);
    let settings = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]);
    let command = [program].into_iter().chain(words).chain(settings);
    Server::start(context, Vec::new(), telling(command))
}

/// Connects all, sends critical events to all, and then waits for the server to end them.
fn start_fanout(
    context: &Context,
    server: &Server,
    connections: u32,
    output: Option<&Path>,
) -> Result<Guard> {
    let rate = DELIVERIES_PER_SECOND / f64::from(connections);
    let events = (600_000 / connections).clamp(2, 40);
    let mut fanout = command(context, tester::program(context));
    fanout.args(["fanout", "--json", "--url", &server.stream, "--control", &server.control]);
    fanout.args(["--server-pid", &server.child.id().to_string()]);
    fanout.args(["--connections", &connections.to_string(), "--window", "250"]);
    fanout.args(["--handshake-timeout", "60", "--settle", "2", "--quiet", "30"]);
    fanout.args(["--events", &events.to_string(), "--rate", &rate.to_string()]);
    // What storms are sent is not for them.
    fanout.args(["--priority", "critical", "--filters", r#"{"min_priority":"critical"}"#]);
    fanout.args(["--expect-drain", "--drain-timeout", "300"]);
    if let Some(output) = output {
        fanout.arg("--output").arg(output).args(["--label", "uring"]);
    }
    fanout.stdout(Stdio::piped()).stderr(Stdio::piped());
    fanout.spawn().map(Guard).map_err(|error| format!("the load tester: {error}"))
}

/// Until it says so; what it says is passed on.
fn await_ready(fanout: &mut Guard) -> Result {
    let stderr = fanout.0.stderr.take().ok_or("has no standard error")?;
    let mut lines = BufReader::new(stderr).lines().map_while(std::result::Result::ok);
    for line in lines.by_ref() {
        eprintln!("  {line}");
        if line == READY_FOR_DRAIN {
            // What it prints later must not fill the pipe.
            thread::spawn(move || lines.for_each(|line| eprintln!("  {line}")));
            return Ok(());
        }
    }
    Err(tester::everything_said(fanout)?)
}

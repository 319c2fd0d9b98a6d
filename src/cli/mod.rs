//! L6: the `alarmcast` program: the server, and clients to use and try it.

#![forbid(unsafe_code)]

mod chance;
mod config;
mod connections;
mod demo;
mod doctor;
mod drain;
mod failure;
mod http;
mod logging;
mod publish;
mod replay;
mod serve;
mod stop;
mod tail;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use failure::Failure;

/// A WebSocket event-streaming server for incidents, alerts and all that follows from them.
#[derive(Debug, Parser)]
#[command(name = "alarmcast", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Arguments),
    /// Publish events from a file, stdin, or the command line
    Publish(publish::Arguments),
    /// Watch the stream
    Tail(tail::Arguments),
    /// Print events of the past
    Replay(replay::Arguments),
    /// Publish a realistic storm of incidents into a running server
    Demo(demo::Arguments),
    /// Ask a running server for its orderly end
    Drain(drain::Arguments),
    /// See who is connected, and close connections
    Connections(connections::Arguments),
    /// Say whether this host can hold very many connections, and what to change
    Doctor(doctor::Arguments),
    /// Print or check the configuration
    Config(config::Arguments),
}

/// Runs the program that the command line asks for.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Publish(arguments) => publish::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Drain(arguments) => drain::run(&arguments),
        Command::Connections(arguments) => connections::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}

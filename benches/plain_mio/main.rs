//! A fan-out server on mio as one would write it in a day, to compare Alarmcast with: no
//! filters, lanes, priorities, timers or metrics. What is published goes to everyone who
//! subscribed. It speaks as much of the protocol as `alarmcast-loadtest fanout` listens to.
//!
//! `cargo xtask compare` runs it.

#![forbid(unsafe_code)]

mod connection;
mod fanout;
mod publish;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use std::io;

use clap::Parser;

use crate::fanout::{Fanout, Inbox};
use crate::server::{Arguments, Server, start_thread};

fn main() -> io::Result<()> {
    start(&Arguments::parse())?.stay()
}

fn start(arguments: &Arguments) -> io::Result<Server> {
    Server::start(arguments, |listener, core| {
        let mut fanout = Fanout::new(listener)?;
        let inbox = fanout.inbox();
        start_thread(core, move || fanout.run())?;
        Ok(inbox)
    })
}

//! The plain server of ../plain_mio on tokio-uring: two tasks for each connection, of which one
//! reads and the other writes what has come together since its last write.
//!
//! `cargo xtask compare` runs it.

#![forbid(unsafe_code)]

mod connection;
mod fanout;
#[path = "../plain_mio/publish.rs"]
mod publish;
#[path = "../plain_mio/server.rs"]
mod server;
#[cfg(test)]
#[path = "../plain_mio/tests.rs"]
mod tests;
#[path = "../plain_mio/wire.rs"]
mod wire;

use std::io;
use std::sync::Arc;

use clap::Parser;
use tokio::sync::mpsc::channel;

use crate::fanout::Inbox;
use crate::server::{Arguments, Server, start_thread};

const RING_ENTRIES: u32 = 4096;
const INBOX_FRAMES_MAX: usize = 1024;

fn main() -> io::Result<()> {
    start(&Arguments::parse())?.stay()
}

fn start(arguments: &Arguments) -> io::Result<Server> {
    Server::start(arguments, |listener, core| {
        let (inbox, frames) = channel(INBOX_FRAMES_MAX);
        start_thread(core, move || {
            let fanout = fanout::run(listener, frames);
            tokio_uring::builder().entries(RING_ENTRIES).start(fanout)
        })?;
        Ok(Arc::new(Inbox(inbox)))
    })
}

//! A fan-out server on mio as one would write it in a day, to compare Alarmcast with: no
//! filters, lanes, priorities, timers or metrics. What is published goes to everyone who
//! subscribed. It speaks as much of the protocol as `alarmcast-loadtest fanout` listens to.
//!
//! `cargo xtask compare` runs it.

#![forbid(unsafe_code)]

mod connection;
mod fanout;
mod publish;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use clap::Parser;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use crate::fanout::{Fanout, Inbox};
use crate::publish::Publisher;

const LISTEN_BACKLOG: i32 = 4096;

/// A plain fan-out server on mio, to compare Alarmcast with.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where WebSocket clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    stream_listen: SocketAddr,
    /// Where events are posted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    control_listen: SocketAddr,
    /// Threads that hold connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: usize,
}

fn main() -> io::Result<()> {
    let server = Server::start(&Arguments::parse())?;
    println!("stream   ws://{}/ws", server.stream);
    println!("control  http://{}", server.control);
    loop {
        thread::park();
    }
}

/// Where a server that runs can be reached.
struct Server {
    stream: SocketAddr,
    control: SocketAddr,
}

impl Server {
    /// Starts the threads, which run until the process ends.
    fn start(arguments: &Arguments) -> io::Result<Self> {
        let mut stream = arguments.stream_listen;
        let cores = cores();
        let mut inboxes = Vec::new();
        for index in 0..arguments.shards.max(1) {
            let listener = listen(stream)?;
            // The others share the port that the first one got.
            stream = listener.local_addr()?;
            let mut fanout = Fanout::new(listener)?;
            inboxes.push(fanout.inbox());
            let core = cores.get(index % cores.len().max(1)).copied();
            thread::Builder::new().name(format!("fanout-{index}")).spawn(move || {
                core.into_iter().for_each(pin_to);
                if let Err(error) = fanout.run() {
                    eprintln!("fanout-{index}: {error}");
                    std::process::exit(1);
                }
            })?;
        }
        let listener = TcpListener::bind(arguments.control_listen)?;
        let control = listener.local_addr()?;
        let publisher = Arc::new(Publisher::new(inboxes));
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || publish::serve(&listener, &publisher))?;
        Ok(Self { stream, control })
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect()
}

fn pin_to(core: usize) {
    let mut cores = CpuSet::new();
    let pinned = cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores));
    if let Err(error) = pinned {
        eprintln!("not pinned to core {core}: {error}");
    }
}

//! Starting a plain server: its threads, and where they listen.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use clap::Parser;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Inbox;
use crate::publish::{self, Publisher};

const LISTEN_BACKLOG: i32 = 4096;

/// A plain fan-out server to compare Alarmcast with.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Where WebSocket clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub stream_listen: SocketAddr,
    /// Where events are posted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub control_listen: SocketAddr,
    /// Threads that hold connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub shards: usize,
}

/// Where a server that runs can be reached.
pub struct Server {
    pub stream: SocketAddr,
    pub control: SocketAddr,
}

impl Server {
    /// Starts the threads, which run until the process ends. `start` starts one that holds
    /// connections from a listener, on a core.
    pub fn start(
        arguments: &Arguments,
        start: impl Fn(TcpListener, Option<usize>) -> io::Result<Arc<Inbox>>,
    ) -> io::Result<Self> {
        let mut stream = arguments.stream_listen;
        let cores = cores();
        let mut inboxes = Vec::new();
        for index in 0..arguments.shards.max(1) {
            let listener = listen(stream)?;
            // The others share the port that the first one got.
            stream = listener.local_addr()?;
            let core = cores.get(index % cores.len().max(1)).copied();
            inboxes.push(start(listener, core)?);
        }
        let listener = TcpListener::bind(arguments.control_listen)?;
        let control = listener.local_addr()?;
        let publisher = Arc::new(Publisher::new(inboxes));
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || publish::serve(&listener, &publisher))?;
        Ok(Self { stream, control })
    }

    /// Tells where it is, and keeps the process alive.
    pub fn stay(&self) -> ! {
        println!("stream   ws://{}/ws", self.stream);
        println!("control  http://{}", self.control);
        loop {
            thread::park();
        }
    }
}

/// Starts a thread that holds connections; the process ends when it cannot go on.
pub fn start_thread(
    core: Option<usize>,
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let thread = thread::Builder::new().name("fanout".to_owned());
    let started = thread.spawn(move || {
        core.into_iter().for_each(pin_to);
        if let Err(error) = run() {
            eprintln!("fan-out: {error}");
            std::process::exit(1);
        }
    });
    started.map(drop)
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

//! A server as the main thing of its process: until a signal ends it.

use std::io;
use std::net::SocketAddr;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::server::{Error, Server, Stopper};

/// What a newcomer must know of a server that has just started.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    pub stream: SocketAddr,
    pub control: SocketAddr,
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    pub shards: usize,
}

/// Starts a server, announces it, and serves until SIGTERM or SIGINT: the first one drains,
/// the second ends at once. SIGHUP calls `reload`, and ends nothing.
///
/// # Errors
/// What keeps it from starting, or what it failed with.
pub fn run(
    config: Config,
    announce: impl FnOnce(&Announcement),
    reload: impl FnMut() + Send + 'static,
) -> Result<(), Error> {
    // Before any thread starts, so that no signal finds the default handler.
    let signals = Signals::install().map_err(Error::Thread)?;
    let server = Server::builder().config(config).start()?;
    announce(&Announcement {
        stream: server.stream_addr(),
        control: server.control_addr(),
        driver: server.driver().kernel_name(),
        shards: server.shards(),
    });
    let stopper = server.stopper();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.watch(&stopper, reload))
        .map_err(Error::Thread)?;
    server.wait()
}

struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self { runtime, terminate, interrupt, hangup })
    }

    fn watch(self, stopper: &Stopper, mut reload: impl FnMut()) {
        let Self { runtime, mut terminate, mut interrupt, mut hangup } = self;
        runtime.block_on(async {
            let mut next = async || {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => return "SIGTERM",
                        _ = interrupt.recv() => return "SIGINT",
                        _ = hangup.recv() => reload(),
                    }
                }
            };
            let signal = next().await;
            tracing::info!(signal, "draining; a second signal ends at once");
            stopper.drain();
            let signal = next().await;
            tracing::warn!(signal, "ending at once");
            stopper.force();
        });
    }
}

//! L6: the composition root. Starts the hub, the shards and the control plane of one
//! server, in this process or inside a host program, and ends them in order.

#![forbid(unsafe_code)]

mod builder;
mod capacity;
mod driver;
mod handlers;
mod run;
mod start;
mod stop;

pub use builder::Builder;
pub(crate) use capacity::{REFUSED_AT_ONCE, descriptors_for, sockets_max};
pub use driver::DriverName;
pub use handlers::{
    Alerts, Assignments, Comments, Escalations, Incidents, Notifications, Playbooks, Publishing,
    System,
};
pub use run::{Announcement, run};
pub use stop::Stopper;

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use crate::base::lifecycle::Lifecycle;
use crate::hub::Publisher;
use crate::shard::Handle;
use start::{ShardEnd, Threads};

/// Why a server could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {addr} ({what}): {error}")]
    Listen { what: &'static str, addr: SocketAddr, error: io::Error },
    #[error("{0}")]
    Driver(String),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("shard {index} failed: {error}")]
    Shard { index: usize, error: io::Error },
    #[error("the control plane failed: {0}")]
    Control(io::Error),
    #[error("{0} panicked; this is a bug, please report it with the log")]
    Panicked(String),
}

/// A running server. Dropping it without [`Server::stop`] ends it at once, without telling
/// its clients.
#[derive(Debug)]
pub struct Server {
    stream_addr: SocketAddr,
    control_addr: SocketAddr,
    driver: DriverName,
    publishing: Publishing,
    shards: Vec<Handle>,
    stopper: Stopper,
    shard_ends: crossbeam::channel::Receiver<ShardEnd>,
    threads: Threads,
    control: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// A server with the default configuration, to be changed before it starts.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where WebSocket clients connect; the port obtained where 0 was asked for.
    pub fn stream_addr(&self) -> SocketAddr {
        self.stream_addr
    }

    /// Where the HTTP API is served; the port obtained where 0 was asked for.
    pub fn control_addr(&self) -> SocketAddr {
        self.control_addr
    }

    pub fn driver(&self) -> DriverName {
        self.driver
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The publishing handlers: a clone may go to any thread.
    pub fn publishing(&self) -> &Publishing {
        &self.publishing
    }

    /// Where events of any kind enter the stream.
    pub fn publisher(&self) -> &Publisher {
        self.publishing.publisher()
    }

    /// Ends the server from another thread while this one waits for it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Drains: refuses what is new, delivers what was taken, tells every client, closes.
    /// Waits for the end, which the configured drain timeout bounds.
    ///
    /// # Errors
    /// Whatever a thread of the server failed with.
    pub fn stop(self) -> Result<(), Error> {
        self.stopper.drain();
        self.wait()
    }

    /// Waits until the server has ended, by a [`Stopper`] or by a failure.
    ///
    /// # Errors
    /// Whatever a thread of the server failed with.
    pub fn wait(mut self) -> Result<(), Error> {
        let mut failure = None;
        for _ in 0..self.shards.len() {
            let Ok(ShardEnd { index, result }) = self.shard_ends.recv() else { break };
            if let Err(error) = result {
                tracing::error!(shard = index, %error, "a shard failed; the server ends");
                failure.get_or_insert(Error::Shard { index, error });
                // One shard less means clients that nobody serves: better to end as a whole.
                self.stopper.force();
            }
        }
        let ended = self.join();
        failure.map_or(ended, Err)
    }

    /// The shards have ended, or are about to: ends the rest.
    fn join(&mut self) -> Result<(), Error> {
        self.stopper.finish();
        let mut result = Ok(());
        for (name, thread) in self.threads.drain(..) {
            if thread.join().is_err() {
                result = Err(Error::Panicked(name.to_owned()));
            }
        }
        if let Some(control) = self.control.take() {
            match control.join() {
                Ok(served) => result = result.and(served.map_err(Error::Control)),
                Err(_) => result = Err(Error::Panicked("control".to_owned())),
            }
        }
        result
    }

    pub fn lifecycle(&self) -> &Lifecycle {
        self.stopper.lifecycle()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stopper.force();
            // Nobody is left to be told of an error.
            let _ = self.join();
        }
    }
}

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::config::{Config, DriverChoice};
use crate::server::{Error, Server, start};

/// A server that has not started.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Replaces the whole configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where WebSocket clients connect; port 0 takes a free one.
    pub fn stream_listen(mut self, addr: SocketAddr) -> Self {
        self.config.stream.listen = addr;
        self
    }

    /// Where the HTTP API is served; port 0 takes a free one.
    pub fn control_listen(mut self, addr: SocketAddr) -> Self {
        self.config.control.listen = addr;
        self
    }

    pub fn driver(mut self, driver: DriverChoice) -> Self {
        self.config.server.driver = driver;
        self
    }

    /// Threads that hold connections; 0 is one per core.
    pub fn shards(mut self, count: usize) -> Self {
        self.config.server.shards = count;
        self
    }

    /// Starts all threads and begins to accept.
    ///
    /// # Errors
    /// An address that cannot be listened on, a driver that is refused, no threads.
    pub fn start(self) -> Result<Server, Error> {
        start::start(Arc::new(self.config), Clock::System)
    }
}

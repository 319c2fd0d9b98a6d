//! What the host is judged for.

use super::host::Host;
use crate::config::{Config, DriverChoice};
use crate::server::{DriverName, REFUSED_AT_ONCE, descriptors_for, sockets_max};

/// A server with its configuration, and how many connections it is to hold.
#[derive(Clone, Debug)]
pub struct Target {
    pub connections: u64,
    /// `limits.connections_max`.
    pub connections_max: u64,
    pub shards: usize,
    pub choice: DriverChoice,
    /// The one that the server would come to run on.
    pub driver: DriverName,
    pub listen_backlog: u64,
    pub message_bytes_max: u64,
    /// Where the server listens.
    pub ports: [u16; 2],
    /// Bytes that history takes once it is full.
    pub history_bytes: u64,
    /// Bytes that backlogs and incomplete messages may take at the worst moment.
    pub burst_bytes: u64,
}

/// The kernel takes no larger table of direct descriptors.
const TABLE_ENTRIES_MAX: u64 = 1 << 20;

impl Target {
    pub fn new(config: &Config, connections: Option<u64>, host: &Host) -> Self {
        let limits = &config.limits;
        let cores = host.processor.cores.as_ref().map_or(1, Vec::len);
        let driver = match (config.server.driver, &host.kernel.uring) {
            (DriverChoice::Epoll, _) | (DriverChoice::Auto, Err(_)) => DriverName::Epoll,
            (DriverChoice::Uring | DriverChoice::Auto, _) => DriverName::Uring,
        };
        Self {
            connections: connections.unwrap_or(limits.connections_max as u64),
            connections_max: limits.connections_max as u64,
            shards: if config.server.shards == 0 { cores } else { config.server.shards },
            choice: config.server.driver,
            driver,
            listen_backlog: u64::from(limits.listen_backlog),
            message_bytes_max: limits.message_bytes_max as u64,
            ports: [config.stream.listen.port(), config.control.listen.port()],
            history_bytes: config.history.bytes_max as u64,
            burst_bytes: (limits.backlog_bytes_max + limits.partial_messages_bytes_max) as u64,
        }
    }

    /// Sockets that one of `shards` must have room for: the kernel's hash spreads connections
    /// as dice would, and six standard deviations above the mean do not come up.
    fn sockets_of(&self, shards: usize) -> u64 {
        let mean = self.connections as f64 / shards as f64;
        let most = (mean + 6.0 * mean.sqrt()).ceil() as u64;
        most.min(self.connections) + REFUSED_AT_ONCE
    }

    /// Whether shards find room for the target under this RLIMIT_NOFILE.
    pub fn fits(&self, shards: usize, descriptors_max: u64) -> bool {
        let wanted = usize::try_from(self.connections).unwrap_or(usize::MAX / 2);
        let room = u64::from(sockets_max(wanted, self.driver, shards, descriptors_max));
        room.min(TABLE_ENTRIES_MAX) >= self.sockets_of(shards)
    }

    /// The RLIMIT_NOFILE that gives the shards room, a little rounded up.
    pub fn descriptors(&self) -> u64 {
        let sockets = self.sockets_of(self.shards);
        descriptors_for(sockets, self.driver, self.shards).next_multiple_of(1024)
    }

    /// The fewest shards that find room as things are: on io_uring each has a table of its own.
    pub fn shards_that_fit(&self, descriptors_max: u64) -> Option<usize> {
        const SHARDS_MAX: usize = 1024;
        (self.shards..=SHARDS_MAX).find(|&shards| self.fits(shards, descriptors_max))
    }
}

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use super::pipe::Pipe;
use super::random::Random;
use super::{Faults, SimListener};
use crate::base::clock::{Clock, Instant};

/// The network: every connection, and who waits to be accepted.
#[derive(Debug)]
pub(super) struct Net {
    pub clock: Clock,
    pub random: Random,
    pub faults: Faults,
    seed: u64,
    links: BTreeMap<LinkId, Link>,
    links_made: u32,
    /// By listener: connections that wait, oldest first; none once its driver is gone.
    backlogs: Vec<Option<VecDeque<LinkId>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(u32);

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub to_server: Pipe,
    pub to_client: Pipe,
    pub peer: SocketAddr,
    listener: SimListener,
    /// Either side was told nothing more than that it is over.
    pub reset: bool,
    /// The server shut down both directions.
    pub server_shut: bool,
    server_gone: bool,
    pub client_gone: bool,
}

impl Net {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            clock: Clock::manual(),
            random: Random::new(seed),
            faults,
            seed,
            links: BTreeMap::new(),
            links_made: 0,
            backlogs: Vec::new(),
        }
    }

    pub fn listen(&mut self) -> SimListener {
        self.backlogs.push(Some(VecDeque::new()));
        SimListener(self.backlogs.len() - 1)
    }

    /// A new connection, waiting to be accepted; reset at once where nobody listens.
    pub fn connect(&mut self, listener: SimListener, from: Option<IpAddr>) -> LinkId {
        let id = LinkId(self.links_made);
        self.links_made += 1;
        let bytes_max = self.faults.socket_buffer_bytes;
        let mut link = Link {
            to_server: Pipe::new(bytes_max),
            to_client: Pipe::new(bytes_max),
            peer: from.map_or_else(|| peer_of(id), |from| SocketAddr::new(from, 40_000)),
            listener,
            reset: false,
            server_shut: false,
            server_gone: false,
            client_gone: false,
        };
        match &mut self.backlogs[listener.0] {
            Some(backlog) => backlog.push_back(id),
            None => (link.reset, link.server_gone) = (true, true),
        }
        self.links.insert(id, link);
        id
    }

    pub fn link(&mut self, id: LinkId) -> &mut Link {
        self.links.get_mut(&id).expect("a link lives as long as either side")
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn is_waiting(&self, listener: SimListener) -> bool {
        self.backlogs[listener.0].as_ref().is_some_and(|backlog| !backlog.is_empty())
    }

    pub fn accept(&mut self, listener: SimListener) -> Option<LinkId> {
        self.backlogs[listener.0].as_mut()?.pop_front()
    }

    /// When what is written now arrives.
    pub fn arrival(&mut self) -> Instant {
        let nanos = u64::try_from(self.faults.delay_max.as_nanos()).unwrap_or(u64::MAX - 1);
        let delay = std::time::Duration::from_nanos(self.random.below(nanos + 1));
        self.clock.now() + delay
    }

    /// The next moment at which anything arrives at the driver of `listener` or its clients.
    pub fn next_arrival(&self, listener: SimListener) -> Option<Instant> {
        let now = self.clock.now();
        let links = self.links.values().filter(|link| link.listener == listener && !link.reset);
        let pipes = links.flat_map(|link| [&link.to_server, &link.to_client]);
        pipes.filter_map(|pipe| pipe.next_arrival(now)).min()
    }

    /// The server gives the connection back.
    pub fn close(&mut self, id: LinkId) {
        let arrival = self.arrival();
        let link = self.link(id);
        link.server_gone = true;
        link.to_client.end(arrival);
        self.forget(id);
    }

    /// The client's end goes away.
    pub fn abandon(&mut self, id: LinkId) {
        let arrival = self.arrival();
        let link = self.link(id);
        link.client_gone = true;
        link.to_server.end(arrival);
        self.forget(id);
    }

    /// The driver of `listener` is gone: who waits there is reset.
    pub fn stop_listening(&mut self, listener: SimListener) {
        for id in self.backlogs[listener.0].take().unwrap_or_default() {
            self.link(id).reset = true;
            self.close(id);
        }
    }

    fn forget(&mut self, id: LinkId) {
        let link = self.link(id);
        if link.client_gone && link.server_gone {
            self.links.remove(&id);
        }
    }
}

impl Link {
    /// What the client may write; a closed server resets.
    pub fn check_client_write(&mut self) -> io::Result<()> {
        self.reset |= self.server_gone;
        if self.reset { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the simulated network had seed {}", self.seed);
        }
    }
}

/// 10.x.x.x:port, another for each connection.
fn peer_of(id: LinkId) -> SocketAddr {
    let [_, b, c, d] = id.0.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, b, c, d).into(), 40_000)
}

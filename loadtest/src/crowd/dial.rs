//! Opening connections: from which address, how many at once, and when again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::link::PortRange;

const FIRST_WAIT_MS: u64 = 100;
const WAIT_MAX_MS: u64 = 10_000;
/// Ports that are tried in a row before an attempt counts as failed.
const PORT_TRIES: u32 = 64;

/// Which connection is to be opened next.
#[derive(Debug)]
pub struct DialQueue {
    fresh: std::ops::Range<u32>,
    again: BinaryHeap<Reverse<(u64, u32)>>,
}

impl DialQueue {
    pub fn new(connections: u32) -> Self {
        Self { fresh: 0..connections, again: BinaryHeap::new() }
    }

    /// The next connection to open: one whose wait is over, else one that is new.
    pub fn next(&mut self, now_ns: u64) -> Option<u32> {
        if self.again.peek().is_some_and(|Reverse((due_ns, _))| *due_ns <= now_ns) {
            return self.again.pop().map(|Reverse((_, index))| index);
        }
        self.fresh.next()
    }

    /// Opens a connection again, the later the more often it failed (`attempts` so far), or
    /// when the server said.
    pub fn retry(&mut self, index: u32, attempts: u32, asked_secs: Option<u64>, now_ns: u64) {
        let doubled = FIRST_WAIT_MS << attempts.min(10);
        let wait_ms =
            asked_secs.map_or(doubled, |secs| secs.saturating_mul(1_000)).min(WAIT_MAX_MS);
        let spread_ms = fastrand::u64(0..=wait_ms / 2);
        self.again.push(Reverse((now_ns + (wait_ms + spread_ms) * 1_000_000, index)));
    }
}

/// Opens sockets, each from the next local port.
#[derive(Debug)]
pub struct Dialer {
    target: SocketAddr,
    sources: Vec<PortRange>,
    /// SO_RCVBUF; absent: the kernel's choice.
    receive_buffer: Option<usize>,
    range: usize,
    offset: u32,
}

impl Dialer {
    pub fn new(target: SocketAddr, sources: Vec<PortRange>, receive_buffer: Option<usize>) -> Self {
        Self { target, sources, receive_buffer, range: 0, offset: 0 }
    }

    /// Starts connecting; that it is connected shows when it becomes writable.
    ///
    /// # Errors
    /// Those of the kernel; ports in use are skipped first.
    pub fn open(&mut self) -> io::Result<TcpStream> {
        let mut tries = 0;
        loop {
            let source = self.next_source();
            match connect(self.target, source, self.receive_buffer) {
                Err(error) if source.is_some() && is_port_taken(&error) && tries < PORT_TRIES => {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn next_source(&mut self) -> Option<SocketAddr> {
        let range = *self.sources.get(self.range)?;
        let port = range.first + self.offset as u16;
        self.offset += 1;
        if port == range.last {
            self.range = (self.range + 1) % self.sources.len();
            self.offset = 0;
        }
        Some((range.source, port).into())
    }
}

fn connect(
    target: SocketAddr,
    source: Option<SocketAddr>,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        // Before connecting: the window is agreed on then.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // A port that an earlier run left in TIME_WAIT will do.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(source))?;
    }
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn is_port_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_retry_waits_its_time_and_then_goes_first() {
        let mut queue = DialQueue::new(2);
        assert_eq!(queue.next(0), Some(0));
        queue.retry(0, 1, None, 0);
        assert_eq!(queue.next(0), Some(1));
        assert_eq!(queue.next(0), None);
        assert_eq!(queue.next(199_000_000), None, "an attempt that failed waits 200 ms at least");
        assert_eq!(queue.next(301_000_000), Some(0), "and half as much again at most");
    }

    #[test]
    fn ports_go_round_through_all_ranges() {
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let sources = vec![
            PortRange { source, first: 10, last: 11 },
            PortRange { source, first: 65_535, last: 65_535 },
        ];
        let mut dialer = Dialer::new(([127, 0, 0, 1], 1).into(), sources, None);
        let ports: Vec<_> = (0..4).filter_map(|_| dialer.next_source()).map(|a| a.port()).collect();
        assert_eq!(ports, [10, 11, 65_535, 10]);
    }
}

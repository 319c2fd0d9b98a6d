//! The driver on epoll (mio): readiness turned into completions.
//!
//! Edge-triggered: a socket counts as readable or writable until the kernel says EAGAIN, and
//! stays on the work list while an operation in flight could go on.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{self, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll};
use socket2::SockRef;

use super::errno::os_error;
use super::operations::{Operations, failed};
use super::{
    Completions, Driver, DriverConfig, DriverStats, Kind, Op, Outcome, Shutdown, Socket, Token,
    Waker,
};
use crate::base::buffers::RecvPool;
use crate::base::clock::{Clock, Instant};
use crate::base::dense;

/// mio's names for what is not a connected socket.
const LISTENER: mio::Token = mio::Token(usize::MAX - 1);
const WAKE: mio::Token = mio::Token(usize::MAX - 2);

/// Receives of one socket in one wait; the others come first then.
const RECEIVES_PER_WAIT: u32 = 4;

/// Sockets that one wait goes on with; the others come first in the next one. What they all bring
/// would else have to be in memory at once, and an event would wait until all are answered: of
/// 5,000 that connect at once, 256 in a wait took live ones 50 ms, 64 take them 9.
const SOCKETS_PER_WAIT: usize = 64;

#[derive(Debug)]
pub struct EpollDriver {
    poll: Poll,
    events: Events,
    listener: mio::net::TcpListener,
    /// Whether an accept may find a connection.
    listener_ready: bool,
    operations: Operations,
    sockets: Sockets,
    pool: RecvPool,
    /// Sockets with an operation in flight that may go on.
    work: VecDeque<Socket>,
    clock: Clock,
    waker: Waker,
    woken: bool,
}

/// Connected sockets by their index, 8 bytes each.
#[derive(Debug)]
struct Sockets {
    slots: Vec<Option<Connected>>,
    vacant: Vec<u32>,
    capacity: u32,
}

#[derive(Debug)]
struct Connected {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// On the work list.
    listed: bool,
}

impl EpollDriver {
    /// # Errors
    /// Where the kernel refuses an epoll instance or an eventfd.
    ///
    /// # Panics
    /// If the configuration contradicts itself.
    pub fn new(config: &DriverConfig, listener: TcpListener) -> io::Result<Self> {
        config.check();
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let wake = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        let waker = Waker::new(move || {
            // Fails only when the eventfd's count is at its maximum, which wakes as well.
            let _ = wake.wake();
        });
        let events = usize::try_from(config.cq_entries).unwrap_or(usize::MAX);
        Ok(Self {
            poll,
            events: Events::with_capacity(events),
            listener,
            listener_ready: true,
            operations: Operations::new(config),
            sockets: Sockets::new(config.sockets_max),
            pool: RecvPool::new(config.recv_buffers, config.recv_buffer_bytes),
            work: VecDeque::new(),
            clock: config.clock.clone(),
            waker,
            woken: false,
        })
    }

    pub fn stats(&self) -> DriverStats {
        self.operations.stats()
    }

    /// # Panics
    /// If the driver's bookkeeping is wrong.
    pub fn invariants(&self) {
        self.operations.table.invariants();
        assert_eq!(self.sockets.len(), self.operations.table.open_count() as usize);
        let listed = self.sockets.slots.iter().flatten().filter(|socket| socket.listed).count();
        assert_eq!(listed, self.work.len());
    }

    /// Tries the send in flight, unless the socket is known to be full.
    fn send(&mut self, socket: Socket) {
        let connected = self.sockets.at(socket);
        let Some(buf) = self.operations.table.send_buf(socket) else { return };
        if !connected.writable {
            return;
        }
        let result = loop {
            match connected.stream.write(buf.remaining()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            connected.writable = false;
            return;
        }
        self.operations.end_send(socket, result);
    }

    fn shut_down(&mut self, socket: Socket) {
        let how = self.operations.table.shutdown(socket);
        let stream = &self.sockets.at(socket).stream;
        // What is in flight ends as well: the kernel reports the socket as closed.
        let result = match how {
            Shutdown::Write => stream.shutdown(net::Shutdown::Write),
            Shutdown::Both => stream.shutdown(net::Shutdown::Both),
            // Without a linger time, the close itself throws away what the kernel holds.
            Shutdown::Reset => SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .and_then(|()| stream.shutdown(net::Shutdown::Both)),
        };
        let outcome = match result {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => failed(error),
            _ => Outcome::ShutDown,
        };
        self.operations.end(Kind::Shutdown, socket, outcome);
    }

    fn close(&mut self, socket: Socket) {
        self.operations.end(Kind::Close, socket, Outcome::Closed);
        self.operations.table.close(socket);
        let mut connected = self.sockets.remove(socket);
        if connected.listed {
            self.work.retain(|listed| *listed != socket);
        }
        // Closing the descriptor takes it out of the epoll set in any case.
        let _ = self.poll.registry().deregister(&mut connected.stream);
    }

    /// Answers accepts as long as there are connections. At the limit of sockets a connection
    /// is refused, as the kernel does with a full table of direct descriptors.
    fn accept(&mut self) {
        while self.listener_ready && self.operations.is_accepting() {
            let outcome = match self.listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listener_ready = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => failed(error),
                Ok((stream, peer)) => match self.adopt(stream) {
                    Ok(socket) => Outcome::Accepted { socket, peer },
                    Err(error) => failed(error),
                },
            };
            self.operations.end_accept(outcome);
        }
    }

    fn adopt(&mut self, mut stream: TcpStream) -> io::Result<Socket> {
        let socket = self.sockets.vacant().ok_or_else(|| os_error(libc::ENFILE))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let name = mio::Token(socket.0 as usize);
        self.poll.registry().register(&mut stream, name, interest)?;
        self.sockets.insert(socket, stream);
        self.operations.table.open(socket);
        Ok(socket)
    }

    /// Goes on with what is in flight on each listed socket, within its share.
    fn advance(&mut self) {
        for _ in 0..self.work.len().min(SOCKETS_PER_WAIT) {
            let Some(socket) = self.work.pop_front() else { return };
            self.sockets.at(socket).listed = false;
            self.send(socket);
            if self.receive(socket) {
                self.sockets.list(socket, &mut self.work);
            }
        }
    }

    /// True when there may be more to receive, beyond the socket's share of this wait.
    fn receive(&mut self, socket: Socket) -> bool {
        for _ in 0..RECEIVES_PER_WAIT {
            let Some(token) = self.operations.table.token(Kind::Recv, socket) else { return false };
            let connected = self.sockets.at(socket);
            if !connected.readable {
                return false;
            }
            match self.pool.fill(|buffer| connected.stream.read(buffer)) {
                Ok(bytes) if bytes.is_empty() => {
                    self.operations.end(Kind::Recv, socket, Outcome::ReceivedEnd);
                }
                Ok(bytes) => {
                    self.operations.complete(token, Outcome::Received { bytes, more: true });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connected.readable = false;
                }
                Err(error) => self.operations.end(Kind::Recv, socket, failed(error)),
            }
        }
        self.operations.table.is_in_flight(Kind::Recv, socket)
    }

    /// One look at the kernel, for `timeout` at most. False when a signal ended it.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.operations.stats.enters += 1;
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) };
        }
        for event in &self.events {
            match event.token() {
                LISTENER => self.listener_ready = true,
                WAKE => self.woken = true,
                mio::Token(index) => {
                    let socket = Socket(u32::try_from(index).expect("an index of a socket"));
                    self.sockets.note(socket, event, &mut self.work);
                }
            }
        }
        Ok(true)
    }

    /// Zero when there is something to do at once.
    fn timeout(&self, deadline: Option<Instant>) -> Option<Duration> {
        let accepting = self.listener_ready && self.operations.is_accepting();
        if accepting || !self.work.is_empty() || self.operations.has_done() {
            return Some(Duration::ZERO);
        }
        deadline.map(|deadline| deadline.since(self.clock.now()))
    }
}

impl Driver for EpollDriver {
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op> {
        if self.operations.is_full() {
            self.submit();
        }
        self.operations.stage(token, op)
    }

    fn cancel(&mut self, token: Token) {
        self.operations.stage_cancel(token);
    }

    /// Carries out what is staged, in order.
    fn submit(&mut self) {
        while let Some((kind, socket)) = self.operations.begin_next() {
            match kind {
                Kind::Recv => self.sockets.list(socket, &mut self.work),
                Kind::Send => self.send(socket),
                Kind::Shutdown => self.shut_down(socket),
                _ => self.close(socket),
            }
        }
    }

    fn submit_and_wait(
        &mut self,
        deadline: Option<Instant>,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.submit();
        loop {
            let timeout = self.timeout(deadline);
            let undisturbed = self.look(timeout)?;
            self.accept();
            self.advance();
            let is_late = deadline.is_some_and(|deadline| deadline <= self.clock.now());
            let woken = mem::take(&mut self.woken);
            if self.operations.has_done() || woken || is_late || !undisturbed {
                break;
            }
        }
        self.operations.take_done(completions);
        if cfg!(debug_assertions) {
            self.invariants();
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl Sockets {
    fn new(capacity: u32) -> Self {
        Self { slots: Vec::new(), vacant: Vec::new(), capacity }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// The socket that [`Self::insert`] may take next.
    fn vacant(&self) -> Option<Socket> {
        let grown = u32::try_from(self.slots.len()).ok().filter(|next| *next < self.capacity);
        self.vacant.last().copied().or(grown).map(Socket)
    }

    fn insert(&mut self, socket: Socket, stream: TcpStream) {
        assert_eq!(self.vacant(), Some(socket));
        // Readable and writable until the kernel says otherwise.
        let connected = Connected { stream, readable: true, writable: true, listed: false };
        if self.vacant.pop().is_some() {
            self.slots[socket.0 as usize] = Some(connected);
        } else {
            dense::push(&mut self.slots, Some(connected));
        }
    }

    fn remove(&mut self, socket: Socket) -> Connected {
        let connected = self.slots[socket.0 as usize].take().expect("an open socket");
        self.vacant.push(socket.0);
        connected
    }

    fn at(&mut self, socket: Socket) -> &mut Connected {
        self.slots[socket.0 as usize].as_mut().expect("an open socket")
    }

    /// Puts a socket on the work list, once.
    fn list(&mut self, socket: Socket, work: &mut VecDeque<Socket>) {
        let connected = self.at(socket);
        if !mem::replace(&mut connected.listed, true) {
            work.push_back(socket);
        }
    }

    /// Notes what the kernel says about a socket; errors are found by the next read or write.
    fn note(&mut self, socket: Socket, event: &Event, work: &mut VecDeque<Socket>) {
        let connected = self.at(socket);
        let has_failed = event.is_error();
        connected.readable |= event.is_readable() || event.is_read_closed() || has_failed;
        connected.writable |= event.is_writable() || event.is_write_closed() || has_failed;
        self.list(socket, work);
    }
}

//! One thread's connections: an epoll loop that accepts, answers, and sends what is published.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::connection::Connection;

const LISTENER: Token = Token(usize::MAX - 1);
const WAKE: Token = Token(usize::MAX - 2);
const EVENTS: usize = 1024;
const READ_BYTES: usize = 16 * 1024;

/// Frames on their way to a thread's connections.
pub struct Inbox {
    frames: Mutex<Vec<Arc<[u8]>>>,
    waker: Waker,
}

impl Inbox {
    pub fn push(&self, frame: Arc<[u8]>) -> io::Result<()> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        self.waker.wake()
    }

    fn take(&self) -> Vec<Arc<[u8]>> {
        std::mem::take(&mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub struct Fanout {
    poll: Poll,
    listener: mio::net::TcpListener,
    inbox: Arc<Inbox>,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    /// What is read is looked at here; only the rest of a message is kept with its connection.
    buffer: Vec<u8>,
}

impl Fanout {
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let inbox = Arc::new(Inbox { frames: Mutex::default(), waker });
        let (connections, vacant) = (Vec::new(), Vec::new());
        Ok(Self { poll, listener, inbox, connections, vacant, buffer: vec![0; READ_BYTES] })
    }

    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    WAKE => self.fan_out(),
                    Token(index) => self.advance(index, event.is_readable(), event.is_writable()),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let index = self.vacant.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            self.connections[index] = Some(Connection::new(stream));
        }
    }

    /// Goes on with a connection of which the kernel says that it can go on.
    fn advance(&mut self, index: usize, readable: bool, writable: bool) {
        let Some(connection) = &mut self.connections[index] else { return };
        let mut result = if writable { connection.flush() } else { Ok(()) };
        if readable && result.is_ok() {
            result = connection.receive(&mut self.buffer);
        }
        if result.is_err() {
            self.close(index);
        }
    }

    /// Sends everything that was published since the last time, in one write each.
    fn fan_out(&mut self) {
        let frames = self.inbox.take();
        let merged;
        let bytes = match &frames[..] {
            [] => return,
            [frame] => &frame[..],
            _ => {
                merged = frames.concat();
                &merged[..]
            }
        };
        for index in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[index] else { continue };
            if connection.is_subscribed() && connection.send(bytes).is_err() {
                self.close(index);
            }
        }
    }

    /// Dropping the socket closes it, and takes it out of the epoll set.
    fn close(&mut self, index: usize) {
        if self.connections[index].take().is_some() {
            self.vacant.push(index);
        }
    }
}

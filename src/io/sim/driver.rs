use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SimListener;
use super::net::{LinkId, Net};
use crate::base::buffers::RecvPool;
use crate::base::clock::Instant;
use crate::io::errno::os_error;
use crate::io::operations::{Operations, failed};
use crate::io::{
    Completions, Driver, DriverConfig, DriverStats, Kind, Op, Outcome, Shutdown, Socket, Token,
    Waker,
};

/// Receives of one socket in one wait.
const RECEIVES_PER_WAIT: u32 = 4;

/// A driver on the simulated network.
#[derive(Debug)]
pub struct SimDriver {
    net: Rc<RefCell<Net>>,
    listener: SimListener,
    operations: Operations,
    /// Open sockets, in the order in which they are served.
    links: BTreeMap<u32, LinkId>,
    sockets_max: u32,
    /// Kept to be used again.
    sockets: Vec<Socket>,
    pool: RecvPool,
    woken: Arc<AtomicBool>,
    waker: Waker,
}

impl SimDriver {
    pub(super) fn new(net: Rc<RefCell<Net>>, config: &DriverConfig) -> Self {
        config.check();
        let listener = net.borrow_mut().listen();
        let woken = Arc::new(AtomicBool::new(false));
        let notified = Arc::clone(&woken);
        Self {
            net,
            listener,
            operations: Operations::new(config),
            links: BTreeMap::new(),
            sockets_max: config.sockets_max,
            sockets: Vec::new(),
            pool: RecvPool::new(config.recv_buffers, config.recv_buffer_bytes),
            woken,
            waker: Waker::new(move || notified.store(true, Ordering::Release)),
        }
    }

    /// Where clients connect to.
    pub fn listener(&self) -> SimListener {
        self.listener
    }

    pub fn stats(&self) -> DriverStats {
        self.operations.stats()
    }

    /// # Panics
    /// If the driver's bookkeeping is wrong.
    pub fn invariants(&self) {
        self.operations.table.invariants();
        assert_eq!(self.links.len(), self.operations.table.open_count() as usize);
    }

    fn shut_down(&mut self, socket: Socket) {
        let how = self.operations.table.shutdown(socket);
        if how == Shutdown::Reset && self.is_refused_reset() {
            return self.operations.end(Kind::Shutdown, socket, failed(os_error(libc::EACCES)));
        }
        // What the network took before is still delivered, a send just staged included, but for a
        // reset.
        self.send(socket);
        let net = &mut *self.net.borrow_mut();
        let arrival = net.arrival();
        let link = net.link(self.links[&socket.0]);
        link.server_shut |= how != Shutdown::Write;
        link.reset |= how == Shutdown::Reset;
        link.to_client.end(arrival);
        self.operations.end(Kind::Shutdown, socket, Outcome::ShutDown);
    }

    fn is_refused_reset(&self) -> bool {
        let net = &mut *self.net.borrow_mut();
        net.random.chance(net.faults.refused_resets)
    }

    fn close(&mut self, socket: Socket) {
        self.operations.end(Kind::Close, socket, Outcome::Closed);
        self.operations.table.close(socket);
        let link = self.links.remove(&socket.0).expect("an open socket");
        self.net.borrow_mut().close(link);
    }

    /// Everything that can go on now does.
    fn advance(&mut self) {
        while self.operations.is_accepting() && self.net.borrow().is_waiting(self.listener) {
            let outcome = self.accept().unwrap_or_else(failed);
            self.operations.end_accept(outcome);
        }
        let mut sockets = std::mem::take(&mut self.sockets);
        sockets.extend(self.links.keys().copied().map(Socket));
        for socket in sockets.drain(..) {
            for _ in 0..RECEIVES_PER_WAIT {
                if !self.receive(socket) {
                    break;
                }
            }
            self.send(socket);
        }
        self.sockets = sockets;
    }

    fn accept(&mut self) -> io::Result<Outcome> {
        let net = &mut *self.net.borrow_mut();
        if net.random.chance(net.faults.accept_failures) {
            return Err(os_error(libc::EMFILE));
        }
        let id = net.accept(self.listener).ok_or_else(|| os_error(libc::EAGAIN))?;
        let after_last = self.links.last_key_value().map_or(0, |(last, _)| last + 1);
        let is_dense = after_last as usize == self.links.len() && after_last < self.sockets_max;
        let first = if is_dense { after_last } else { 0 };
        let vacant = (first..self.sockets_max).find(|index| !self.links.contains_key(index));
        let Some(index) = vacant else {
            net.link(id).reset = true;
            net.close(id);
            return Err(os_error(libc::ENFILE));
        };
        self.links.insert(index, id);
        self.operations.table.open(Socket(index));
        Ok(Outcome::Accepted { socket: Socket(index), peer: net.link(id).peer })
    }

    /// True when something was received and more may follow.
    fn receive(&mut self, socket: Socket) -> bool {
        let Some(token) = self.operations.table.token(Kind::Recv, socket) else { return false };
        let net = &mut *self.net.borrow_mut();
        let id = self.links[&socket.0];
        let now = net.clock.now();
        let link = net.link(id);
        if !link.reset && !link.server_shut && !link.to_server.is_readable(now) {
            return false;
        }
        if net.random.chance(net.faults.resets) {
            net.link(id).reset = true;
        }
        let more = !net.random.chance(net.faults.ended_receives);
        match read(net, id, &self.pool) {
            Ok(bytes) if more && !bytes.is_empty() => {
                self.operations.complete(token, Outcome::Received { bytes, more });
                return true;
            }
            Ok(bytes) if bytes.is_empty() => {
                self.operations.end(Kind::Recv, socket, Outcome::ReceivedEnd);
            }
            Ok(bytes) => {
                self.operations.end(Kind::Recv, socket, Outcome::Received { bytes, more });
            }
            Err(error) => self.operations.end(Kind::Recv, socket, failed(error)),
        }
        false
    }

    fn send(&mut self, socket: Socket) {
        let Some(buf) = self.operations.table.send_buf(socket) else { return };
        let net = &mut *self.net.borrow_mut();
        let id = self.links[&socket.0];
        if net.random.chance(net.faults.resets) {
            net.link(id).reset = true;
        }
        let is_short = net.random.chance(net.faults.short_writes);
        let link = net.link(id);
        let result = if link.reset || link.server_shut || link.client_gone {
            Err(os_error(libc::EPIPE))
        } else {
            let room = link.to_client.room().min(buf.remaining().len());
            if room == 0 {
                return;
            }
            let count = if is_short { 1 + net.random.below(room as u64) as usize } else { room };
            let arrival = net.arrival();
            Ok(net.link(id).to_client.write(&buf.remaining()[..count], arrival))
        };
        self.operations.end_send(socket, result);
    }

    /// Lets time pass to the next arrival or the deadline. False if neither is to come.
    fn pass_time(&self, deadline: Option<Instant>) -> bool {
        let net = self.net.borrow();
        let next = net.next_arrival(self.listener).into_iter().chain(deadline).min();
        if let Some(next) = next {
            net.clock.advance_to(next);
        }
        next.is_some()
    }
}

impl Driver for SimDriver {
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op> {
        if self.operations.is_full() {
            self.submit();
        }
        let refused = {
            let net = &mut *self.net.borrow_mut();
            net.random.chance(net.faults.refused_pushes)
        };
        if refused { self.operations.refuse(op) } else { self.operations.stage(token, op) }
    }

    fn cancel(&mut self, token: Token) {
        self.operations.stage_cancel(token);
    }

    fn submit(&mut self) {
        while let Some((kind, socket)) = self.operations.begin_next() {
            match kind {
                Kind::Shutdown => self.shut_down(socket),
                Kind::Close => self.close(socket),
                _ => {} // Carried out by the wait.
            }
        }
    }

    /// Returns without anything also when something arrives at a client, which may act then;
    /// and when neither an arrival nor a deadline is to come, as nobody could end the wait.
    fn submit_and_wait(
        &mut self,
        deadline: Option<Instant>,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.operations.stats.enters += 1;
        self.submit();
        self.advance();
        let woken = self.woken.swap(false, Ordering::AcqRel);
        if !self.operations.has_done() && !woken && self.pass_time(deadline) {
            self.advance();
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

impl Drop for SimDriver {
    fn drop(&mut self) {
        let net = &mut *self.net.borrow_mut();
        for id in self.links.values() {
            net.close(*id);
        }
        net.stop_listening(self.listener);
    }
}

/// One receive as the server's kernel would do it. Empty at the end.
fn read(net: &mut Net, id: LinkId, pool: &RecvPool) -> io::Result<crate::base::buffers::RecvBuf> {
    let now = net.clock.now();
    if net.link(id).reset {
        return Err(os_error(libc::ECONNRESET));
    }
    if net.random.chance(net.faults.exhausted_buffers) {
        return Err(os_error(libc::ENOBUFS));
    }
    let is_short = net.random.chance(net.faults.short_reads);
    let length = net.random.below(pool.buffer_bytes() as u64) as usize + 1;
    let link = net.link(id);
    let is_shut = link.server_shut;
    pool.fill(|buffer| {
        let length = if is_short { length } else { buffer.len() };
        match link.to_server.read(&mut buffer[..length], now) {
            Some(count) => Ok(count),
            None if is_shut => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    })
}

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::net::{LinkId, Net};

/// The client's end of a simulated connection. Nothing blocks; dropping it closes it.
#[derive(Debug)]
pub struct SimClient {
    net: Rc<RefCell<Net>>,
    link: LinkId,
}

impl SimClient {
    pub(super) fn new(net: Rc<RefCell<Net>>, link: LinkId) -> Self {
        Self { net, link }
    }

    /// As the server sees it.
    pub fn addr(&self) -> SocketAddr {
        self.net.borrow_mut().link(self.link).peer
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, `ConnectionReset`, `BrokenPipe` after a half-close.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let net = &mut *self.net.borrow_mut();
        let arrival = net.arrival();
        let link = net.link(self.link);
        link.check_client_write()?;
        if link.to_server.has_ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if link.server_shut {
            return Ok(bytes.len()); // Taken, and thrown away at the other end.
        }
        match link.to_server.write(bytes, arrival) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Reads what has arrived by now; zero at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has, `ConnectionReset`.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let net = &mut *self.net.borrow_mut();
        let now = net.clock.now();
        let link = net.link(self.link);
        if link.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        link.to_client.read(buffer, now).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// The server will hear the end after what was written; reading goes on.
    pub fn half_close(&mut self) {
        let net = &mut *self.net.borrow_mut();
        let arrival = net.arrival();
        net.link(self.link).to_server.end(arrival);
    }

    /// Breaks the connection off; what was under way is lost.
    pub fn reset(self) {
        self.net.borrow_mut().link(self.link).reset = true;
    }

    /// Whether nothing more will come: the server's end was read, or the connection was reset.
    pub fn is_closed(&self) -> bool {
        let net = &mut *self.net.borrow_mut();
        let now = net.clock.now();
        let link = net.link(self.link);
        link.reset || link.to_client.is_at_end(now)
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        self.net.borrow_mut().abandon(self.link);
    }
}

//! Listening sockets. Accepted sockets inherit every option from them (tcp(7)), which
//! matters as a direct descriptor's options cannot be set later without more operations.

#![forbid(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits::NOTSENT_LOWAT_BYTES;

/// Options of a listener and of every socket accepted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub listen_backlog: u16,
    /// SO_REUSEPORT: several listeners share the port, the kernel spreads connections.
    pub reuse_port: bool,
    /// TCP_NOTSENT_LOWAT: what is not sent waits in the lanes, where priority still rules.
    pub notsent_lowat_bytes: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { listen_backlog: 4096, reuse_port: true, notsent_lowat_bytes: NOTSENT_LOWAT_BYTES }
    }
}

/// A listener on `addr`, in blocking mode; the driver that takes it sets its own.
///
/// # Errors
/// Whatever the kernel says to socket, setsockopt, bind or listen.
pub fn listen(addr: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(options.notsent_lowat_bytes)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::from(options.listen_backlog))?;
    Ok(socket.into())
}

/// `count` listeners on one address, for as many shards. Port 0 becomes one free port, the
/// same for all: see the first one's `local_addr`.
///
/// # Errors
/// As [`listen`]; `EADDRINUSE` also where another process shares its port, as connections
/// would go astray.
pub fn listen_together(
    addr: SocketAddr,
    count: usize,
    options: &ListenOptions,
) -> io::Result<Vec<TcpListener>> {
    assert!(count > 0);
    if addr.port() != 0 {
        drop(listen(addr, &ListenOptions { reuse_port: false, ..options.clone() })?);
    }
    let options = ListenOptions { reuse_port: true, ..options.clone() };
    let first = listen(addr, &options)?;
    let addr = SocketAddr::new(addr.ip(), first.local_addr()?.port());
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listen(addr, &options)?);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    const LOCAL: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn accepted_sockets_inherit_the_listeners_options() {
        let options = ListenOptions { notsent_lowat_bytes: 12_345, ..ListenOptions::default() };
        let listener = listen(LOCAL, &options).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 12_345);
        // It ends connections whose window was shut for as long, though they read on: the kernel
        // forgets the time only when the window has room for a whole segment.
        assert_eq!(accepted.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn listeners_share_the_port_that_the_first_obtained_and_nobody_joins_later() {
        let options = ListenOptions::default();
        let listeners = listen_together(LOCAL, 3, &options).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        assert_ne!(addr.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), addr);
        }
        let refused = listen_together(addr, 1, &options).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}

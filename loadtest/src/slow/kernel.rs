//! What the kernel holds of a connection on this machine, from /proc/net/tcp.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};

/// Bytes of one direction, from the server to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// With the server's socket: not sent, or not acknowledged.
    pub sending: u64,
    /// With the client's socket: not read.
    pub received: u64,
}

/// What is on its way from `server` to `client`. What moves meanwhile is counted twice rather
/// than not at all. None where these are not IPv4 addresses of this machine.
pub fn queued(server: SocketAddr, client: SocketAddr) -> Option<Queued> {
    let (SocketAddr::V4(server), SocketAddr::V4(client)) = (server, client) else { return None };
    let sending = table_row(server, client)?.0;
    let received = table_row(client, server)?.1;
    Some(Queued { sending, received })
}

fn table_row(local: SocketAddrV4, remote: SocketAddrV4) -> Option<(u64, u64)> {
    row(&fs::read_to_string("/proc/net/tcp").ok()?, local, remote)
}

/// `tx_queue` and `rx_queue` (proc(5)) of an established connection.
fn row(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<(u64, u64)> {
    const ESTABLISHED: &str = "01";
    let ends = format!(" {} {} {ESTABLISHED} ", hex(local), hex(remote));
    let (_, rest) = table.lines().find_map(|line| line.split_once(&ends))?;
    let (sending, received) = rest.split_whitespace().next()?.split_once(':')?;
    let bytes = |text| u64::from_str_radix(text, 16).ok();
    Some((bytes(sending)?, bytes(received)?))
}

/// As the kernel prints it: the address as a number in this machine's order of bytes.
fn hex(addr: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_not_read_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let server_addr = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(server_addr).expect("it listens");
        let client_addr = client.local_addr().expect("it is connected");
        let (mut server, _) = listener.accept().expect("it is connected");
        server.write_all(&[0; 321]).expect("there is room");
        // The bytes may still be on their way, but not nowhere.
        let queued = queued(server_addr, client_addr).expect("both ends are here");
        assert!((321..=642).contains(&(queued.sending + queued.received)), "{queued:?}");
    }

    #[test]
    fn a_connection_that_is_none_has_no_row() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(queued(addr, addr), None);
    }
}

//! Open descriptors, of which a machine's other programs may take note: one that looks through
//! /proc/*/fd every second takes milliseconds of a core for ten thousand of them.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use io_uring::IoUring;

use crate::Error;

/// Connections that are only held: in the table of an io_uring, where they are nobody's
/// descriptors, or as descriptors where the kernel has none to give.
#[derive(Debug)]
pub struct Parked {
    table: Option<Table>,
    own: Vec<TcpStream>,
}

struct Table {
    ring: IoUring,
    used: u32,
}

impl Parked {
    /// With room in the table for so many.
    pub fn new(connections: u32) -> Self {
        Self { table: Table::new(connections).ok(), own: Vec::new() }
    }

    /// How many descriptors of this process they take.
    pub fn descriptors(&self) -> usize {
        self.own.len()
    }

    pub fn park(&mut self, connection: TcpStream) {
        let is_taken = self.table.as_mut().is_some_and(|table| table.take(&connection));
        if !is_taken {
            self.own.push(connection);
        }
    }
}

impl Table {
    /// Kernel 5.19 is the first with such a table.
    fn new(connections: u32) -> io::Result<Self> {
        let ring = IoUring::new(1)?;
        ring.submitter().register_files_sparse(connections)?;
        Ok(Self { ring, used: 0 })
    }

    /// The table holds the connection from then on, whoever closes its descriptor.
    fn take(&mut self, connection: &TcpStream) -> bool {
        let submitter = self.ring.submitter();
        let is_taken =
            submitter.register_files_update(self.used, &[connection.as_raw_fd()]).is_ok();
        self.used += u32::from(is_taken);
        is_taken
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Table").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Descriptors that stand for those of others and do nothing.
#[derive(Debug)]
pub struct Placeholders {
    _files: Vec<File>,
}

impl Placeholders {
    /// # Errors
    /// When there may not be so many.
    pub fn open(count: u64) -> Result<Self, Error> {
        let what = format!("cannot hold {count} descriptors; a higher `ulimit -n` may help");
        let open = || {
            let first = File::open("/dev/null")?;
            (0..count).map(|_| first.try_clone()).collect()
        };
        let files: Result<_, io::Error> = open();
        Ok(Self { _files: files.map_err(Error::io(what))? })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::server_process::sample;

    #[test]
    fn a_parked_connection_is_open_until_it_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut parked = Parked::new(1);
        // The second finds no room in the table.
        let mut others = Vec::new();
        for _ in 0..2 {
            let address = listener.local_addr().expect("it is bound");
            parked.park(TcpStream::connect(address).expect("it listens"));
            others.push(listener.accept().expect("connected").0);
        }
        assert_eq!(parked.own.len(), if parked.table.is_some() { 1 } else { 2 });
        for other in &others {
            other.set_nonblocking(true).expect("a socket");
            let error = (&*other).read(&mut [0]).expect_err("it is open and silent");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        drop(parked);
        for mut other in others {
            other.set_nonblocking(false).expect("a socket");
            assert_eq!(other.read(&mut [0]).expect("it is closed"), 0);
        }
    }

    #[test]
    fn placeholders_are_descriptors_until_they_are_dropped() {
        let count = || sample(std::process::id()).expect("this process runs").descriptors;
        let held = Placeholders::open(400).expect("a few");
        // Other tests have some too.
        assert!(count() >= 400);
        drop(held);
        assert!(count() < 400);
    }
}

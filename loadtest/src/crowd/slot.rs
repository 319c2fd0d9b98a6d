//! One connection with its socket and what is half read or half written.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::connection::{Connection, Fault, Shared};

/// A place in the crowd; the socket comes and goes with the attempts.
#[derive(Debug, Default)]
pub struct Slot {
    pub open: Option<Open>,
    /// Stays after the end, for the tally.
    pub connection: Option<Connection>,
    pub attempts: u32,
    pub was_live: bool,
    /// Ended though nobody said goodbye.
    pub is_lost: bool,
}

#[derive(Debug)]
pub struct Open {
    pub stream: TcpStream,
    pub since_ns: u64,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

/// What came of a socket's readiness.
#[derive(Debug)]
pub enum Pumped {
    /// It waits for more.
    Waiting,
    /// The server ended its direction.
    Ended,
    Lost(io::Error),
    Faulty(Fault),
}

/// Buffers that all connections of a thread take turns with.
#[derive(Debug)]
pub struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        const INPUT_BYTES: usize = 256 * 1024;
        Self { input: vec![0; INPUT_BYTES], output: Vec::new() }
    }
}

impl Open {
    pub fn new(stream: TcpStream, since_ns: u64, unsent: Vec<u8>) -> Self {
        Self { stream, since_ns, partial: Vec::new(), unsent }
    }

    /// Something came of which the rest is still to come.
    pub fn is_within_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Writes what waits, then reads until nothing is left. `is_read_closed`: the kernel
    /// reported the end already, and will not report it again.
    pub fn pump(
        &mut self,
        connection: &mut Connection,
        shared: &mut Shared,
        scratch: &mut Scratch,
        is_read_closed: bool,
        now_ns: impl Fn() -> u64,
    ) -> Pumped {
        if let Err(error) = self.flush(connection) {
            return Pumped::Lost(error);
        }
        loop {
            let kept = self.partial.len();
            scratch.input[..kept].copy_from_slice(&self.partial);
            let read_bytes = match self.stream.read(&mut scratch.input[kept..]) {
                Ok(0) => return Pumped::Ended,
                Ok(read_bytes) => read_bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Pumped::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Pumped::Lost(error),
            };
            let is_drained = kept + read_bytes < scratch.input.len();
            let end = kept + read_bytes;
            if let Err(fault) = self.take(connection, shared, scratch, end, now_ns()) {
                return Pumped::Faulty(fault);
            }
            if let Err(error) = self.send(connection, &mut scratch.output) {
                return Pumped::Lost(error);
            }
            if is_drained && !is_read_closed {
                // Edge-triggered: more will be reported, because a short read took everything.
                return Pumped::Waiting;
            }
        }
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn close(&mut self, connection: &mut Connection, scratch: &mut Scratch) -> io::Result<()> {
        connection.close(&mut scratch.output);
        self.send(connection, &mut scratch.output)
    }

    fn take(
        &mut self,
        connection: &mut Connection,
        shared: &mut Shared,
        scratch: &mut Scratch,
        end: usize,
        now_ns: u64,
    ) -> Result<(), Fault> {
        scratch.output.clear();
        let input = &scratch.input[..end];
        let taken = connection.handle_input(input, now_ns, shared, &mut scratch.output)?;
        let rest = &input[taken.bytes..];
        if rest.is_empty() {
            // Most of the time nothing is kept: no memory for it either.
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
        if taken.wanted > scratch.input.len() {
            scratch.input.resize(taken.wanted, 0);
        }
        Ok(())
    }

    fn send(&mut self, connection: &mut Connection, output: &mut Vec<u8>) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        self.unsent.append(output);
        self.flush(connection)
    }

    fn flush(&mut self, connection: &mut Connection) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
                connection.handle_flushed();
            }
        }
        Ok(())
    }
}

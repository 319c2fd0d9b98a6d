//! One WebSocket connection and what its socket did not take at once.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::wire::Session;

const OUTPUT_BYTES_MAX: usize = 4 << 20;

pub struct Connection {
    stream: TcpStream,
    session: Session,
    /// The beginning of a message.
    input: Vec<u8>,
    /// What the socket did not take.
    output: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, session: Session::new(), input: Vec::new(), output: Vec::new() }
    }

    pub fn is_subscribed(&self) -> bool {
        self.session.is_subscribed()
    }

    /// Writes at once what the socket takes, and keeps the rest.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = if self.output.is_empty() { self.write(bytes)? } else { 0 };
        if self.output.len() + bytes.len() - written > OUTPUT_BYTES_MAX {
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.output.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes what was kept.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut output = std::mem::take(&mut self.output);
        let written = self.write(&output)?;
        if written < output.len() {
            output.drain(..written);
            self.output = output;
        }
        Ok(())
    }

    /// Reads until there is nothing more, and answers.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(&buffer[..count]);
            let mut answers = Vec::new();
            let taken = self.session.take(&mut input, &mut answers)?;
            if taken < input.len() {
                input.drain(..taken);
                self.input = input;
            }
            self.send(&answers)?;
            if self.session.is_closed() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
    }

    /// Writes until everything or nothing more is taken; how much that was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

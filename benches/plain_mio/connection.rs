//! One WebSocket connection: handshake, subscribing, and what the socket did not take at once.

use std::io::{self, Cursor, ErrorKind, Read, Write};

use mio::net::TcpStream;
use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const HEADERS_MAX: usize = 64;
const INPUT_BYTES_MAX: usize = 64 * 1024;
const OUTPUT_BYTES_MAX: usize = 4 << 20;

pub struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// The beginning of a message.
    input: Vec<u8>,
    /// What the socket did not take.
    output: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Upgraded,
    Subscribed,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, phase: Phase::Upgrading, input: Vec::new(), output: Vec::new() }
    }

    pub fn is_subscribed(&self) -> bool {
        self.phase == Phase::Subscribed
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
            let taken = self.handle_input(&mut input)?;
            if taken < input.len() {
                input.drain(..taken);
                self.input = input;
            }
            if self.input.len() > INPUT_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
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

    /// Returns how many bytes were whole messages.
    fn handle_input(&mut self, input: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        if self.phase == Phase::Upgrading {
            let Some(head_bytes) = self.upgrade(input)? else { return Ok(0) };
            taken = head_bytes;
            self.phase = Phase::Upgraded;
            self.say(&json!({"type": "welcome", "protocol": "plain"}))?;
        }
        loop {
            let mut cursor = Cursor::new(&input[taken..]);
            let header = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?;
            let Some((header, length)) = header else { return Ok(taken) };
            if length > INPUT_BYTES_MAX as u64 {
                return Err(ErrorKind::InvalidData.into());
            }
            let start = taken + cursor.position() as usize;
            let end = start + length as usize;
            let Some(payload) = input.get_mut(start..end) else { return Ok(taken) };
            let mask = header.mask.unwrap_or_default();
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            self.handle_frame(header.opcode, payload)?;
            taken = end;
        }
    }

    /// Answers the handshake; the length of its head when that is whole.
    fn upgrade(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(input).map_err(io::Error::other)?;
        let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
        let is_key = |name: &str| name.eq_ignore_ascii_case("sec-websocket-key");
        let key = request.headers.iter().find(|header| is_key(header.name));
        let key = key.ok_or(ErrorKind::InvalidData)?.value;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key)
        );
        self.send(answer.as_bytes())?;
        Ok(Some(head_bytes))
    }

    fn handle_frame(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        match opcode {
            OpCode::Data(Data::Text) => self.handle_message(payload),
            OpCode::Control(Control::Ping) => {
                self.send(&frame(OpCode::Control(Control::Pong), payload))
            }
            OpCode::Control(Control::Pong) => Ok(()),
            OpCode::Control(Control::Close) => {
                self.send(&frame(OpCode::Control(Control::Close), payload))?;
                Err(ErrorKind::ConnectionAborted.into())
            }
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn handle_message(&mut self, payload: &[u8]) -> io::Result<()> {
        let message: Value = serde_json::from_slice(payload)?;
        match message["type"].as_str() {
            Some("subscribe") => {
                self.phase = Phase::Subscribed;
                let id = &message["subscription_id"];
                self.say(&json!({"type": "subscribed", "subscription_id": id, "filters": {}}))
            }
            Some("ping") => self.say(&json!({"type": "pong"})),
            _ => Ok(()),
        }
    }

    fn say(&mut self, message: &Value) -> io::Result<()> {
        self.send(&frame(OpCode::Data(Data::Text), message.to_string().as_bytes()))
    }
}

/// An unmasked frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, &mut bytes).expect("a vector takes every byte");
    bytes.extend_from_slice(payload);
    bytes
}

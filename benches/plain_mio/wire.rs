//! The protocol of one connection: handshake, subscribing, pings. Bytes in, bytes out.

use std::io::{self, Cursor, ErrorKind};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const HEADERS_MAX: usize = 64;
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Upgraded,
    Subscribed,
    Closed,
}

pub struct Session {
    phase: Phase,
}

impl Session {
    pub fn new() -> Self {
        Self { phase: Phase::Upgrading }
    }

    pub fn is_subscribed(&self) -> bool {
        self.phase == Phase::Subscribed
    }

    /// The client said goodbye: once it is answered, the connection is over.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Takes whole messages from the beginning of `input`, and answers; how many bytes they were.
    pub fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        if self.phase == Phase::Upgrading {
            let Some(head_bytes) = upgrade(input, output)? else {
                return within_limit(input.len()).map(|()| 0);
            };
            taken = head_bytes;
            self.phase = Phase::Upgraded;
            say(&json!({"type": "welcome", "protocol": "plain"}), output);
        }
        loop {
            let mut cursor = Cursor::new(&input[taken..]);
            let header = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?;
            let Some((header, length)) = header else { return Ok(taken) };
            within_limit(usize::try_from(length).unwrap_or(usize::MAX))?;
            let start = taken + cursor.position() as usize;
            let end = start + length as usize;
            let Some(payload) = input.get_mut(start..end) else { return Ok(taken) };
            let mask = header.mask.unwrap_or_default();
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            self.handle_frame(header.opcode, payload, output)?;
            taken = end;
        }
    }

    fn handle_frame(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        match opcode {
            OpCode::Data(Data::Text) => return self.handle_message(payload, output),
            OpCode::Control(Control::Ping) => {
                output.extend(frame(OpCode::Control(Control::Pong), payload));
            }
            OpCode::Control(Control::Pong) => {}
            OpCode::Control(Control::Close) => {
                output.extend(frame(OpCode::Control(Control::Close), payload));
                self.phase = Phase::Closed;
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        Ok(())
    }

    fn handle_message(&mut self, payload: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        let message: Value = serde_json::from_slice(payload)?;
        match message["type"].as_str() {
            Some("subscribe") => {
                self.phase = Phase::Subscribed;
                let id = &message["subscription_id"];
                say(&json!({"type": "subscribed", "subscription_id": id, "filters": {}}), output);
            }
            Some("ping") => say(&json!({"type": "pong"}), output),
            _ => {}
        }
        Ok(())
    }
}

/// Answers the handshake; the length of its head when that is whole.
fn upgrade(input: &[u8], output: &mut Vec<u8>) -> io::Result<Option<usize>> {
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
    output.extend_from_slice(answer.as_bytes());
    Ok(Some(head_bytes))
}

fn within_limit(bytes: usize) -> io::Result<()> {
    if bytes > INPUT_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(()) }
}

fn say(message: &Value, output: &mut Vec<u8>) {
    output.extend(frame(OpCode::Data(Data::Text), message.to_string().as_bytes()));
}

/// An unmasked frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload.len() as u64, &mut bytes).expect("a vector takes every byte");
    bytes.extend_from_slice(payload);
    bytes
}

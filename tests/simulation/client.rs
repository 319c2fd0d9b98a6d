//! A WebSocket client on a simulated connection: masked frames out, whatever comes in taken
//! apart and kept in order.

use std::io::ErrorKind;

use alarmcast::io::sim::SimClient;
use alarmcast::protocol::msgpack;
use serde_json::{Value, json};

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// What came, in the order in which it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    Text(Value),
    /// A binary frame with MessagePack.
    Packed(Value),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server ended its direction.
    Closed,
    Reset,
}

pub struct Client {
    link: Option<SimClient>,
    /// Written by the test, not yet taken by the network.
    unsent: Vec<u8>,
    unread: Vec<u8>,
    /// The answer to the handshake, once whole.
    pub head: Option<String>,
    /// Body of an answer that is no upgrade.
    pub body: String,
    pub received: Vec<Received>,
    pub end: Option<End>,
    /// Speaks MessagePack in binary frames.
    pub is_packed: bool,
    /// Says bytes of its own: it may have asked for either encoding, and for any end.
    pub is_raw: bool,
    pub answers_pings: bool,
    pub answers_close: bool,
    /// Bytes read at once; zero is a client that does not read.
    pub read_bytes: usize,
    /// Asked for a pause at some time.
    pub has_paused: bool,
    has_sent_close: bool,
}

/// One masked frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        0..=125 => bytes.push(0x80 | payload.len() as u8),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A valid upgrade request for this target.
pub fn request(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The first frame, what it carries, and what follows it.
fn next_frame(unread: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, &second) = (unread.first()?, unread.get(1)?);
    assert!(first & 0xF0 == 0x80 && second & 0x80 == 0, "whole, unmasked frames only");
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*unread[2..].first_chunk()?))),
        127 => (10, u64::from_be_bytes(*unread[2..].first_chunk()?) as usize),
        length => (2, usize::from(length)),
    };
    let payload = unread.get(start..start + length)?;
    Some((first & 0xF, payload, &unread[start + length..]))
}

impl Client {
    pub fn new(link: SimClient) -> Self {
        Self {
            link: Some(link),
            unsent: Vec::new(),
            unread: Vec::new(),
            head: None,
            body: String::new(),
            received: Vec::new(),
            end: None,
            is_packed: false,
            is_raw: false,
            answers_pings: true,
            answers_close: true,
            read_bytes: usize::MAX,
            has_paused: false,
            has_sent_close: false,
        }
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.pump();
    }

    pub fn send(&mut self, message: &Value) {
        if self.is_packed {
            self.send_raw(&frame(BINARY, &msgpack::to_vec(message)));
        } else {
            self.send_raw(&frame(TEXT, message.to_string().as_bytes()));
        }
    }

    pub fn subscribe(&mut self, id: &str, filters: Value) {
        self.send(&json!({"type": "subscribe", "subscription_id": id, "filters": filters}));
    }

    /// As [`Client::subscribe`], with options.
    pub fn subscribe_with(&mut self, id: &str, filters: Value, options: &Value) {
        let mut message = json!({"type": "subscribe", "subscription_id": id, "filters": filters});
        let fields = options.as_object().expect("an object").clone();
        message.as_object_mut().expect("an object").extend(fields);
        self.send(&message);
    }

    pub fn unsubscribe(&mut self, id: &str) {
        self.send(&json!({"type": "unsubscribe", "subscription_id": id}));
    }

    pub fn pause(&mut self, pause: bool) {
        self.has_paused |= pause;
        self.send(&json!({"type": "flow_control", "pause": pause}));
    }

    pub fn close(&mut self, code: u16) {
        if !self.has_sent_close {
            self.has_sent_close = true;
            self.send_raw(&frame(CLOSE, &code.to_be_bytes()));
        }
    }

    pub fn half_close(&mut self) {
        self.link.iter_mut().for_each(SimClient::half_close);
    }

    pub fn reset(&mut self) {
        self.end = Some(End::Reset);
        if let Some(link) = self.link.take() {
            link.reset();
        }
    }

    /// Goes away without a word.
    pub fn abandon(&mut self) {
        self.link = None;
    }

    pub fn is_gone(&self) -> bool {
        self.link.is_none()
    }

    /// Writes and reads what goes, and answers what must be answered.
    pub fn pump(&mut self) {
        self.write();
        if self.read_bytes > 0 {
            self.read();
            self.take_apart();
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(link) = &mut self.link else { return };
        while !self.unsent.is_empty() {
            match link.write(&self.unsent) {
                Ok(count) if count == self.unsent.len() => self.unsent.clear(),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }

    fn read(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut buffer = [0; 4096];
        let mut left = self.read_bytes;
        while left > 0 && self.end.is_none() {
            let length = left.min(buffer.len());
            match link.read(&mut buffer[..length]) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    left -= count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.end = Some(End::Reset),
            }
        }
    }

    fn take_apart(&mut self) {
        if self.head.is_none() {
            let Some(place) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return;
            };
            let head: Vec<u8> = self.unread.drain(..place + 4).collect();
            self.head = Some(String::from_utf8(head).expect("an ASCII head"));
        }
        if self.status() != Some(101) {
            self.body.push_str(std::str::from_utf8(&self.unread).expect("an ASCII body"));
            self.unread.clear();
            return;
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((opcode, payload, after)) = next_frame(rest) {
            self.take_frame(opcode, payload);
            rest = after;
        }
        self.unread = rest.to_vec();
    }

    fn take_frame(&mut self, opcode: u8, payload: &[u8]) {
        let after_close = matches!(self.received.last(), Some(Received::Close(_)));
        assert!(!after_close, "nothing follows a close frame, but {opcode} did");
        match opcode {
            TEXT => {
                assert!(self.is_raw || !self.is_packed, "a text frame for who speaks MessagePack");
                let message = serde_json::from_slice(payload).expect("JSON in text frames");
                self.received.push(Received::Text(message));
            }
            BINARY => {
                assert!(self.is_raw || self.is_packed, "a binary frame for who speaks JSON");
                let message = rmp_serde::from_slice(payload).expect("MessagePack");
                self.received.push(Received::Packed(message));
            }
            PING => {
                self.received.push(Received::Ping);
                if self.answers_pings {
                    self.unsent.extend(frame(PONG, payload));
                }
            }
            PONG => self.received.push(Received::Pong(payload.to_vec())),
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.received.push(Received::Close(code));
                if self.answers_close {
                    self.close(code.unwrap_or(1000));
                }
            }
            other => panic!("unexpected opcode {other}"),
        }
    }

    /// HTTP status of the handshake's answer.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref()?.get(9..12)?.parse().ok()
    }

    pub fn messages(&self) -> impl Iterator<Item = &Value> {
        self.received.iter().filter_map(|received| match received {
            Received::Text(message) | Received::Packed(message) => Some(message),
            _ => None,
        })
    }

    /// Messages of this type so far.
    pub fn count(&self, kind: &str) -> usize {
        self.messages().filter(|message| message["type"] == kind).count()
    }

    /// Sequence and priority of each event, as they came, alone or in batches.
    pub fn events(&self) -> Vec<(u64, String)> {
        let events = self.messages().flat_map(|message| match message["type"].as_str() {
            Some("event") => std::slice::from_ref(message),
            Some("batch") => message["events"].as_array().expect("a list"),
            _ => &[],
        });
        let text = |value: &Value| value.as_str().expect("a priority").to_owned();
        events
            .map(|event| (event["seq"].as_u64().expect("a seq"), text(&event["priority"])))
            .collect()
    }

    pub fn seqs(&self) -> Vec<u64> {
        self.events().into_iter().map(|(seq, _)| seq).collect()
    }

    /// Code of the server's close frame, once it came.
    pub fn close_code(&self) -> Option<u16> {
        self.received.iter().find_map(|received| match received {
            Received::Close(code) => Some(code.expect("the server names its code")),
            _ => None,
        })
    }

    /// The code in `closing`, and that it is the last message before the close frame.
    pub fn closing_code(&self) -> Option<u64> {
        let at = self.received.iter().position(
            |received| matches!(received, Received::Text(message) | Received::Packed(message) if message["type"] == "closing"),
        )?;
        assert!(at + 2 >= self.received.len(), "only a close frame follows `closing`");
        let (Received::Text(closing) | Received::Packed(closing)) = &self.received[at] else {
            return None;
        };
        closing["code"].as_u64()
    }
}

//! Our decoder against tungstenite's server, on the same streams.
//!
//! The two differ on purpose in this: tungstenite accepts a length in more bytes
//! than it needs; it turns a close code that is not allowed (to it, 1014 too) into
//! 1002 and delivers it; it knows no limit on fragments; and it judges a frame only
//! when all of it has arrived, which is why it is given padding before it must
//! agree that something is refused.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::decoder::{Decoder, Incoming, Limits};

const LIMITS: Limits = Limits { message_bytes_max: 4096, fragments_max: u32::MAX };
/// More than any frame within the limits still lacks.
const PADDING_BYTES: usize = LIMITS.message_bytes_max + 14;

/// Both take and refuse the same of `data`.
///
/// # Panics
/// If they do not.
pub(super) fn check_agreement(data: &[u8]) {
    let mut decoder = Decoder::new(LIMITS);
    let mut copy = data.to_vec();
    let mut rest = &mut copy[..];
    let mut ours = Vec::new();
    let violation = loop {
        match decoder.next(&mut rest) {
            // One of the differences.
            Ok(Some(Incoming::Close(Some((1014, _))))) => return,
            Ok(Some(incoming)) => ours.push(shown(incoming)),
            Ok(None) => break None,
            Err(violation) => break Some(violation),
        }
    };
    let Some(violation) = violation else {
        assert_eq!(oracle(data), (ours, false));
        return;
    };
    if violation.reason.contains("fewest bytes") || violation.reason.contains("close code") {
        return;
    }
    let padded = [data, &[0; PADDING_BYTES]].concat();
    if violation.reason.contains("must not exceed 125") {
        // The long form is enough for us; tungstenite reads the length, which may be a small one.
        let (theirs, _) = oracle(&padded);
        assert!(theirs.starts_with(&ours), "{theirs:?} {ours:?}");
        return;
    }
    assert_eq!(oracle(&padded), (ours, true), "{violation}");
}

/// A peer that has sent all that it will for now, and takes everything.
struct Peer<'a>(&'a [u8]);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite delivers, and whether it refuses the stream then.
fn oracle(data: &[u8]) -> (Vec<String>, bool) {
    let config = WebSocketConfig::default()
        .read_buffer_size(256)
        .max_message_size(Some(LIMITS.message_bytes_max))
        .max_frame_size(Some(LIMITS.message_bytes_max));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut peer = Peer(data);
    let mut messages = Vec::new();
    loop {
        match context.read(&mut peer) {
            Ok(message) => messages.push(shown(as_ours(&message))),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return (messages, false),
            Err(Error::ConnectionClosed) => return (messages, false),
            Err(_) => return (messages, true),
        }
    }
}

fn as_ours(message: &Message) -> Incoming<'_> {
    match message {
        Message::Text(text) => Incoming::Text(text),
        Message::Binary(data) => Incoming::Binary(data),
        Message::Ping(data) => Incoming::Ping(data),
        Message::Pong(data) => Incoming::Pong(data),
        Message::Close(close) => Incoming::Close(
            close.as_ref().map(|close| (u16::from(close.code), close.reason.as_str())),
        ),
        Message::Frame(_) => panic!("reading gives no raw frames"),
    }
}

/// A message as the tests compare it.
pub(super) fn shown(incoming: Incoming<'_>) -> String {
    format!("{incoming:?}")
}

//! A message whose end has not arrived: the only thing of a connection's input
//! that is ever stored.

use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::decoder::Incoming;
use super::growth;
use super::header::{HEADER_BYTES_MAX, Header};
use super::mask::unmask;
use super::utf8::Text;
use super::violation::Violation;
use crate::base::clock::Instant;

/// What is kept between two pieces of input. All of it is freed with the message.
#[derive(Debug, Default)]
pub(super) struct Partial {
    head: [u8; HEADER_BYTES_MAX],
    head_bytes: usize,
    frame: Option<OpenFrame>,
    message: Option<Message>,
    control: Vec<u8>,
    /// Of everything here: set from outside, once.
    pub deadline: Option<Instant>,
}

/// A frame whose header was read, and not yet all of its payload.
#[derive(Debug)]
struct OpenFrame {
    header: Header,
    received: usize,
}

#[derive(Debug)]
struct Message {
    body: Body,
    fragments: u32,
}

#[derive(Debug)]
enum Body {
    Text(Text),
    Binary(Vec<u8>),
}

/// What [`Partial::fill`] completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Nothing: the frame's payload goes on in the next input.
    Nothing,
    /// A frame, but not its message.
    Fragment,
    Message,
    Control(OpCode),
}

impl Partial {
    pub fn has_frame(&self) -> bool {
        self.frame.is_some()
    }

    pub fn has_message(&self) -> bool {
        self.message.is_some()
    }

    /// Bytes of the open message, if any.
    pub fn message_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.body.len())
    }

    /// Bytes on the heap, its own included.
    pub fn stored_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.body.capacity());
        size_of::<Self>() + message + self.control.capacity()
    }

    /// Fragments of the open message, if any.
    pub fn fragments(&self) -> u32 {
        self.message.as_ref().map_or(0, |message| message.fragments)
    }

    /// The part of a header that has arrived.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_bytes]
    }

    /// Adds what may belong to the header and returns how many bytes it was.
    pub fn extend_head(&mut self, input: &[u8]) -> usize {
        let bytes = input.len().min(HEADER_BYTES_MAX - self.head_bytes);
        self.head[self.head_bytes..][..bytes].copy_from_slice(&input[..bytes]);
        self.head_bytes += bytes;
        bytes
    }

    pub fn clear_head(&mut self) {
        self.head_bytes = 0;
    }

    /// Starts a frame whose payload is to be stored. Its size was admitted.
    pub fn open(&mut self, header: Header) {
        debug_assert!(self.frame.is_none());
        self.frame = Some(OpenFrame { header, received: 0 });
        match header.opcode {
            OpCode::Control(_) => self.control.clear(),
            OpCode::Data(Data::Continue) => {
                if let Some(message) = &mut self.message {
                    message.fragments += 1;
                }
            }
            OpCode::Data(kind) => {
                let body = match kind {
                    Data::Text => Body::Text(Text::default()),
                    _ => Body::Binary(Vec::new()),
                };
                self.message = Some(Message { body, fragments: 1 });
            }
        }
    }

    /// Takes payload of the open frame off the front of `input`, unmasks it in
    /// place and stores it.
    ///
    /// # Errors
    /// 1007 for text that is not UTF-8.
    pub fn fill(&mut self, input: &mut &mut [u8]) -> Result<Filled, Violation> {
        let Some(frame) = &mut self.frame else { return Ok(Filled::Nothing) };
        let Header { opcode, is_final, mask, payload_bytes, .. } = frame.header;
        let missing = payload_bytes as usize - frame.received;
        let piece = take_front(input, missing.min(input.len()));
        unmask(piece, mask, frame.received);
        frame.received += piece.len();
        let is_whole = piece.len() == missing;
        if is_whole {
            self.frame = None;
        }
        match (opcode, &mut self.message) {
            (OpCode::Data(_), Some(message)) => message.body.push(piece, missing)?,
            _ => self.control.extend_from_slice(piece),
        }
        Ok(match opcode {
            _ if !is_whole => Filled::Nothing,
            OpCode::Control(_) => Filled::Control(opcode),
            OpCode::Data(_) if is_final => Filled::Message,
            OpCode::Data(_) => Filled::Fragment,
        })
    }

    /// The message, once it is complete; `None` when there is none.
    ///
    /// # Errors
    /// 1007 for text that ends within a character.
    pub fn message(&self) -> Result<Option<Incoming<'_>>, Violation> {
        Ok(match self.message.as_ref().map(|message| &message.body) {
            Some(Body::Text(text)) => Some(Incoming::Text(text.finish()?)),
            Some(Body::Binary(bytes)) => Some(Incoming::Binary(bytes)),
            None => None,
        })
    }

    /// Payload of the control frame that was completed last.
    pub fn control(&self) -> &[u8] {
        &self.control
    }
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Text(text) => text.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }

    /// `missing` is how many bytes the frame still had, `piece` among them.
    fn push(&mut self, piece: &[u8], missing: usize) -> Result<(), Violation> {
        let bound = self.len() + missing;
        match self {
            Self::Text(text) => text.push(piece, bound),
            Self::Binary(bytes) => {
                let (len, capacity) = (bytes.len(), bytes.capacity());
                bytes.reserve_exact(growth(len, capacity, piece.len(), bound));
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }
}

/// Splits the first `bytes` off `input`.
pub(super) fn take_front<'i>(input: &mut &'i mut [u8], bytes: usize) -> &'i mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(bytes);
    *input = rest;
    front
}

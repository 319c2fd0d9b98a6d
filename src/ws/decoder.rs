//! Frames and messages from a client, decoded incrementally and in place.
//!
//! A message that lies whole in one piece of input is unmasked there and lent out,
//! not copied. Only what is cut off at the end of the input is stored, on the heap,
//! until its message is complete; its size follows the bytes that are present,
//! never the length that a header claims.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::parse_close;
use super::header::{Extensions, Header};
use super::mask::unmask;
use super::message::{Filled, Partial, take_front};
use super::violation::Violation;
use crate::base::clock::Instant;
use crate::base::limits::{CLIENT_MESSAGE_BYTES_MAX, MESSAGE_FRAGMENTS_MAX};

/// What one message may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of payload, all fragments together.
    pub message_bytes_max: usize,
    /// Frames of a fragmented message.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: CLIENT_MESSAGE_BYTES_MAX, fragments_max: MESSAGE_FRAGMENTS_MAX }
    }
}

/// A whole message or control frame from the client, unmasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// At most 125 bytes, to be sent back in a pong.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// Code and reason, if there are any. Nothing follows it.
    Close(Option<(u16, &'a str)>),
}

/// One connection's input. An idle one owns no heap memory.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: u32,
    fragments_max: u16,
    extensions: Extensions,
    /// After a close frame or a violation what arrives is ignored (RFC 6455 section 7.1.7).
    is_ended: bool,
    /// What in `partial` was lent out by the last call, and is done with in the next.
    lent: Lent,
    partial: Option<Box<Partial>>,
}

const _: () = assert!(size_of::<Decoder>() <= 16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lent {
    Nothing,
    Message,
    Control,
}

/// How far the input went.
enum Step<'i> {
    NeedMore,
    /// A frame that lies whole in the input and is a message by itself.
    InPlace(OpCode, &'i mut [u8]),
    /// A message or a control frame that is complete in `partial`.
    Stored(Filled),
}

impl Decoder {
    /// A decoder for a connection without extensions. A limit of 65,535 fragments or more is none;
    /// one beyond 4 GiB is 4 GiB.
    pub fn new(limits: Limits) -> Self {
        Self {
            message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
            fragments_max: u16::try_from(limits.fragments_max).unwrap_or(u16::MAX),
            extensions: Extensions::default(),
            is_ended: false,
            lent: Lent::Nothing,
            partial: None,
        }
    }

    /// Takes bytes off the front of `input` until one message is complete; `None`
    /// when `input` is used up, so call it until then. What was taken is unmasked
    /// where it lies. After a close frame or a violation the rest is taken and ignored.
    ///
    /// # Errors
    /// What the client did wrong. The connection is to be failed with it.
    pub fn next<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Incoming<'d>>, Violation> {
        self.next_counted(input, &mut 0)
    }

    /// As [`Decoder::next`]; adds the frames whose header was read meanwhile to `frames`.
    ///
    /// # Errors
    /// As there.
    pub fn next_counted<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i mut [u8],
        frames: &mut u32,
    ) -> Result<Option<Incoming<'d>>, Violation> {
        self.release();
        if self.is_ended {
            self.partial = None;
            *input = &mut [];
            return Ok(None);
        }
        match self.advance(input, frames) {
            Ok(Step::NeedMore) => Ok(None),
            Ok(Step::InPlace(opcode, payload)) => {
                let incoming = lend(opcode, payload);
                self.is_ended = matches!(incoming, Err(_) | Ok(Incoming::Close(_)));
                incoming.map(Some)
            }
            Ok(Step::Stored(filled)) => self.lend_stored(filled),
            Err(violation) => {
                self.is_ended = true;
                Err(violation)
            }
        }
    }

    /// Whether no message is partly here, and nothing is lent out from the heap.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes on the heap: nothing unless a message is partly here.
    pub fn stored_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.stored_bytes())
    }

    /// Until when the message that is partly here is to be complete, once that was decided.
    pub fn deadline(&self) -> Option<Instant> {
        self.partial.as_ref().and_then(|partial| partial.deadline)
    }

    /// Decides until when the message that is partly here is to be complete; the first decision
    /// stands. True if this was one.
    pub fn set_deadline(&mut self, deadline: Instant) -> bool {
        match &mut self.partial {
            Some(partial) if partial.deadline.is_none() => {
                partial.deadline = Some(deadline);
                true
            }
            _ => false,
        }
    }

    /// Nothing more is expected: what comes is taken and ignored, what is stored is freed.
    pub fn end(&mut self) {
        self.is_ended = true;
        self.lent = Lent::Nothing;
        self.partial = None;
    }

    /// Frees what the last call lent out, as the next call would: for when there is none soon.
    pub fn release(&mut self) {
        match std::mem::replace(&mut self.lent, Lent::Nothing) {
            Lent::Nothing => {}
            Lent::Message => self.partial = None,
            Lent::Control => self.drop_empty_partial(),
        }
    }

    /// Frees the box when no message is open in it.
    fn drop_empty_partial(&mut self) {
        self.partial.take_if(|partial| !partial.has_message());
    }

    fn advance<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        frames: &mut u32,
    ) -> Result<Step<'i>, Violation> {
        loop {
            if !self.partial.as_ref().is_some_and(|partial| partial.has_frame()) {
                let Some(header) = self.read_header(input)? else { return Ok(Step::NeedMore) };
                *frames += 1;
                self.admit(&header)?;
                if header.is_whole() && header.payload_bytes <= input.len() as u64 {
                    let payload = take_front(input, header.payload_bytes as usize);
                    unmask(payload, header.mask, 0);
                    // Only its header was stored, if anything.
                    self.drop_empty_partial();
                    return Ok(Step::InPlace(header.opcode, payload));
                }
                self.partial.get_or_insert_default().open(header);
            }
            match self.partial.get_or_insert_default().fill(input)? {
                Filled::Nothing => return Ok(Step::NeedMore),
                Filled::Fragment => {}
                filled => return Ok(Step::Stored(filled)),
            }
        }
    }

    /// Takes a header off the front of `input`, or stores what there is of it.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        let in_message = self.partial.as_ref().is_some_and(|partial| partial.has_message());
        let Some(partial) = self.partial.as_mut().filter(|partial| !partial.head().is_empty())
        else {
            let header = Header::parse(input, in_message, self.extensions)?;
            let taken = header.map_or(input.len(), |header| header.header_bytes);
            let bytes = take_front(input, taken);
            if header.is_none() && !bytes.is_empty() {
                self.partial.get_or_insert_default().extend_head(bytes);
            }
            return Ok(header);
        };
        let stored = partial.head().len();
        let copied = partial.extend_head(input);
        let header = Header::parse(partial.head(), in_message, self.extensions)?;
        take_front(input, header.map_or(copied, |header| header.header_bytes - stored));
        if header.is_some() {
            partial.clear_head();
        }
        Ok(header)
    }

    /// Whether the limits allow this frame. Nothing of it is stored yet.
    fn admit(&self, header: &Header) -> Result<(), Violation> {
        if header.is_control() {
            return Ok(());
        }
        let partial = self.partial.as_ref();
        let stored = partial.map_or(0, |partial| partial.message_bytes());
        let message_bytes_max = self.message_bytes_max as usize;
        if header.payload_bytes > message_bytes_max.saturating_sub(stored) as u64 {
            return Err(Violation::too_big());
        }
        let fragments = partial.map_or(0, |partial| partial.fragments());
        // As many as the number can say stand for more than that.
        let is_limited = self.fragments_max < u16::MAX;
        if is_limited && !header.is_whole() && fragments >= u32::from(self.fragments_max) {
            return Err(Violation::fragments());
        }
        Ok(())
    }

    fn lend_stored(&mut self, filled: Filled) -> Result<Option<Incoming<'_>>, Violation> {
        self.lent = if filled == Filled::Message { Lent::Message } else { Lent::Control };
        let Some(partial) = &self.partial else { return Ok(None) };
        let incoming = match filled {
            Filled::Control(opcode) => lend(opcode, partial.control()).map(Some),
            _ => partial.message(),
        };
        self.is_ended = matches!(incoming, Err(_) | Ok(Some(Incoming::Close(_))));
        incoming
    }
}

/// A whole frame's payload as what its opcode says it is.
fn lend(opcode: OpCode, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    Ok(match opcode {
        OpCode::Data(Data::Text) => {
            Incoming::Text(std::str::from_utf8(payload).map_err(|_| Violation::not_utf8())?)
        }
        OpCode::Control(Control::Ping) => Incoming::Ping(payload),
        OpCode::Control(Control::Pong) => Incoming::Pong(payload),
        OpCode::Control(Control::Close) => Incoming::Close(parse_close(payload)?),
        // The header admits no other opcode than binary.
        OpCode::Data(_) | OpCode::Control(_) => Incoming::Binary(payload),
    })
}

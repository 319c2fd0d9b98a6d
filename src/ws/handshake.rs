//! The HTTP/1.1 head that asks for a WebSocket (RFC 6455 section 4.2.1), found
//! incrementally: every byte is looked at once, wherever the input is cut.

use super::growth;
pub use super::refusal::Refusal;
pub use super::request::Request;
use crate::base::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX};

/// One connection's request head, as far as it has arrived: at most
/// [`HANDSHAKE_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Handshake {
    head: Vec<u8>,
    place: Place,
    lines: usize,
    is_ended: bool,
}

/// What came of the bytes so far.
#[derive(Debug)]
pub enum Progress {
    NeedMore,
    /// A well-formed request for a WebSocket, for the caller to accept or refuse.
    Upgrade(Box<Request>),
    /// To be answered with [`Refusal::response`], then closed.
    Refused(Refusal),
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the start of the first line.
    #[default]
    Start,
    Within,
    /// After the CR at the end of a line.
    AfterCr,
    /// At the start of any later line.
    LineStart,
    /// After a CR at the start of a line: LF ends the head.
    LastCr,
}

impl Handshake {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes of the head off the front of `input` and returns how many; the
    /// rest, after an upgrade, are frames. After an upgrade or a refusal no more is
    /// taken: a connection has one handshake.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        if self.is_ended {
            return (0, Progress::NeedMore);
        }
        match self.scan(input) {
            Ok(None) => {
                self.keep(input);
                (input.len(), Progress::NeedMore)
            }
            Ok(Some(taken)) => (taken, self.finish(&input[..taken])),
            Err(refusal) => {
                self.end();
                (input.len(), Progress::Refused(refusal))
            }
        }
    }

    /// How many bytes of `input` there are up to the end of the head; `None` if it
    /// does not end there.
    fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let room = HANDSHAKE_BYTES_MAX - self.head.len();
        for (index, &byte) in input.iter().enumerate() {
            if index == room {
                return Err(Refusal::too_large());
            }
            let is_end = self.place == Place::LastCr && byte == b'\n';
            self.place = self.place.after(byte)?;
            if is_end {
                return Ok(Some(index + 1));
            }
            if self.place == Place::LineStart {
                self.lines += 1;
            }
            // The request line is one more, and the line that has just begun another.
            if self.lines > HANDSHAKE_HEADERS_MAX && self.place == Place::Within {
                return Err(Refusal::too_large());
            }
        }
        Ok(None)
    }

    fn keep(&mut self, input: &[u8]) {
        let (len, capacity) = (self.head.len(), self.head.capacity());
        self.head.reserve_exact(growth(len, capacity, input.len(), HANDSHAKE_BYTES_MAX));
        self.head.extend_from_slice(input);
    }

    fn finish(&mut self, last: &[u8]) -> Progress {
        let parsed = if self.head.is_empty() {
            Request::parse(last)
        } else {
            self.keep(last);
            Request::parse(&self.head)
        };
        self.end();
        match parsed {
            Ok(request) => Progress::Upgrade(Box::new(request)),
            Err(refusal) => Progress::Refused(refusal),
        }
    }

    fn end(&mut self) {
        self.is_ended = true;
        self.head = Vec::new();
    }
}

impl Place {
    /// The place after `byte`, or the refusal of what no line may hold.
    fn after(self, byte: u8) -> Result<Self, Refusal> {
        let reason = match (self, byte) {
            (Self::Start, b) if !b.is_ascii_alphabetic() => "speak HTTP/1.1 on this port",
            (Self::Within, b'\r') => return Ok(Self::AfterCr),
            (Self::LineStart, b'\r') => return Ok(Self::LastCr),
            (Self::AfterCr | Self::LastCr, b'\n') => return Ok(Self::LineStart),
            (Self::AfterCr | Self::LastCr, _) | (_, b'\n') => "end every line with CR LF",
            (Self::LineStart, b' ' | b'\t') => "do not fold header lines",
            (_, b) if b.is_ascii_control() && b != b'\t' => "send no control characters",
            _ => return Ok(Self::Within),
        };
        Err(Refusal::bad_request(reason))
    }
}

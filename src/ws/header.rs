//! The header of a client's frame, judged before any of its payload is looked at.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::violation::Violation;

/// The longest header: two bytes, a 64-bit length and the mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;
/// Bytes of a control frame's payload (RFC 6455 section 5.5).
pub(super) const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// What the handshake agreed on beyond RFC 6455 itself. It alone decides which
/// reserved bits a frame may carry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extensions {}

impl Extensions {
    /// The reserved bits that have a meaning, of 0x40 (RSV1), 0x20 and 0x10.
    fn reserved_bits(self) -> u8 {
        0
    }
}

/// A header that keeps every rule which the header alone can break.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub opcode: OpCode,
    pub is_final: bool,
    pub mask: [u8; 4],
    pub payload_bytes: u64,
    /// Bytes of the header itself.
    pub header_bytes: usize,
}

impl Header {
    /// Reads a header from the front of `bytes`; `None` when there is not enough
    /// of it. `in_message` says that a fragmented message is open.
    ///
    /// # Errors
    /// 1002, as soon as the bytes at hand show it.
    pub fn parse(
        bytes: &[u8],
        in_message: bool,
        extensions: Extensions,
    ) -> Result<Option<Self>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        judge_first(first, in_message, extensions)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        judge_second(first, second)?;
        let mut cursor = Cursor::new(bytes);
        let (header, payload_bytes) = match FrameHeader::parse(&mut cursor) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Violation::protocol("frame header is malformed")),
        };
        let Some(mask) = header.mask else { return Err(unmasked()) };
        let header_bytes = cursor.position() as usize;
        if payload_bytes >> 63 != 0 {
            return Err(Violation::protocol("payload length must be below 2^63"));
        }
        if header_bytes != header.len(payload_bytes) {
            return Err(Violation::protocol("payload length must use the fewest bytes"));
        }
        let FrameHeader { opcode, is_final, .. } = header;
        Ok(Some(Self { opcode, is_final, mask, payload_bytes, header_bytes }))
    }

    pub fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Control(_))
    }

    /// Whether the frame is a whole message by itself.
    pub fn is_whole(&self) -> bool {
        self.is_final && self.opcode != OpCode::Data(Data::Continue)
    }
}

fn judge_first(first: u8, in_message: bool, extensions: Extensions) -> Result<(), Violation> {
    if first & RESERVED_BITS & !extensions.reserved_bits() != 0 {
        return Err(Violation::protocol("reserved bits must be zero"));
    }
    match OpCode::from(first & OPCODE) {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            Err(Violation::protocol("opcode is unknown"))
        }
        OpCode::Control(_) if first & FIN == 0 => {
            Err(Violation::protocol("control frame must not be fragmented"))
        }
        OpCode::Data(Data::Continue) if !in_message => {
            Err(Violation::protocol("continuation without a message"))
        }
        OpCode::Data(Data::Text | Data::Binary) if in_message => {
            Err(Violation::protocol("new message inside a fragmented one"))
        }
        _ => Ok(()),
    }
}

fn judge_second(first: u8, second: u8) -> Result<(), Violation> {
    if second & MASKED == 0 {
        return Err(unmasked());
    }
    let is_control = matches!(OpCode::from(first & OPCODE), OpCode::Control(_));
    if is_control && usize::from(second & LENGTH) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(Violation::protocol("control frame must not exceed 125 bytes"));
    }
    Ok(())
}

fn unmasked() -> Violation {
    Violation::protocol("frames from a client must be masked")
}

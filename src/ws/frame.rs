//! Frames as this server sends them: whole and unmasked (RFC 6455 section 5.1).

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub const TEXT: OpCode = OpCode::Data(Data::Text);
pub const BINARY: OpCode = OpCode::Data(Data::Binary);
pub const PING: OpCode = OpCode::Control(Control::Ping);
pub const PONG: OpCode = OpCode::Control(Control::Pong);

/// Bytes of the header before an unmasked payload: 2, 4 or 10.
pub fn header_bytes(payload_bytes: usize) -> usize {
    FrameHeader::default().len(payload_bytes as u64)
}

/// Appends the header of a whole frame.
pub fn put_header(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload_bytes as u64, out).expect("a vector takes every write");
}

/// A whole frame, ready to send.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out
}

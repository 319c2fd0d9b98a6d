//! Scenarios of the whole layer.

mod differential;
mod frames;
mod handshake;
mod memory;
mod sending;
mod splits;
mod text;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;

use super::decoder::{Decoder, Incoming, Limits};
use super::fuzz::{decode_pieces, fuzz_decoder, fuzz_utf8};
use super::oracle::shown;
use super::violation::Violation;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CONTINUE: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;

const LIMITS: Limits = Limits { message_bytes_max: 4096, fragments_max: 8 };

/// A client's frame. `first` is the first byte: FIN, reserved bits and opcode.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let opcode = OpCode::from(first & 0x0f);
    let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
    let mut frame = Vec::new();
    header.format(payload.len() as u64, &mut frame).expect("a vector takes every write");
    frame[0] = first;
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Decodes `input` as one piece up to the first violation, checking along the way
/// that neither single bytes nor other pieces make a difference.
fn decode(input: &[u8]) -> (Vec<String>, Option<Violation>) {
    fuzz_decoder(input);
    let mut decoder = Decoder::new(LIMITS);
    let mut copy = input.to_vec();
    let mut rest = &mut copy[..];
    let mut messages = Vec::new();
    loop {
        match decoder.next(&mut rest) {
            Ok(Some(incoming)) => messages.push(format!("{incoming:?}")),
            Ok(None) => return (messages, None),
            Err(violation) => return (messages, Some(violation)),
        }
    }
}

/// The close code that `input` ends with, and no message before it.
fn code_of(input: &[u8]) -> Option<u16> {
    let (messages, violation) = decode(input);
    assert!(messages.is_empty() || violation.is_none(), "{messages:?}");
    violation.map(|violation| violation.code)
}

use bytes::Bytes;
use serde::Serialize;

use super::{Encoding, msgpack};

/// A server's longest header: two bytes and a 64-bit length (RFC 6455 section 5.2).
const HEADER_BYTES_MAX: usize = 10;
/// FIN and the text opcode; no mask, as a server must not mask.
const FINAL_TEXT: u8 = 0x81;
/// FIN and the binary opcode.
const FINAL_BINARY: u8 = 0x82;

/// `message` in one complete, final, unmasked frame.
pub(super) fn of<T: Serialize>(message: &T, encoding: Encoding, capacity: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + capacity);
    bytes.resize(HEADER_BYTES_MAX, 0);
    let first_byte = match encoding {
        Encoding::Json => {
            if let Err(error) = serde_json::to_writer(&mut bytes, message) {
                // Writing to memory cannot fail, and no message has keys other than strings.
                unreachable!("a message of the protocol is JSON: {error}");
            }
            FINAL_TEXT
        }
        Encoding::MessagePack => {
            msgpack::write(&mut bytes, message);
            FINAL_BINARY
        }
    };
    let start = write_header(&mut bytes, first_byte);
    Bytes::from(bytes).slice(start..)
}

/// Writes the header right before the payload, which begins at
/// `HEADER_BYTES_MAX`; returns where the frame begins.
fn write_header(bytes: &mut [u8], first_byte: u8) -> usize {
    let payload = bytes.len() - HEADER_BYTES_MAX;
    let (start, short_length) = match payload {
        0..=125 => (8, payload as u8),
        126..=0xFFFF => {
            bytes[8..10].copy_from_slice(&(payload as u16).to_be_bytes());
            (6, 126)
        }
        _ => {
            bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            (0, 127)
        }
    };
    bytes[start] = first_byte;
    bytes[start + 1] = short_length;
    start
}

/// Appends the header of a final frame with a payload of so many bytes, which must follow.
pub(super) fn append_header(out: &mut Vec<u8>, encoding: Encoding, payload: usize) {
    out.push(match encoding {
        Encoding::Json => FINAL_TEXT,
        Encoding::MessagePack => FINAL_BINARY,
    });
    match payload {
        0..=125 => out.push(payload as u8),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// The payload of a frame that [`of`] made.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame[1] {
        0..=125 => 2,
        126 => 4,
        _ => HEADER_BYTES_MAX,
    };
    &frame[header_bytes..]
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    #[test]
    fn the_header_is_right_at_every_boundary_of_length() {
        for length in [0, 1, 123, 124, 65_533, 65_534, 65_535, 70_000] {
            let text_of_length = "x".repeat(length);
            let frame = of(&text_of_length, Encoding::Json, 0);
            let mut cursor = Cursor::new(&frame[..]);
            let (header, payload_bytes) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final && header.mask.is_none());
            assert!(!header.rsv1 && !header.rsv2 && !header.rsv3);
            assert_eq!(header.opcode, OpCode::Data(Data::Text));
            assert_eq!(payload_bytes, length as u64 + 2);
            let start = cursor.position() as usize;
            // The shortest form, as RFC 6455 section 5.2 demands.
            assert_eq!(
                start,
                [2, 4, 10][usize::from(payload_bytes > 125) + usize::from(payload_bytes > 65_535)]
            );
            assert_eq!(payload(&frame), &frame[start..]);
            assert_eq!(&frame[start..], format!("\"{text_of_length}\"").as_bytes());
        }
    }

    #[test]
    fn messagepack_goes_into_a_binary_frame() {
        let frame = of(&["a", "b"], Encoding::MessagePack, 0);
        assert_eq!(&frame[..], b"\x82\x05\x92\xa1a\xa1b");
        let frame = of(&"x".repeat(200), Encoding::MessagePack, 0);
        assert_eq!(&frame[..6], b"\x82\x7e\x00\xca\xd9\xc8");
    }
}

//! What the server sends: frames, close frames; and the mask.

use proptest::prelude::*;
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::{Message, WebSocket};

use super::super::close::{CLOSE_REASON_BYTES_MAX, close_frame, is_code_allowed};
use super::super::frame::{frame, header_bytes, put_header};
use super::super::mask::unmask;

/// Reads one message as a client does.
fn read_as_client(bytes: Vec<u8>) -> Message {
    let stream = std::io::Cursor::new(bytes);
    WebSocket::from_raw_socket(stream, Role::Client, None).read().expect("a good frame")
}

#[test]
fn a_header_takes_2_4_or_10_bytes() {
    for (payload_bytes, expected) in
        [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (usize::MAX >> 1, 10)]
    {
        assert_eq!(header_bytes(payload_bytes), expected);
        let mut out = vec![1, 2, 3];
        put_header(&mut out, OpCode::Data(Data::Text), payload_bytes);
        assert_eq!(out.len(), 3 + expected);
    }
}

#[test]
fn a_client_reads_our_frames() {
    for bytes in [0, 125, 126, 65535, 65536] {
        let text = "t".repeat(bytes);
        let sent = frame(OpCode::Data(Data::Text), text.as_bytes());
        assert_eq!(sent.len(), header_bytes(bytes) + bytes);
        assert_eq!(read_as_client(sent), Message::text(text));
    }
    let sent = frame(OpCode::Control(Control::Ping), b"p");
    assert_eq!(read_as_client(sent), Message::Ping(b"p".to_vec().into()));
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    for (reason, kept) in [
        ("bye".to_owned(), 3),
        ("x".repeat(200), 123),
        (format!("{}\u{20ac}", "x".repeat(121)), 121),
    ] {
        let Message::Close(Some(close)) = read_as_client(close_frame(1001, &reason)) else {
            panic!("not a close frame");
        };
        assert_eq!(u16::from(close.code), 1001);
        assert_eq!(close.reason.as_str(), &reason[..kept]);
    }
    assert_eq!(close_frame(4501, &"y".repeat(200)).len(), 2 + 2 + CLOSE_REASON_BYTES_MAX);
}

#[test]
fn close_codes_are_those_of_the_registry() {
    let allowed = |code: u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        assert_eq!(is_code_allowed(code), allowed(code), "{code}");
    }
}

proptest! {
    #[test]
    fn a_mask_applies_byte_by_byte_from_any_phase(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        mask: [u8; 4],
        phase in 0_usize..9,
        offset in 0_usize..9,
    ) {
        let offset = offset.min(payload.len());
        let mut fast = payload.clone();
        unmask(&mut fast[offset..], mask, phase);
        let mut plain = payload;
        for (index, byte) in plain[offset..].iter_mut().enumerate() {
            *byte ^= mask[(index + phase) % 4];
        }
        prop_assert_eq!(fast, plain);
    }
}

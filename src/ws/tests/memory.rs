//! What a connection's input costs in memory.

use super::super::growth;
use super::*;
use crate::base::clock::Instant;

#[test]
fn a_whole_message_is_lent_from_the_input_and_leaves_the_decoder_idle() {
    let mut input = client_frame(FIN | TEXT, b"whole");
    let addresses = input.as_ptr_range();
    let mut decoder = Decoder::new(LIMITS);
    let mut rest = &mut input[..];
    match decoder.next(&mut rest) {
        Ok(Some(Incoming::Text(text))) => assert!(addresses.contains(&text.as_ptr())),
        other => panic!("{other:?}"),
    }
    assert!(decoder.is_idle());
}

#[test]
fn a_cut_message_is_freed_once_it_was_taken() {
    for first in [FIN | TEXT, FIN | BINARY, FIN | PING] {
        let mut input = client_frame(first, b"in two pieces");
        let (mut head, mut tail) = input.split_at_mut(9);
        let mut decoder = Decoder::new(LIMITS);
        assert_eq!(decoder.next(&mut head), Ok(None));
        assert!(!decoder.is_idle());
        assert!(matches!(decoder.next(&mut tail), Ok(Some(_))));
        assert_eq!(decoder.next(&mut tail), Ok(None));
        assert!(decoder.is_idle());
    }
}

#[test]
fn a_cut_header_alone_does_not_make_a_whole_payload_be_copied() {
    let mut input = client_frame(FIN | BINARY, b"payload");
    let (mut head, mut tail) = input.split_at_mut(3);
    let addresses = tail.as_ptr_range();
    let mut decoder = Decoder::new(LIMITS);
    assert_eq!(decoder.next(&mut head), Ok(None));
    match decoder.next(&mut tail) {
        Ok(Some(Incoming::Binary(payload))) => assert!(addresses.contains(&payload.as_ptr())),
        other => panic!("{other:?}"),
    }
    assert!(decoder.is_idle());
}

#[test]
fn storage_follows_what_is_present_and_ends_at_what_is_known() {
    assert_eq!(growth(0, 0, 1, 1 << 40), 1, "a claimed length allocates nothing");
    assert_eq!(growth(8, 8, 1, 1 << 40), 8, "full storage doubles");
    assert_eq!(growth(8, 8, 1, 10), 2, "but not past the end of the message");
    assert_eq!(growth(8, 16, 8, 16), 0, "room is used");
    assert_eq!(growth(4, 4, 100, 50), 100, "what is present always fits");
}

#[test]
fn what_was_lent_is_freed_without_further_input_once_that_is_asked_for() {
    let mut input = client_frame(FIN | BINARY, b"in two pieces");
    let (mut head, mut tail) = input.split_at_mut(9);
    let mut decoder = Decoder::new(LIMITS);
    assert_eq!(decoder.next(&mut head), Ok(None));
    assert!(decoder.stored_bytes() > 0);
    assert!(matches!(decoder.next(&mut tail), Ok(Some(Incoming::Binary(_)))));
    decoder.release();
    assert!(decoder.is_idle());
    assert_eq!(decoder.stored_bytes(), 0);
}

#[test]
fn a_deadline_is_kept_from_the_first_byte_of_a_header_to_the_end_of_its_message() {
    let mut input = client_frame(FIN | BINARY, b"in pieces");
    let mut decoder = Decoder::new(LIMITS);
    let (first, later) = (Instant::from_nanos(1), Instant::from_nanos(2));
    assert!(!decoder.set_deadline(first), "nothing is incomplete");
    let last = input.len() - 1;
    for (at, byte) in input.chunks_mut(1).enumerate() {
        let mut piece = byte;
        assert_eq!(decoder.next(&mut piece).map(|it| it.is_some()), Ok(at == last));
        assert_eq!(decoder.set_deadline(if at == 0 { first } else { later }), at == 0);
        assert_eq!(decoder.deadline(), Some(first));
    }
    decoder.release();
    assert_eq!(decoder.deadline(), None);
}

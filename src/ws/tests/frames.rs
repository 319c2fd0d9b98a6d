//! RFC 6455 section 5, rule by rule.

use super::*;

fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

#[test]
fn what_breaks_a_rule_of_the_header_is_refused_from_the_header_alone() {
    let masked = 0x80;
    let cases: &[(&str, &[u8], u16)] = &[
        ("RSV1", &[FIN | 0x40 | TEXT], 1002),
        ("RSV2", &[FIN | 0x20 | BINARY], 1002),
        ("RSV3 on a control frame", &[FIN | 0x10 | PING], 1002),
        ("opcode 3", &[FIN | 0x3], 1002),
        ("opcode 7", &[FIN | 0x7], 1002),
        ("opcode 11", &[FIN | 0xb], 1002),
        ("opcode 15", &[FIN | 0xf], 1002),
        ("fragmented ping", &[PING], 1002),
        ("fragmented close", &[CLOSE], 1002),
        ("lone continuation", &[FIN | CONTINUE], 1002),
        ("lone continuation that goes on", &[CONTINUE], 1002),
        ("unmasked", &[FIN | TEXT, 5], 1002),
        ("unmasked with a longer length to come", &[FIN | TEXT, 126], 1002),
        ("unmasked and empty", &[FIN | TEXT, 0], 1002),
        ("ping of 126 bytes", &[FIN | PING, masked | 126], 1002),
        ("close with a 64-bit length", &[FIN | CLOSE, masked | 127], 1002),
        ("125 bytes in a 16-bit length", &[FIN | TEXT, masked | 126, 0, 125, 1, 2, 3, 4], 1002),
        (
            "65535 bytes in a 64-bit length",
            &[FIN | TEXT, masked | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4],
            1002,
        ),
        (
            "top bit of the length",
            &[FIN | BINARY, masked | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            1002,
        ),
        (
            "2^63-1 bytes",
            &[FIN | BINARY, masked | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4],
            1009,
        ),
        ("one byte too many", &[FIN | TEXT, masked | 126, 0x10, 0x01, 1, 2, 3, 4], 1009),
    ];
    for (name, input, code) in cases {
        assert_eq!(code_of(input), Some(*code), "{name}");
        let shorter = &input[..input.len() - 1];
        assert_eq!(code_of(shorter), None, "{name}: one byte less does not show it");
    }
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_refused() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let input = join(&[client_frame(TEXT, b"a"), vec![first]]);
        assert_eq!(code_of(&input), Some(1002));
    }
}

#[test]
fn whole_messages_come_as_they_are() {
    for bytes in [0, 1, 125, 126, 127, 4095, 4096] {
        let text = "x".repeat(bytes);
        let (messages, violation) = decode(&client_frame(FIN | TEXT, text.as_bytes()));
        assert_eq!(messages, [shown(Incoming::Text(&text))]);
        assert_eq!(violation, None);
        let data = vec![0xfe; bytes];
        let (messages, violation) = decode(&client_frame(FIN | BINARY, &data));
        assert_eq!(messages, [shown(Incoming::Binary(&data))]);
        assert_eq!(violation, None);
    }
}

#[test]
fn several_messages_in_one_piece_all_come() {
    let input = join(&[
        client_frame(FIN | TEXT, b"one"),
        client_frame(FIN | PONG, b""),
        client_frame(FIN | BINARY, b"\x02"),
        client_frame(FIN | CLOSE, b""),
    ]);
    let expected = [
        shown(Incoming::Text("one")),
        shown(Incoming::Pong(b"")),
        shown(Incoming::Binary(b"\x02")),
        shown(Incoming::Close(None)),
    ];
    assert_eq!(decode(&input), (expected.to_vec(), None));
}

#[test]
fn control_frames_between_fragments_come_first() {
    let input = join(&[
        client_frame(TEXT, "frag\u{e9}".as_bytes()),
        client_frame(FIN | PING, b"alive?"),
        client_frame(CONTINUE, b""),
        client_frame(FIN | PONG, &[7; 125]),
        client_frame(FIN | CONTINUE, b"ment"),
        client_frame(FIN | TEXT, b"next"),
    ]);
    let expected = [
        shown(Incoming::Ping(b"alive?")),
        shown(Incoming::Pong(&[7; 125])),
        shown(Incoming::Text("frag\u{e9}ment")),
        shown(Incoming::Text("next")),
    ];
    assert_eq!(decode(&input), (expected.to_vec(), None));
}

#[test]
fn the_sum_over_fragments_is_bounded() {
    let half = vec![0; 2048];
    let mut input = join(&[client_frame(BINARY, &half), client_frame(CONTINUE, &half)]);
    assert_eq!(code_of(&input), None);
    let one_more = client_frame(FIN | CONTINUE, b"!");
    input.extend(&one_more[..6]);
    assert_eq!(code_of(&input), Some(1009));
}

#[test]
fn the_number_of_fragments_is_bounded_even_if_they_are_empty() {
    let mut input = client_frame(TEXT, b"");
    for _ in 1..LIMITS.fragments_max {
        input.extend(client_frame(CONTINUE, b""));
    }
    assert_eq!(code_of(&input), None);
    input.extend(client_frame(FIN | CONTINUE, b""));
    assert_eq!(code_of(&input), Some(1008));
}

#[test]
fn what_follows_a_close_or_a_violation_is_ignored() {
    let more = client_frame(FIN | TEXT, b"late");
    let input = join(&[client_frame(FIN | CLOSE, b"\x03\xe8bye"), more.clone(), vec![0xff; 9]]);
    assert_eq!(decode(&input), (vec![shown(Incoming::Close(Some((1000, "bye"))))], None));

    let mut input = join(&[vec![FIN | 0x40 | TEXT], more]);
    let mut decoder = Decoder::new(LIMITS);
    let mut rest = &mut input[..];
    assert!(decoder.next(&mut rest).is_err());
    assert_eq!(decoder.next(&mut rest), Ok(None));
    assert!(rest.is_empty());
    assert!(decoder.is_idle());
}

#[test]
fn close_payloads_are_judged() {
    let good: &[&[u8]] = &[b"", b"\x03\xe8", b"\x03\xf6", b"\x0b\xb8bye", b"\x13\x87\xe2\x82\xac"];
    for payload in good {
        let (messages, violation) = decode(&client_frame(FIN | CLOSE, payload));
        assert_eq!((messages.len(), violation), (1, None), "{payload:?}");
    }
    let bad: &[(&[u8], u16)] = &[
        (b"\x03", 1002),
        (b"\x00\x00", 1002),
        (b"\x03\xe7", 1002),
        (b"\x03\xec", 1002),
        (b"\x03\xed", 1002),
        (b"\x03\xee", 1002),
        (b"\x03\xf7", 1002),
        (b"\x03\xf8", 1002),
        (b"\x0b\xb7", 1002),
        (b"\x13\x88", 1002),
        (b"\xff\xff", 1002),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8\xe2\x82", 1007),
    ];
    for (payload, code) in bad {
        assert_eq!(code_of(&client_frame(FIN | CLOSE, payload)), Some(*code), "{payload:?}");
    }
}

const BAD_UTF8: &[&[u8]] = &[
    b"\x80",
    b"\xc0",
    b"\xc1",
    b"\xf5",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0",
    b"ok\xc3A",
    b"ok\xe0\x80",
    b"ok\xed\xbf",
    b"ok\xf0\x8f",
    b"ok\xf4\x90",
    b"ok\xe2\x82A",
    b"ok\xf0\x9f\x98A",
];

#[test]
fn text_fails_at_its_first_bad_byte_in_the_middle_of_a_frame() {
    for bad in BAD_UTF8 {
        let payload = [bad, &b" and more"[..]].concat();
        let frame = client_frame(FIN | TEXT, &payload);
        let header_bytes = frame.len() - payload.len();
        assert_eq!(code_of(&frame), Some(1007), "{bad:?}");
        assert_eq!(code_of(&frame[..header_bytes + bad.len()]), Some(1007), "{bad:?}");
        assert_eq!(code_of(&frame[..header_bytes + bad.len() - 1]), None, "{bad:?}");
    }
}

#[test]
fn text_fails_at_its_first_bad_byte_across_fragments() {
    for bad in BAD_UTF8 {
        for cut in 0..bad.len() {
            let first = client_frame(TEXT, &bad[..cut]);
            let second = client_frame(FIN | CONTINUE, &[&bad[cut..], b" and more"].concat());
            let last = second.len() - b" and more".len();
            let input = join(&[first, second[..last].to_vec()]);
            assert_eq!(code_of(&input), Some(1007), "{bad:?} cut at {cut}");
            assert_eq!(code_of(&input[..input.len() - 1]), None, "{bad:?} cut at {cut}");
        }
    }
}

#[test]
fn text_must_not_end_within_a_character() {
    for tail in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
        assert_eq!(code_of(&client_frame(FIN | TEXT, tail)), Some(1007));
        let input = join(&[client_frame(TEXT, tail), client_frame(FIN | CONTINUE, b"")]);
        assert_eq!(code_of(&input), Some(1007));
    }
}

#[test]
fn characters_may_be_cut_anywhere() {
    let text = "a\u{e9}\u{20ac}\u{1f600}\u{10ffff}\u{0}z";
    for cut in 0..=text.len() {
        let (head, tail) = text.as_bytes().split_at(cut);
        let input = join(&[client_frame(TEXT, head), client_frame(FIN | CONTINUE, tail)]);
        assert_eq!(decode(&input), (vec![shown(Incoming::Text(text))], None));
    }
}

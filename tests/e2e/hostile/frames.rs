//! Frames that break RFC 6455, claim what they do not send, or come in crumbs.

use std::slice;

use serde_json::json;

use super::guard::{Row, assert_linear, assert_linear_after};
use super::{
    assert_answering, assert_failed, frame, header, upgraded, write_bytewise, write_in_step,
};
use crate::support::{Raw, Sent, eventually, text_frame};

const MESSAGE_BYTES_MAX: u64 = 64 * 1024;

/// Each sends no more than what shows the breach: it is the header that decides.
fn breaches() -> Vec<(&'static str, Vec<u8>)> {
    let masked_length = |first: u8, second: u8| vec![first, 0x80 | second];
    vec![
        ("not masked", b"\x81\x02".to_vec()),
        ("not masked, a long one", b"\x82\x7f".to_vec()),
        ("a ping not masked", b"\x89\x00".to_vec()),
        ("RSV1", b"\xc1".to_vec()),
        ("RSV2", b"\xa1".to_vec()),
        ("RSV3", b"\x91".to_vec()),
        ("RSV1 on a ping", b"\xc9".to_vec()),
        ("opcode 3", b"\x83".to_vec()),
        ("opcode 7", b"\x07".to_vec()),
        ("opcode 11", b"\x8b".to_vec()),
        ("opcode 15", b"\x8f".to_vec()),
        ("a ping of 126 bytes", masked_length(0x89, 126)),
        ("a ping of 64-bit length", masked_length(0x89, 127)),
        ("a pong of 126 bytes", masked_length(0x8a, 126)),
        ("a close of 126 bytes", masked_length(0x88, 126)),
        ("a fragmented ping", b"\x09".to_vec()),
        ("a fragmented close", b"\x08".to_vec()),
        ("a continuation of nothing", b"\x80".to_vec()),
        ("a continuation of nothing, to go on", b"\x00".to_vec()),
        ("a new message amid another", [frame(0x01, b"x"), b"\x81".to_vec()].concat()),
        ("the same, binary", [frame(0x02, b"x"), b"\x02".to_vec()].concat()),
        ("1 byte in 16 bits", b"\x81\xfe\x00\x01\0\0\0\0".to_vec()),
        ("125 bytes in 16 bits", b"\x81\xfe\x00\x7d\0\0\0\0".to_vec()),
        ("126 bytes in 64 bits", b"\x82\xff\0\0\0\0\0\0\x00\x7e\0\0\0\0".to_vec()),
        ("65,535 bytes in 64 bits", b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec()),
        ("the top bit of a length", header(0x81, 1 << 63)),
        ("every bit of a length", header(0x81, u64::MAX)),
    ]
}

/// A close frame must be there as a whole to be judged.
fn bad_closes() -> Vec<(&'static str, Vec<u8>)> {
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    vec![
        ("a close of one byte", frame(0x88, b"x")),
        ("a close code below all", close(999)),
        ("a close code kept for no code", close(1005)),
        ("a close code kept for an abrupt end", close(1006)),
        ("a close code kept for TLS", close(1015)),
        ("a close code that is none", close(2999)),
        ("a close code above all", close(5000)),
    ]
}

/// The header is there at once, or comes in crumbs.
#[test]
fn a_breach_of_the_framing_is_closed_with_1002_from_the_header_alone() {
    Row::new().run(|server| {
        for (name, bytes) in breaches().into_iter().chain(bad_closes()) {
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(&bytes);
            assert_failed(name, &mut raw, 1002);

            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            write_bytewise(slice::from_mut(&mut raw), &bytes);
            assert_failed(name, &mut raw, 1002);
        }
        let breaches = (breaches().len() + bad_closes().len()) * 2;
        let counted = server.metrics();
        let reason = "protocol";
        let counted = counted.sum_with("websocket_connection_errors_total", "reason", reason);
        assert_eq!(counted, breaches as f64);
    });
}

#[test]
fn what_follows_a_breach_or_a_close_is_not_answered() {
    let ping = text_frame(&json!({"type": "ping", "timestamp": "too late"}));
    Row::new().run(|server| {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&[frame(0x83, b""), ping.clone()].concat());
        assert_failed("a breach", &mut raw, 1002);
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&[frame(0x88, &1000_u16.to_be_bytes()), ping.clone()].concat());
        assert!(matches!(raw.next(), Sent::Close(1000)));
        assert!(matches!(raw.next(), Sent::End));
    });
}

/// What is not UTF-8, up to and with the first byte that shows it.
const NOT_UTF8: [&[u8]; 9] = [
    b"\xff",
    b"\x80",
    b"abc\xc0",
    b"\xce\xba\xce\xce",
    b"\xe0\x80",
    b"\xed\xa0",
    b"\xf0\x80",
    b"\xf4\x90",
    b"\xf5",
];

/// The frame goes on for ever: what comes after the bad byte is not waited for.
#[test]
fn text_that_is_not_utf8_is_closed_with_1007_at_its_first_bad_byte() {
    Row::new().run(|server| {
        for bad in NOT_UTF8 {
            let name = format!("{bad:x?}");
            let begun = [&header(0x81, 60_000), bad].concat();
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(&begun);
            assert_failed(&name, &mut raw, 1007);

            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            write_bytewise(slice::from_mut(&mut raw), &begun);
            assert_failed(&name, &mut raw, 1007);

            // In a frame that is there as a whole.
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(&frame(0x81, bad));
            assert_failed(&name, &mut raw, 1007);
        }
    });
}

#[test]
fn text_that_is_not_utf8_across_fragments_is_closed_with_1007() {
    Row::new().run(|server| {
        for bad in NOT_UTF8.into_iter().filter(|bad| bad.len() > 1) {
            let name = format!("{bad:x?}");
            let (last, first) = bad.split_last().expect("two bytes");
            // A ping between the fragments changes nothing.
            let first = [frame(0x01, first), frame(0x89, b"p")].concat();
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(&first);
            assert!(matches!(raw.next(), Sent::Pong), "{name}");
            raw.write(&[&header(0x00, 60_000)[..], &[*last]].concat());
            assert_failed(&name, &mut raw, 1007);
        }
        // A character that the end of the message cuts off.
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&[frame(0x01, b"\xce"), frame(0x80, b"")].concat());
        assert_failed("a cut character", &mut raw, 1007);
    });
}

#[test]
fn a_close_reason_that_is_not_utf8_is_closed_with_1007() {
    Row::new().run(|server| {
        for bad in NOT_UTF8 {
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(&frame(0x88, &[&1000_u16.to_be_bytes(), bad].concat()));
            assert_failed(&format!("{bad:x?}"), &mut raw, 1007);
        }
    });
}

/// 1,000 of each at the same time: a thousand times the claim would be seen.
#[test]
fn lengths_beyond_the_limit_are_closed_with_1009_and_take_no_memory() {
    const CONNECTIONS: usize = 1_000;
    let claims = [MESSAGE_BYTES_MAX + 1, 1 << 30, u64::from(u32::MAX), (1 << 63) - 1];
    Row::new().connections(CONNECTIONS as u64).run(|server| {
        for claim in claims {
            let mut raws = upgraded(server, CONNECTIONS);
            for (n, raw) in raws.iter_mut().enumerate() {
                // Text and binary, whole and fragmented.
                raw.write(&header([0x81, 0x82, 0x01, 0x02][n % 4], claim));
            }
            raws.iter_mut().for_each(|raw| assert_failed(&claim.to_string(), raw, 1009));
        }
    });
}

/// They may still send it: they are not closed, and hold what they sent.
#[test]
fn a_length_within_the_limit_takes_no_memory_before_its_bytes() {
    const CONNECTIONS: usize = 1_000;
    Row::new().connections(CONNECTIONS as u64).run(|server| {
        let mut raws = upgraded(server, CONNECTIONS);
        let received = || server.metrics().sum("alarmcast_received_bytes_total");
        let (before, mut sent) = (received(), 0);
        for (n, raw) in raws.iter_mut().enumerate() {
            let first = [0x81, 0x82, 0x01, 0x02][n % 4];
            let begun = [&header(first, MESSAGE_BYTES_MAX)[..], b"x"].concat();
            raw.write(&begun);
            sent += begun.len();
        }
        eventually("all of it is read", || (received() - before >= sent as f64).then_some(()));
    });
}

#[test]
fn endless_fragments_are_closed_with_1009_when_their_sum_is_too_much() {
    let part = frame(0x00, &[b'x'; 16 * 1024]);
    Row::new().run(|server| {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&frame(0x01, b"x"));
        (0..4).for_each(|_| raw.write(&part));
        assert_failed("fragments", &mut raw, 1009);

        // The header of the one that is too much is enough, and the limit itself is allowed.
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&frame(0x01, b" "));
        (0..3).for_each(|_| raw.write(&frame(0x00, &[b' '; 16 * 1024])));
        raw.write(&frame(0x80, &[b' '; 16 * 1024 - 1]));
        assert_eq!(raw.message()["code"], "INVALID_MESSAGE");
        raw.write(&frame(0x01, b"x"));
        raw.write(&header(0x00, MESSAGE_BYTES_MAX));
        assert_failed("a header", &mut raw, 1009);
    });
}

#[test]
fn empty_fragments_are_closed_with_1008_when_they_are_too_many() {
    let begin = frame(0x01, b"");
    Row::new().run(|server| {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        // The limit itself is allowed.
        let ended = [begin.clone(), frame(0x00, b"").repeat(1_022), frame(0x80, b"")].concat();
        raw.write(&ended);
        assert_eq!(raw.message()["code"], "INVALID_MESSAGE");
        raw.write(&[begin.clone(), frame(0x00, b"").repeat(1_024)].concat());
        assert_failed("one too many", &mut raw, 1008);

        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&[begin, frame(0x00, b"").repeat(100_000)].concat());
        assert_failed("very many", &mut raw, 1008);
    });
}

#[test]
fn a_message_a_byte_per_segment_is_read() {
    Row::new().run(|server| {
        let mut raws = upgraded(server, 8);
        let text = "é".repeat(4_000);
        write_bytewise(&mut raws, &text_frame(&json!({"type": "ping", "timestamp": text})));
        raws.iter_mut().for_each(|raw| assert_eq!(raw.message()["timestamp"], text));
    });
}

/// Single bytes would be joined by the kernels, and the cost be that of the pieces they make.
#[test]
fn a_message_in_crumbs_is_read_in_linear_time() {
    const CRUMB_BYTES: usize = 401;
    let settings = [
        "limits.message_bytes_max=1048576",
        "limits.messages_per_second=1000000",
        "limits.messages_burst=1000000",
    ];
    Row::with(&settings).holds_kib(4 * 1024).run(|server| {
        let (mut raws, mut others) = (upgraded(server, 1), upgraded(server, 4));
        assert_linear(server, |size| {
            let text = "é".repeat(size * 50_000);
            let ping = text_frame(&json!({"type": "ping", "timestamp": text}));
            write_in_step(&mut raws, &mut others, &ping, CRUMB_BYTES);
            assert_eq!(raws[0].message()["timestamp"], text);
        });
        assert_answering("crumbs", &mut raws[0]);
    });
}

/// A ping behind each fragment: its pong tells that they were read.
#[test]
fn a_message_in_fragments_of_a_byte_is_read_in_linear_time() {
    Row::new().run(|server| {
        let connected = |size: usize| (size, upgraded(server, 1).remove(0));
        assert_linear_after(server, connected, |(size, mut raw)| {
            let ping = json!({"type": "ping", "timestamp": "x".repeat(size * 200)}).to_string();
            raw.write(&frame(0x01, b""));
            for byte in ping.bytes() {
                raw.write(&[frame(0x00, &[byte]), frame(0x89, b"p")].concat());
                assert!(matches!(raw.next(), Sent::Pong));
            }
            raw.write(&frame(0x80, b""));
            assert_eq!(raw.message()["type"], "pong");
        });
    });
}

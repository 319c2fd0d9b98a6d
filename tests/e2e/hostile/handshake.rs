//! Handshakes that are too much, too slow, or not for this server.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use serde_json::json;

use super::guard::{Row, assert_linear};
use super::{
    HEAD_END, assert_answering, assert_one_answer, assert_refused, changed, frame, upgraded,
    with_headers, write_bytewise, write_in_step,
};
use crate::support::{Raw, Sent, Server, UPGRADE, text_frame};

const HEAD_BYTES_MAX: usize = 16 * 1024;

/// An acceptable request of exactly so many bytes.
fn of_bytes(bytes: usize) -> Vec<u8> {
    let line = "X-Long: \r\n";
    let request =
        with_headers(&format!("X-Long: {}\r\n", "x".repeat(bytes - UPGRADE.len() - line.len())));
    assert_eq!(request.len(), bytes);
    request
}

#[track_caller]
fn assert_accepted(server: &Server, request: &[u8]) -> String {
    let mut raw = Raw::connect(server.stream_addr());
    raw.write(request);
    let head = raw.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.message()["type"], "welcome");
    head
}

#[track_caller]
fn assert_counted(server: &Server, reason: &str, count: usize) {
    crate::support::eventually(&format!("{count} counted as {reason}"), || {
        let metrics = server.metrics();
        let found = metrics.sum_with("websocket_connection_errors_total", "reason", reason);
        // One more: the refusal before the row.
        (found == count as f64).then_some(())
    });
}

#[test]
fn two_thousand_headers_are_refused_at_the_first_too_many() {
    let headers = |count: usize| (0..count).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    Row::new().run(|server| {
        // Five are in the request.
        assert_accepted(server, &with_headers(&headers(95)));
        assert_refused(server, "101 headers", &with_headers(&headers(96)), "431");
        assert_refused(server, "2,000 headers", &with_headers(&headers(2_000)), "431");
        // Decided without the end of the head.
        let unended = format!("GET /ws HTTP/1.1\r\n{}", headers(101));
        assert_refused(server, "headers without end", unended.as_bytes(), "431");
        assert_counted(server, "handshake_refused", 1 + 3);
    });
}

#[test]
fn a_megabyte_of_header_is_refused_at_16_kib() {
    Row::new().run(|server| {
        assert_accepted(server, &of_bytes(HEAD_BYTES_MAX));
        assert_refused(server, "a byte too much", &of_bytes(HEAD_BYTES_MAX + 1), "431");
        assert_refused(server, "a megabyte", &of_bytes(1024 * 1024), "431");
        // Decided from what is there.
        let begun = &of_bytes(1024 * 1024)[..=HEAD_BYTES_MAX];
        assert_refused(server, "the beginning of a megabyte", begun, "431");
        let line = [b"GET /".as_slice(), &vec![b'a'; HEAD_BYTES_MAX]].concat();
        assert_refused(server, "a long request line", &line, "431");
    });
}

#[test]
fn a_header_a_byte_at_a_time_is_read_up_to_its_limit() {
    Row::new().run(|server| {
        let connected = || (0..4).map(|_| Raw::connect(server.stream_addr())).collect::<Vec<_>>();
        let mut raws = connected();
        write_bytewise(&mut raws, &of_bytes(HEAD_BYTES_MAX));
        raws.iter_mut().for_each(Raw::read_upgrade);
        let mut raws = connected();
        write_bytewise(&mut raws, &of_bytes(HEAD_BYTES_MAX + 1));
        for raw in &mut raws {
            assert_one_answer("a byte too much", &raw.read_to_end(), "431");
        }
    });
}

#[test]
fn a_header_in_crumbs_is_read_in_linear_time() {
    const CRUMB_BYTES: usize = 64;
    let settings = ["limits.messages_per_second=1000000", "limits.messages_burst=1000000"];
    Row::with(&settings).run(|server| {
        let mut others = upgraded(server, 4);
        assert_linear(server, |size| {
            let mut raws: Vec<Raw> = (0..8).map(|_| Raw::connect(server.stream_addr())).collect();
            let head = of_bytes(size * HEAD_BYTES_MAX / 4);
            write_in_step(&mut raws, &mut others, &head, CRUMB_BYTES);
            raws.iter_mut().for_each(Raw::read_upgrade);
        });
    });
}

/// Nothing, the beginning of a request, and a whole line.
#[test]
fn a_connection_that_falls_silent_is_told_408_and_ended() {
    Row::with(&["limits.handshake_timeout_secs=1"]).connections(60).run(|server| {
        let heads: [&[u8]; 3] = [b"", b"GET /ws HT", b"GET /ws HTTP/1.1\r\nHost: a\r\n"];
        let mut silent: Vec<Raw> = (0..60).map(|_| Raw::connect(server.stream_addr())).collect();
        for (n, raw) in silent.iter_mut().enumerate() {
            raw.write(heads[n % heads.len()]);
        }
        for raw in &mut silent {
            assert_one_answer("silence", &raw.read_to_end(), "408");
        }
        assert_counted(server, "handshake_timeout", 60);
    });
}

#[test]
fn a_header_that_trickles_in_does_not_put_the_deadline_off() {
    /// Ten times the deadline and more: were it put off, all of them would be sent.
    const PIECES: usize = 250;
    Row::with(&["limits.handshake_timeout_secs=1"]).run(|server| {
        let raw = Raw::connect(server.stream_addr());
        let mut stream = raw.stream();
        // Waiting for an answer is the pause between the pieces.
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket option");
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Slow: ").expect("taken");
        let mut answer = [0; 1024];
        let answered = (0..PIECES).find_map(|_| match stream.read(&mut answer) {
            Ok(bytes) => Some(String::from_utf8_lossy(&answer[..bytes]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stream.write_all(b"x").expect("taken");
                None
            }
            Err(error) => panic!("{error}"),
        });
        assert_one_answer("a trickle", &answered.expect("an answer meanwhile"), "408");
        assert_counted(server, "handshake_timeout", 1);
    });
}

#[test]
fn a_handshake_of_another_version_or_method_or_without_a_key_is_refused() {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let rows = [
        ("version 8", changed("Version: 13", "Version: 8"), "426"),
        ("version 0013", changed("Version: 13", "Version: 0013"), "426"),
        ("two versions", changed("Version: 13", "Version: 13, 8"), "426"),
        ("no version", changed("Sec-WebSocket-Version: 13\r\n", ""), "426"),
        ("no upgrade", changed("Upgrade: websocket\r\n", ""), "426"),
        ("an upgrade to another", changed("Upgrade: websocket", "Upgrade: h2c"), "426"),
        ("no connection option", changed("Connection: Upgrade", "Connection: close"), "426"),
        ("no key", changed(key, ""), "400"),
        ("an empty key", changed("dGhlIHNhbXBsZSBub25jZQ==", ""), "400"),
        ("a short key", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), "400"),
        (
            "a key of 17 bytes",
            changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE="),
            "400",
        ),
        ("no base64", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="), "400"),
        ("a long key", changed("dGhlIHNhbXBsZSBub25jZQ==", &"d".repeat(8_000)), "400"),
        ("two keys", changed(key, &key.repeat(2)), "400"),
        ("POST", changed("GET ", "POST "), "405"),
        ("an unknown method", changed("GET ", "BREW "), "405"),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), "505"),
        ("HTTP/9.9", changed("HTTP/1.1", "HTTP/9.9"), "505"),
        ("no host", changed("Host: localhost\r\n", ""), "400"),
        ("two hosts", changed("Host: localhost\r\n", "Host: a\r\nHost: b\r\n"), "400"),
        ("another path", changed("/ws ", "/elsewhere "), "404"),
        ("an unknown encoding", changed("/ws ", "/ws?encoding=xml "), "400"),
    ];
    Row::new().run(|server| {
        for (name, request, status) in &rows {
            let answer = assert_refused(server, name, request, status);
            if *status == "426" {
                assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
            }
        }
        assert_counted(server, "handshake_refused", 1 + rows.len());
    });
}

/// What follows the handshake in its segment, wherever the two are cut.
#[test]
fn frames_in_the_segment_of_the_handshake_are_processed_after_it() {
    let subscribe = json!({"type": "subscribe", "subscription_id": "early", "filters": {}});
    let ping = json!({"type": "ping", "timestamp": "early"});
    let frames = [text_frame(&subscribe), text_frame(&ping), frame(0x89, b"p")];
    let all = [UPGRADE.as_bytes(), &frames.concat()].concat();
    Row::new().run(|server| {
        for cut in UPGRADE.len() - 4..UPGRADE.len() + 24 {
            let mut raw = Raw::connect(server.stream_addr());
            raw.stream().set_nodelay(true).expect("a socket option");
            raw.write(&all[..cut]);
            raw.write(&all[cut..]);
            raw.read_upgrade();
            assert_eq!(raw.message()["subscription_id"], "early", "cut at {cut}");
            assert_eq!(raw.message()["timestamp"], "early", "cut at {cut}");
            assert!(matches!(raw.next(), Sent::Pong), "cut at {cut}");
            assert_answering("frames in the segment of the handshake", &mut raw);
        }
    });
}

#[test]
fn other_protocols_are_ended_without_a_line_in_the_log() {
    const EACH: usize = 50;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    let noise: Vec<u8> = (0_u32..4_096).map(|n| 0x80 | ((n * 167) >> 3) as u8).collect();
    let rows = [
        ("a TLS hello", hello.to_vec()),
        ("the first byte of a TLS hello", b"\x16".to_vec()),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("noise", noise),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
        ("zeros", vec![0; 4_096]),
        ("a frame", frame(0x81, b"{}")),
        ("Redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("an empty line", b"\r\n".to_vec()),
    ];
    Row::new().log_bytes(500).run(|server| {
        for (name, bytes) in &rows {
            for _ in 0..EACH {
                assert_refused(server, name, bytes, "400");
            }
        }
        assert_counted(server, "handshake_refused", 1 + EACH * rows.len());
    });
}

#[test]
fn extensions_are_declined_however_many_and_whatever_their_window_bits() {
    let offers = ["permessage-deflate", "permessage-deflate; client_max_window_bits"];
    let bits = ["7", "8", "15", "16", "08", "-1", "1e9", "99999999999999999999", "\"15", ""];
    let bad = bits.map(|bits| format!("permessage-deflate; server_max_window_bits={bits}"));
    let all = offers.iter().copied().chain(bad.iter().map(String::as_str));
    let twice = "permessage-deflate; server_no_context_takeover; server_no_context_takeover";
    Row::new().run(|server| {
        for offer in all.chain([twice, ",,,;;;===", "x-unknown; a=\"\\\"\""]) {
            let request = with_headers(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
            let head = assert_accepted(server, &request).to_lowercase();
            assert!(!head.contains("sec-websocket-extensions"), "{offer}: {head}");
        }
        assert_linear(server, |size| {
            let flood = "permessage-deflate; client_max_window_bits, ".repeat(size * 80);
            let request = with_headers(&format!("Sec-WebSocket-Extensions: {flood}x\r\n"));
            (0..30).for_each(|_| drop(assert_accepted(server, &request)));
        });
    });
}

#[test]
fn subprotocol_floods_are_refused_and_unknown_ones_declined() {
    let offer = |names: &str| with_headers(&format!("Sec-WebSocket-Protocol: {names}\r\n"));
    let others = |count: usize| (0..count).map(|n| format!("other-{n}, ")).collect::<String>();
    Row::new().run(|server| {
        let last = format!("{}alarmcast.v1.json", others(31));
        let head = assert_accepted(server, &offer(&last));
        assert!(head.contains("\r\nSec-WebSocket-Protocol: alarmcast.v1.json\r\n"), "{head}");
        let head = assert_accepted(server, &offer("bearer.none, ,, chat"));
        assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
        for (name, names) in [
            ("33 of them", others(33)),
            ("thousands", "a,".repeat(7_500)),
            ("no token", "a b".to_owned()),
            ("a long one beside a quoted one", format!("{}, \"q\"", "x".repeat(8_000))),
        ] {
            assert_refused(server, name, &offer(&names), "400");
        }
        assert_linear(server, |size| {
            let request = offer(&format!("{}chat", ",".repeat(size * 3_800)));
            (0..30).for_each(|_| drop(assert_accepted(server, &request)));
        });
    });
}

/// Requests that hold a credential, accepted and refused for every reason.
fn with_secret(secret: &str) -> Vec<Vec<u8>> {
    let target = |path: &str| changed("/ws ", &format!("{path}={secret} "));
    let header = |name: &str| with_headers(&format!("{name}{secret}\r\n"));
    let bad_version = |request: Vec<u8>| {
        String::from_utf8_lossy(&request).replacen("Version: 13", "Version: 8", 1).into_bytes()
    };
    vec![
        target("/ws?token"),
        target("/ws?access_token"),
        target("/ws?encoding=json&token"),
        target("/ws?encoding=xml&access_token"),
        target("/ws?encoding"),
        target("/elsewhere?token"),
        bad_version(target("/ws?token")),
        target("/ws?token=%zz&a b"),
        changed("GET /ws ", &format!("GET http://user:{secret}@localhost/ws?token={secret} ")),
        header("Authorization: Bearer "),
        header("Cookie: session="),
        header("Sec-WebSocket-Protocol: bearer."),
        header("Sec-WebSocket-Protocol: alarmcast.v1.json, bearer."),
        bad_version(header("Authorization: Bearer ")),
    ]
}

#[test]
fn a_token_in_a_request_is_in_no_answer_log_or_metric() {
    const SECRET: &str = "s3cr3t-0f-a11ce";
    let everything = Row::with(&["log.level=trace"]).log_bytes(1024 * 1024);
    everything.keeps_secret(SECRET).run(|server| {
        for request in with_secret(SECRET) {
            let mut raw = Raw::connect(server.stream_addr());
            raw.write(&request);
            let mut answer = raw.read_head();
            if !answer.starts_with("HTTP/1.1 101 ") {
                answer.push_str(&raw.read_to_end());
            }
            assert!(!answer.contains(SECRET), "{answer}");
        }
        // A breach after it, and the control plane.
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(&with_secret(SECRET)[0]);
        raw.read_upgrade();
        assert_answering("a token in the query", &mut raw);
        raw.write(&frame(0x83, b""));
        super::assert_failed("a token in the query", &mut raw, 1002);
        for path in ["/nothing", "/metrics", "/health", "/api/v1/events"] {
            let answer = server.get(&format!("{path}?token={SECRET}"));
            assert!(!answer.body.contains(SECRET), "{answer:?}");
        }
    });
}

/// An end of the head is not needed to refuse one that cannot be right any more.
#[test]
fn a_head_that_never_ends_holds_what_arrived_and_no_more() {
    const CONNECTIONS: usize = 500;
    // 4 KiB of each arrive.
    Row::new().connections(CONNECTIONS as u64).holds_kib(4 * CONNECTIONS as u64).run(|server| {
        let head = of_bytes(4 * 1024);
        let unended = &head[..head.len() - HEAD_END.len()];
        let mut waiting: Vec<Raw> =
            (0..CONNECTIONS).map(|_| Raw::connect(server.stream_addr())).collect();
        waiting.iter_mut().for_each(|raw| raw.write(unended));
        for raw in &mut waiting {
            raw.write(HEAD_END.as_bytes());
            raw.read_upgrade();
        }
    });
}

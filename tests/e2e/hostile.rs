//! Peers that break the rules: each is told so, ended, and counted; nobody else notices.

use serde_json::json;

use crate::support::{Raw, Sent, Server, UPGRADE, eventually, text_frame};

/// A request that is accepted, changed in one place.
fn changed(from: &str, to: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(from), "{from}");
    UPGRADE.replacen(from, to, 1).into_bytes()
}

/// A request and the status that refuses it.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let end = "\r\n\r\n";
    let many = (0..101).map(|n| format!("\r\nX-{n}: 1")).collect::<String>() + end;
    let long = format!("\r\nX-Long: {}{end}", "x".repeat(20_000));
    vec![
        ("another method", changed("GET ", "POST "), "405"),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), "505"),
        ("no host", changed("Host: localhost\r\n", ""), "400"),
        ("two hosts", changed("Host: localhost\r\n", "Host: a\r\nHost: b\r\n"), "400"),
        ("no upgrade", changed("Upgrade: websocket\r\n", ""), "426"),
        ("version 8", changed("Version: 13", "Version: 8"), "426"),
        ("no version", changed("Sec-WebSocket-Version: 13\r\n", ""), "426"),
        ("no key", changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400"),
        ("a short key", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), "400"),
        ("a header over several lines", changed("Upgrade: ", "X: a\r\n b\r\nUpgrade: "), "400"),
        ("a space before the colon", changed("Upgrade:", "Upgrade :"), "400"),
        ("a body", changed(end, "\r\nContent-Length: 5\r\n\r\nhello"), "400"),
        ("too many headers", changed(end, &many), "431"),
        ("a header too long", changed(end, &long), "431"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n".to_vec(), "400"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "400"),
        ("an unknown encoding", changed("/ws ", "/ws?encoding=xml "), "400"),
    ]
}

#[test]
fn a_faulty_handshake_is_answered_once_and_ended() {
    let server = Server::start();
    let mut count = 0.0;
    for (name, request, status) in requests() {
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(&request);
        let answer = raw.read_to_end();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let length = format!("\r\nContent-Length: {}", body.len());
        assert!(head.contains(&length), "more or less than one answer to {name}: {answer}");
        if status == "426" {
            assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
        }
        count += 1.0;
    }
    eventually("each of them is counted", || {
        let metrics = server.metrics();
        let reason = "handshake_refused";
        let refused = metrics.sum_with("websocket_connection_errors_total", "reason", reason);
        (refused == count).then_some(())
    });
    server.connect().expect_nothing();
    server.await_metric("alarmcast_shard_sockets", 0.0);
}

/// A frame of which the header is as given, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

/// What a client sends and the code with which it is closed (RFC 6455 sections 5 and 7.4.1).
fn breaches() -> Vec<(&'static str, Vec<u8>, u16)> {
    vec![
        ("not masked", b"\x81\x02{}".to_vec(), 1002),
        ("reserved bit", frame(0xc1, b"{}"), 1002),
        ("unknown opcode", frame(0x83, b""), 1002),
        ("unknown control opcode", frame(0x8b, b""), 1002),
        ("a fragmented ping", frame(0x09, b""), 1002),
        ("a ping of 126 bytes", b"\x89\xfe\x00\x7e\0\0\0\0".to_vec(), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a new message amid another", [frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("a length longer than needed", b"\x81\xfe\x00\x01\0\0\0\0x".to_vec(), 1002),
        ("a negative length", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        ("a close code of none", frame(0x88, &[0x03, 0xed]), 1002),
        ("not UTF-8", frame(0x81, b"\xff"), 1007),
        ("not UTF-8 across fragments", [frame(0x01, b"\xce"), frame(0x00, b"\xce")].concat(), 1007),
        ("not UTF-8 in a close", frame(0x88, &[0x03, 0xe8, 0xff]), 1007),
        ("1 GiB declared", b"\x81\xff\0\0\0\0\x40\0\0\0\0\0\0\0".to_vec(), 1009),
        (
            "endless fragments",
            {
                let part = [&[0x00, 0xfe, 0x40, 0x00, 0, 0, 0, 0][..], &[b'x'; 0x4000]].concat();
                [frame(0x01, b"x"), part.repeat(5)].concat()
            },
            1009,
        ),
        (
            "empty fragments without end",
            [frame(0x01, b""), frame(0x00, b"").repeat(2_000)].concat(),
            1008,
        ),
    ]
}

#[test]
fn a_breach_of_the_framing_is_closed_with_its_code_after_an_announcement() {
    let server = Server::start();
    let mut bystander = server.connect();
    for (name, bytes, code) in breaches() {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&bytes);
        let closing = raw.message();
        assert_eq!(
            (&closing["type"], &closing["code"]),
            (&json!("closing"), &json!(code)),
            "{name}"
        );
        match raw.next() {
            Sent::Close(sent) => assert_eq!(sent, code, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert!(matches!(raw.next(), Sent::End), "{name}");
    }
    bystander.expect_nothing();
    bystander.close();
    server.await_metric("alarmcast_shard_sockets", 0.0);
    assert_eq!(server.metrics().sum("alarmcast_handler_panics_total"), 0.0);
}

#[test]
fn what_follows_a_breach_or_a_close_is_not_answered() {
    let server = Server::start();
    let ping = text_frame(&json!({"type": "ping", "timestamp": "too late"}));
    for (bytes, code) in [(frame(0x83, b""), 1002), (frame(0x88, &[0x03, 0xe8]), 1000)] {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        raw.write(&[bytes, ping.clone()].concat());
        let close = loop {
            match raw.next() {
                Sent::Message(message) => assert_eq!(message["type"], "closing", "{message}"),
                other => break other,
            }
        };
        assert!(matches!(close, Sent::Close(sent) if sent == code), "{close:?}");
        assert!(matches!(raw.next(), Sent::End));
    }
}

#[test]
fn hostile_json_is_refused_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = server.connect();
    for text in [
        "[".repeat(60_000),
        r#"{"a":"#.repeat(10_000),
        r#"{"type":"ping","timestamp":"t","n":1e400}"#.to_owned(),
        r#"{"type":"ping","timestamp":"\ud800"}"#.to_owned(),
        "\u{feff}{\"type\":\"ping\",\"timestamp\":\"t\"}".to_owned(),
    ] {
        client.send_text(&text);
        let error = client.expect_error("INVALID_MESSAGE");
        assert!(error.to_string().len() < 1_000, "not repeated whole: {error}");
    }
    client.expect_nothing();
}

//! The opening handshake, good and bad, whole and cut.

use std::io::{self, Read, Write};

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::client::ClientHandshake;

use super::super::handshake::{Handshake, Progress, Refusal, Request};
use crate::base::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX, HANDSHAKE_SUBPROTOCOLS_MAX};

const GOOD: &str = "GET /ws?encoding=msgpack&x=%20 HTTP/1.1\r\nHost: example.org:8080\r\n\
    Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The good head with more lines, ended.
fn head_with(lines: &str) -> String {
    format!("{GOOD}{lines}\r\n")
}

/// The good head with one part replaced, ended.
fn head_but(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?}");
    format!("{}\r\n", GOOD.replace(from, to))
}

/// Feeds `head` whole and then byte by byte; both must come to the same.
fn feed(head: &[u8]) -> Result<Request, Refusal> {
    let (_, whole) = Handshake::new().feed(head);
    let mut handshake = Handshake::new();
    let mut bytes = Progress::NeedMore;
    for byte in head {
        (_, bytes) = handshake.feed(std::slice::from_ref(byte));
        if !matches!(bytes, Progress::NeedMore) {
            break;
        }
    }
    match (whole, bytes) {
        (Progress::Upgrade(request), Progress::Upgrade(again)) => {
            assert_eq!(request.accept(None), again.accept(None));
            Ok(*request)
        }
        (Progress::Refused(refusal), Progress::Refused(again)) => {
            assert_eq!(refusal, again);
            Err(refusal)
        }
        other => panic!("{other:?}"),
    }
}

fn status_of(head: &[u8]) -> u16 {
    feed(head).map_or_else(|refusal| refusal.status, |_| 101)
}

#[test]
fn a_good_request_is_taken_apart_and_accepted() {
    let request = feed(head_with("X-A: 1\r\nx-a: 2\r\n").as_bytes()).expect("a good request");
    assert_eq!(request.path, "/ws");
    assert_eq!(request.query.as_deref(), Some("encoding=msgpack&x=%20"));
    assert_eq!(request.headers.get_all("x-a").iter().count(), 2);
    assert!(request.subprotocols.is_empty());
    let response = String::from_utf8(request.accept(None)).expect("text");
    assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(response.ends_with("\r\n\r\n"));
    assert!(!format!("{request:?}").contains("msgpack"), "the query is not for logs");
}

#[test]
fn lists_and_case_of_the_upgrade_do_not_matter() {
    for head in [
        head_but("Upgrade: websocket", "UPGRADE: h2c, WebSocket"),
        head_but("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: WEBSOCKET"),
        head_but("Connection: keep-alive, Upgrade", "connection:upgrade"),
        head_but("Connection: keep-alive, Upgrade", "Connection: close\r\nConnection: upgrade ,x"),
        head_but("GET /ws?", "GET http://example.org:8080/ws?"),
        head_but("Host: example.org:8080", "Host: [::1]:8080"),
    ] {
        let request = feed(head.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}: {head}"));
        assert_eq!(request.path, "/ws");
    }
}

#[test]
fn what_is_not_a_good_request_is_refused_by_status() {
    let version = "Sec-WebSocket-Version: 13";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let cases = [
        (405, head_but("GET ", "POST ")),
        (405, head_but("GET ", "OPTIONS ")),
        (505, head_but("HTTP/1.1", "HTTP/1.0")),
        (505, head_but("HTTP/1.1", "HTTP/2.0")),
        (400, head_but("Host: example.org:8080\r\n", "")),
        (400, head_but("Host: example.org:8080", "Host: a\r\nHost: a")),
        (400, head_but("Host: example.org:8080", "Host:")),
        (400, head_but("Host: example.org:8080", "Host: user@a")),
        (400, head_but("Host: example.org:8080", "Host: a b")),
        (426, head_but("Upgrade: websocket\r\n", "")),
        (426, head_but("Upgrade: websocket", "Upgrade: h2c")),
        (426, head_but("Connection: keep-alive, Upgrade\r\n", "")),
        (426, head_but("Connection: keep-alive, Upgrade", "Connection: keep-alive")),
        (426, head_but(version, "Sec-WebSocket-Version: 8")),
        (426, head_but(version, "Sec-WebSocket-Version: 13, 8")),
        (426, head_but("Sec-WebSocket-Version: 13\r\n", "")),
        (400, head_but(&format!("{key}\r\n"), "")),
        (400, head_but(key, &format!("{key}\r\n{key}"))),
        (400, head_but(key, "Sec-WebSocket-Key:")),
        (400, head_but(key, "Sec-WebSocket-Key: c2hvcnQ=")),
        (400, head_but(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==")),
        (400, head_but(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA")),
        (400, head_but(key, "Sec-WebSocket-Key: dGhlIHNhbXBs!SBub25jZQ==")),
        (400, head_with("Content-Length: 5\r\n")),
        (400, head_with("Transfer-Encoding: chunked\r\n")),
        (400, head_with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")),
        (400, head_with("X-Folded: a\r\n b\r\n")),
        (400, head_with("X-Folded: a\r\n\tb\r\n")),
        (400, head_with("X-Bare: a\nX: b\r\n")),
        (400, head_with("X-Bare: a\rb\r\n")),
        (400, head_with("X-Nul: a\0b\r\n")),
        (400, head_with("X-Space : a\r\n")),
        (400, head_with("X Space: a\r\n")),
        (400, head_with(": no name\r\n")),
        (400, head_with("no colon\r\n")),
        (400, head_but("/ws?", "*?")),
        (400, head_but("/ws?", "/w s?")),
        (400, "\r\n\r\n".to_owned()),
        (400, "GET /\r\n\r\n".to_owned()),
        (400, "GET\r\n\r\n".to_owned()),
        (400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned()),
        (400, "{\"type\":\"ping\"}".to_owned()),
    ];
    for (status, head) in cases {
        assert_eq!(status_of(head.as_bytes()), status, "{head}");
    }
}

#[test]
fn sixteen_kibibytes_and_a_hundred_fields_are_the_bound() {
    let own_fields = GOOD.matches("\r\n").count() - 1;
    let fields = "a: b\r\n".repeat(HANDSHAKE_HEADERS_MAX - own_fields);
    assert_eq!(status_of(head_with(&fields).as_bytes()), 101);
    assert_eq!(status_of(head_with(&(fields + "a: b\r\n")).as_bytes()), 431);
    assert_eq!(status_of(head_with(&"a: b\r\n".repeat(2000)).as_bytes()), 431);

    let room = HANDSHAKE_BYTES_MAX - head_with("a: \r\n").len();
    let longest = head_with(&format!("a: {}\r\n", "x".repeat(room)));
    assert_eq!(longest.len(), HANDSHAKE_BYTES_MAX);
    assert_eq!(status_of(longest.as_bytes()), 101);
    assert_eq!(status_of(head_with(&format!("a: {}\r\n", "x".repeat(room + 1))).as_bytes()), 431);
    assert_eq!(status_of(head_with(&format!("a: {}", "x".repeat(1 << 20))).as_bytes()), 431);
}

#[test]
fn frames_behind_the_head_stay_in_the_input() {
    let head = head_with("");
    let input = [head.as_bytes(), b"\x81\x80abcd\r\n\r\n"].concat();
    for cut in 0..head.len() {
        let mut handshake = Handshake::new();
        let (first, progress) = handshake.feed(&input[..cut]);
        assert_eq!(first, cut);
        assert!(matches!(progress, Progress::NeedMore));
        let (second, progress) = handshake.feed(&input[cut..]);
        assert_eq!(first + second, head.len());
        assert!(matches!(progress, Progress::Upgrade(_)));
        assert_eq!(handshake.feed(&input).0, 0, "there is one handshake");
    }
}

#[test]
fn subprotocols_keep_their_order_and_are_bounded() {
    let head = head_with(
        "Sec-WebSocket-Protocol: alarmcast.v1.msgpack ,alarmcast.v1.json,,\r\n\
         Sec-WebSocket-Protocol: bearer.x\r\n",
    );
    let request = feed(head.as_bytes()).expect("a good request");
    assert_eq!(request.subprotocols, ["alarmcast.v1.msgpack", "alarmcast.v1.json", "bearer.x"]);
    let named = String::from_utf8(request.accept(Some("alarmcast.v1.json"))).expect("text");
    assert!(named.contains("\r\nSec-WebSocket-Protocol: alarmcast.v1.json\r\n"));
    assert_eq!(request.accept(Some("other")), request.accept(None), "only what was offered");

    let line = |count| format!("Sec-WebSocket-Protocol: {}\r\n", vec!["a"; count].join(","));
    assert_eq!(status_of(head_with(&line(HANDSHAKE_SUBPROTOCOLS_MAX)).as_bytes()), 101);
    assert_eq!(status_of(head_with(&line(HANDSHAKE_SUBPROTOCOLS_MAX + 1)).as_bytes()), 400);
    assert_eq!(status_of(head_with("Sec-WebSocket-Protocol: a b\r\n").as_bytes()), 400);
    assert_eq!(status_of(head_with("Sec-WebSocket-Protocol: \"a\"\r\n").as_bytes()), 400);
}

#[test]
fn refusals_are_complete_responses() {
    let cases = [
        (
            Refusal::new(400, "a \"reason\""),
            "HTTP/1.1 400 Bad Request\r\n",
            "Connection: close\r\n",
        ),
        (Refusal::new(405, "r"), "HTTP/1.1 405 Method Not Allowed\r\n", "Allow: GET\r\n"),
        (Refusal::new(426, "r"), "HTTP/1.1 426 Upgrade", "Sec-WebSocket-Version: 13\r\n"),
        (Refusal::new(503, "r").retry_after(7), "HTTP/1.1 503 Service", "Retry-After: 7\r\n"),
        (Refusal::new(7, "r"), "HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n"),
    ];
    for (refusal, start, field) in cases {
        let response = String::from_utf8(refusal.response()).expect("text");
        assert!(response.starts_with(start) && response.contains(field), "{response}");
        let (head, body) = response.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains("Connection: close"));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["message"], refusal.reason);
        assert!(body["code"].as_str().is_some_and(|code| !code.contains(' ')));
    }
}

/// A client's end of a connection in memory.
#[derive(Default)]
struct Wire {
    to_server: Vec<u8>,
    to_client: io::Cursor<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.to_server.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handshake of tungstenite's client with what `answer` makes of its request.
fn connect(answer: impl Fn(&[u8]) -> Vec<u8>) -> Result<u16, tungstenite::Error> {
    let mut request = "ws://example.org/ws?a=b".into_client_request().expect("a request");
    let offer = http::HeaderValue::from_static("alarmcast.v1.json, alarmcast.v1.msgpack");
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let begun = ClientHandshake::start(Wire::default(), request, None).expect("a good request");
    let mut waiting = match begun.handshake() {
        Err(HandshakeError::Interrupted(waiting)) => waiting,
        _ => panic!("the answer cannot be there yet"),
    };
    let wire = waiting.get_mut().get_mut();
    let response = answer(&wire.to_server);
    wire.to_client = io::Cursor::new(response);
    match waiting.handshake() {
        Ok((_, response)) => Ok(response.status().as_u16()),
        Err(HandshakeError::Failure(error)) => Err(error),
        Err(HandshakeError::Interrupted(_)) => panic!("the answer must be complete"),
    }
}

#[test]
fn tungstenite_as_client_is_accepted() {
    let status = connect(|head| {
        let request = feed(head).expect("a good request");
        assert_eq!(request.query.as_deref(), Some("a=b"));
        request.accept(Some(&request.subprotocols[1]))
    });
    assert_eq!(status.expect("accepted"), 101);
}

#[test]
fn tungstenite_as_client_understands_a_refusal() {
    let refused = connect(|_| Refusal::new(503, "later").retry_after(3).response());
    match refused {
        Err(tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), 503);
            assert_eq!(response.headers()["retry-after"], "3");
        }
        other => panic!("{other:?}"),
    }
}

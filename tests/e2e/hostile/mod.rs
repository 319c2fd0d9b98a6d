//! Peers that break the rules: each is told so, ended, and counted; nobody else notices.
//!
//! One test is one kind of input, against a server of its own: see [`guard::Row`] for what is
//! checked around each of them.

mod crowds;
mod dead;
mod endings;
mod filters;
mod floods;
mod frames;
mod guard;
mod handshake;
mod names;
mod payloads;
mod scarcity;
mod signals;
mod smuggling;
mod time;

use serde_json::json;

use crate::support::{Raw, Sent, Server, UPGRADE, eventually};

const HEAD_END: &str = "\r\n\r\n";

/// A request that is accepted, changed in one place.
fn changed(from: &str, to: &str) -> Vec<u8> {
    assert!(UPGRADE.contains(from), "{from}");
    UPGRADE.replacen(from, to, 1).into_bytes()
}

/// A request that is accepted, with more header lines; each ends in CR LF.
fn with_headers(lines: &str) -> Vec<u8> {
    changed(HEAD_END, &format!("\r\n{lines}\r\n"))
}

/// Sends a request that is refused: one answer of this status, and the end.
#[track_caller]
fn assert_refused(server: &Server, name: &str, request: &[u8], status: &str) -> String {
    let mut raw = Raw::connect(server.stream_addr());
    raw.write(request);
    let answer = raw.read_to_end();
    assert_one_answer(name, &answer, status);
    answer
}

#[track_caller]
fn assert_one_answer(name: &str, answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
    let (head, body) = answer.split_once(HEAD_END).expect("a whole head");
    let length = format!("\r\nContent-Length: {}", body.len());
    assert!(head.contains(&length), "more or less than one answer to {name}: {answer}");
}

/// The header of a client's frame of so many bytes, masked with zeros.
fn header(first: u8, payload_bytes: u64) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut bytes = vec![first];
    match payload_bytes {
        0..=125 => bytes.push(MASKED | payload_bytes as u8),
        126..=0xffff => {
            bytes.push(MASKED | 126);
            bytes.extend((payload_bytes as u16).to_be_bytes());
        }
        _ => {
            bytes.push(MASKED | 127);
            bytes.extend(payload_bytes.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, payload.len() as u64), payload].concat()
}

/// The server closes: announced, with this code, and without waiting for the peer.
#[track_caller]
fn assert_failed(name: &str, raw: &mut Raw, code: u16) {
    let closing = raw.message();
    let announced = (&closing["type"], &closing["code"]);
    assert_eq!(announced, (&json!("closing"), &json!(code)), "{name}");
    match raw.next() {
        Sent::Close(sent) => assert_eq!(sent, code, "{name}"),
        other => panic!("{name}: {other:?}"),
    }
    assert!(matches!(raw.next(), Sent::End), "{name}");
}

/// The connection lives: its ping is answered, and nothing else came before.
#[track_caller]
fn assert_answering(name: &str, raw: &mut Raw) {
    raw.send(&json!({"type": "ping", "timestamp": "still here"}));
    let pong = raw.message();
    assert_eq!(pong["timestamp"], "still here", "{name}: {pong}");
}

/// So many connections that were welcomed.
#[track_caller]
fn upgraded(server: &Server, count: usize) -> Vec<Raw> {
    (0..count).map(|_| Raw::connect(server.stream_addr()).upgrade()).collect()
}

/// The same on each, a byte at a time in turn: hardly two bytes arrive together.
fn write_bytewise(raws: &mut [Raw], bytes: &[u8]) {
    for raw in &*raws {
        raw.stream().set_nodelay(true).expect("a socket option");
    }
    for byte in bytes.chunks(1) {
        raws.iter_mut().for_each(|raw| raw.write(byte));
    }
}

/// The same on each, in pieces that arrive one by one: the pongs of `others`, which are on both
/// shards, tell that a piece was read.
#[track_caller]
fn write_in_step(raws: &mut [Raw], others: &mut [Raw], bytes: &[u8], piece_bytes: usize) {
    for piece in bytes.chunks(piece_bytes) {
        raws.iter_mut().for_each(|raw| raw.write(piece));
        others.iter_mut().for_each(|raw| assert_answering("meanwhile", raw));
    }
}

/// Connections whose receive buffers are as small as can be, subscribed to everything.
#[track_caller]
fn narrow(server: &Server, count: usize) -> Vec<Raw> {
    let connect = |_| Raw::connect_with_little_room(server.stream_addr()).upgrade();
    let mut raws: Vec<Raw> = (0..count).map(connect).collect();
    raws.iter_mut().for_each(|raw| raw.subscribe(&json!({})));
    raws
}

/// Waits until so many connections have ended for this reason.
#[track_caller]
fn await_errors(server: &Server, reason: &str, count: usize) {
    eventually(&format!("{count} ends for {reason}"), || {
        let metrics = server.metrics();
        let found = metrics.sum_with("websocket_connection_errors_total", "reason", reason);
        (found == count as f64).then_some(())
    });
}

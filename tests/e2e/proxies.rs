//! Clients behind proxies: who they are is taken from trusted proxies, and from nobody else.

use crate::support::{Raw, Server, UPGRADE, eventually};

const PROXY: [u8; 4] = [127, 0, 0, 5];
const STRANGER: [u8; 4] = [127, 0, 0, 6];
const DIRECT: [u8; 4] = [127, 0, 0, 7];
const ONE_EACH: &str = "limits.connections_per_address_max=1";
const TRUST: &str = "stream.trusted_proxies=127.0.0.5";

/// A connection, the status of its answer, and the answer.
#[track_caller]
fn say(server: &Server, from: [u8; 4], parts: &[&[u8]]) -> (Raw, u16, String) {
    let mut raw = Raw::connect_from(from, server.stream_addr());
    raw.stream().set_nodelay(true).expect("a socket option");
    parts.iter().for_each(|part| raw.write(part));
    let (status, answer) = raw.answer();
    (raw, status, answer)
}

fn forwarded(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("X-Forwarded-For: {line}\r\n")).collect();
    UPGRADE.replacen("Upgrade:", &format!("{lines}Upgrade:"), 1)
}

/// A PROXY header of version 2 for TCP over IPv4.
fn proxy_header(client: [u8; 4], extensions: &[u8]) -> Vec<u8> {
    let length = (12 + extensions.len()) as u16;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(&client);
    header.extend_from_slice(&[10, 0, 0, 1, 0x12, 0x34, 0, 80]);
    header.extend_from_slice(extensions);
    header
}

#[test]
fn forwarded_addresses_are_believed_from_a_trusted_proxy_alone() {
    let server = Server::with(&[ONE_EACH, TRUST]);
    let status = |from, lines: &[&str]| say(&server, from, &[forwarded(lines).as_bytes()]);
    // Who is no proxy has one connection, whatever it writes.
    let (_first, first, _) = status(STRANGER, &["192.0.2.1"]);
    assert_eq!(first, 101);
    let (_, second, answer) = status(STRANGER, &["192.0.2.2"]);
    assert_eq!(second, 429, "{answer}");
    // Behind the proxy each client has one; what the client wrote stands on the left.
    let (_held, one, answer) = status(PROXY, &["192.0.2.1"]);
    assert_eq!(one, 101, "the stranger did not take its place: {answer}");
    for lines in [&["192.0.2.1"][..], &["203.0.113.9, 192.0.2.1"], &["203.0.113.9", "192.0.2.1"]] {
        let (_, again, answer) = status(PROXY, lines);
        assert_eq!(again, 429, "{lines:?}: {answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    }
    let (_other, other, answer) = status(PROXY, &["192.0.2.1, 192.0.2.3, 127.0.0.5"]);
    assert_eq!(other, 101, "{answer}");
    // Without a client's address it is the proxy's own, which is not limited.
    let (_probe, probe, _) = status(PROXY, &[]);
    assert_eq!(probe, 101);
    assert_eq!(status(PROXY, &["unknown"]).1, 101);
}

#[test]
fn without_trusted_proxies_nobody_is_believed() {
    let server = Server::with(&[ONE_EACH]);
    let request = forwarded(&["192.0.2.1"]);
    let (_held, status, _) = say(&server, PROXY, &[request.as_bytes()]);
    assert_eq!(status, 101);
    assert_eq!(Raw::connect_from(PROXY, server.stream_addr()).answer().0, 429);
}

#[test]
fn a_proxys_header_is_read_however_it_is_cut() {
    let server = Server::with(&[ONE_EACH, TRUST, "stream.proxy_protocol=v2"]);
    let request = UPGRADE.as_bytes();
    let with = |client: u8, extensions: &[u8]| proxy_header([192, 0, 2, client], extensions);
    let (one, two, three) = (with(1, &[]), with(2, &[4, 0, 3, 1, 2, 3]), with(3, &[0xEE; 400]));
    let bytes: Vec<&[u8]> = two.iter().map(std::slice::from_ref).chain([request]).collect();
    let together = [&three[..], request].concat();
    let cut = together.len() - request.len() + 7;
    let mut held = Vec::new();
    for parts in [&[&one[..], request][..], &bytes, &[&together[..cut], &together[cut..]]] {
        let (raw, status, answer) = say(&server, PROXY, parts);
        assert_eq!(status, 101, "{answer}");
        held.push(raw);
    }
    for header in [&one, &two, &three] {
        // Refused as soon as the header is whole, without a request.
        let (_, status, answer) = say(&server, PROXY, &[header]);
        assert_eq!(status, 429, "{answer}");
        let segment = [&header[..], request].concat();
        assert_eq!(say(&server, PROXY, &[&segment]).1, 429);
    }
    // The connection itself is as any other.
    let mut last = held.pop().expect("a connection");
    last.send(&serde_json::json!({"type": "ping", "timestamp": "t"}));
    assert_eq!(last.message()["type"], "pong");
    // A proxy that looks whether the server lives speaks for itself.
    let probe = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let (_first, first, _) = say(&server, PROXY, &[probe, request]);
    let (_second, second, _) = say(&server, PROXY, &[probe, request]);
    assert_eq!((first, second), (101, 101));
}

#[test]
fn what_is_no_proxys_header_is_refused_from_the_proxy_and_so_is_a_header_from_others() {
    let server = Server::with(&[ONE_EACH, TRUST, "stream.proxy_protocol=v2"]);
    let header = proxy_header([192, 0, 2, 1], &[]);
    let changed = |place: usize, byte: u8| {
        let mut bytes = header.clone();
        bytes[place] = byte;
        bytes
    };
    let garbage = [
        UPGRADE.as_bytes().to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(),
        vec![0; 100],
        changed(11, b'!'),
        changed(12, 0x11),
        changed(12, 0x2F),
        changed(13, 0x41),
        changed(14, 0xFF),
        changed(15, 3),
    ];
    for bytes in &garbage {
        let (_, status, answer) = say(&server, PROXY, &[bytes]);
        assert_eq!(status, 400, "{bytes:x?}: {answer}");
        assert!(answer.contains("PROXY"), "{answer}");
    }
    eventually("each of them is counted", || {
        let metrics = server.metrics();
        let count = metrics.sum_with("websocket_connection_errors_total", "reason", "proxy_header");
        (count == garbage.len() as f64).then_some(())
    });
    // From anyone else it is a request that is none.
    let (_, status, answer) = say(&server, STRANGER, &[&header]);
    assert_eq!(status, 400, "{answer}");
    let (_direct, status, _) = say(&server, DIRECT, &[UPGRADE.as_bytes()]);
    assert_eq!(status, 101, "others connect without a header");
    // A proxy that goes away amid its header leaves nothing behind.
    let mut half = Raw::connect_from(PROXY, server.stream_addr());
    half.write(&header[..14]);
    drop(half);
    server.await_metric("alarmcast_shard_sockets", 1.0);
}

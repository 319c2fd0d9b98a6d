//! JSON and MessagePack: one model, chosen by each connection for itself.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Server, UPGRADE, events};

const EVENTS: &str = "/api/v1/events";
const MSGPACK: &str = "application/msgpack";

fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("MessagePack")
}

/// What a handshake comes to: `101`, the subprotocol answered, and the welcome's first byte;
/// or the status of the refusal.
fn handshake(server: &Server, query: &str, offered: &str) -> String {
    let mut stream = TcpStream::connect(server.stream_addr()).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    let offer = format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
    let request = UPGRADE.replacen("/ws", &format!("/ws{query}"), 1);
    let request =
        if offered.is_empty() { request } else { request.replacen("\r\n\r\n", &offer, 1) };
    stream.write_all(request.as_bytes()).expect("the connection takes bytes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer to the upgrade");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head in ASCII");
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    if status != "101" {
        return status;
    }
    let mut first = [0];
    stream.read_exact(&mut first).expect("a frame");
    let answered = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
    format!("101 {} {:x}", answered.unwrap_or("-"), first[0])
}

#[test]
fn a_connection_speaks_what_its_handshake_asked_for() {
    let server = Server::start();
    for (query, offered, expected) in [
        ("", "", "101 - 81"),
        ("", "bearer.token", "101 - 81"),
        ("", "alarmcast.v1.json", "101 alarmcast.v1.json 81"),
        ("", "alarmcast.v1.msgpack", "101 alarmcast.v1.msgpack 82"),
        ("", "alarmcast.v1.json, alarmcast.v1.msgpack", "101 alarmcast.v1.json 81"),
        ("", "alarmcast.v1.msgpack, alarmcast.v1.json", "101 alarmcast.v1.msgpack 82"),
        ("", "chat, alarmcast.v1.msgpack", "101 alarmcast.v1.msgpack 82"),
        ("?encoding=json", "", "101 - 81"),
        ("?encoding=msgpack", "", "101 - 82"),
        ("?x=1&encoding=msgpack", "bearer.token", "101 - 82"),
        ("?encoding=msgpack", "alarmcast.v1.msgpack", "101 alarmcast.v1.msgpack 82"),
        ("?encoding=json", "alarmcast.v1.msgpack", "400"),
        ("?encoding=msgpack", "alarmcast.v1.json", "400"),
        ("?encoding=json&encoding=msgpack", "", "400"),
        ("?encoding=cbor", "alarmcast.v1.json", "400"),
        ("?encoding=", "", "400"),
    ] {
        assert_eq!(handshake(&server, query, offered), expected, "{query} {offered}");
    }
}

#[test]
fn every_type_of_event_is_the_same_in_both_encodings_on_both_ways() {
    let server = Server::start();
    let by_query = format!("{}?encoding=msgpack", server.stream_url);
    let mut clients = [server.connect(), server.connect_packed(), Client::connect(&by_query)];
    clients[2].expect("welcome");
    clients.iter_mut().for_each(|client| drop(client.subscribe("all", &json!({}))));
    for sample in events::samples() {
        let answers = [
            server.post_events(&sample),
            server.post(EVENTS, MSGPACK, &packed(&sample)),
            server.post(EVENTS, "application/x-msgpack", &packed(&json!({"event": sample}))),
        ];
        for answer in answers {
            let receipt = answer.assert_status(200).json();
            let messages = clients.each_mut().map(Client::expect_event);
            assert_eq!(messages[0]["event"], sample);
            assert_eq!(messages[0]["seq"], receipt["seq"]);
            assert_eq!(messages[0]["message_id"], receipt["message_id"]);
            assert_eq!(messages[1], messages[0]);
            assert_eq!(messages[2], messages[0]);
        }
    }
}

#[test]
fn a_mixed_audience_is_sent_every_event_in_order() {
    const EVENTS_COUNT: usize = 200;
    let server = Server::start();
    let mut clients: Vec<Client> = (0..20)
        .map(|index| if index % 2 == 0 { server.connect() } else { server.connect_packed() })
        .collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let filters = [json!({}), json!({"event_types": ["system_event"]})];
        client.subscribe("a", &filters[index / 2 % 2]);
    }
    let published: Vec<Value> =
        (0..EVENTS_COUNT).map(|number| events::system(&number.to_string())).collect();
    let receipts = server.publish_all(&published);
    for client in &mut clients {
        for (event, receipt) in published.iter().zip(&receipts) {
            let message = client.expect_event();
            assert_eq!(message["seq"], receipt.seq);
            assert_eq!(message["event"]["message"], event["message"]);
        }
        client.expect_nothing();
    }
    // Those of one encoding leave; the others go on.
    let packed = clients.into_iter().skip(1).step_by(2);
    let mut rest: Vec<Client> = packed.collect();
    server.await_metric("websocket_active_connections", rest.len() as f64);
    let seq = server.publish(&events::system("the last")).seq;
    rest.iter_mut().for_each(|client| assert_eq!(client.expect_event()["seq"], seq));
}

#[test]
fn every_answer_is_in_the_connections_own_encoding() {
    let mut server = Server::start();
    let mut client = server.connect_packed();
    client.send(&json!({"type": "subscribe", "subscription_id": "s", "ref": u64::MAX,
        "filters": {"severities": ["P0"], "labels": {"a": "b"}}}));
    let subscribed = client.expect("subscribed");
    assert_eq!(
        (&subscribed["ref"], &subscribed["filters"]["labels"]),
        (&json!(u64::MAX), &json!({"a": "b"}))
    );
    client.send_text(r#"{"type":"ping","timestamp":"t"}"#);
    client.expect_error("UNSUPPORTED");
    client.send(&json!({"type": "teleport"}));
    client.expect_error("UNSUPPORTED");
    client.send(&json!({"type": "unsubscribe", "subscription_id": "other", "ref": "r"}));
    let error = client.expect_error("NOT_FOUND");
    assert_eq!((&error["ref"], &error["subscription_id"]), (&json!("r"), &json!("other")));
    client.unsubscribe("s");
    client.expect_nothing();
    server.terminate();
    let closed = client.read_to_close();
    assert_eq!(closed.code, 1001);
    closed.assert_announced();
    assert!(server.wait().success());
}

/// A message in MessagePack that is refused, by what is wrong with it.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let ping = packed(&json!({"type": "ping", "timestamp": "t"}));
    let with = |field: &[u8]| [b"\x83".as_slice(), &ping[1..], b"\xa1x", field].concat();
    vec![
        ("nothing", vec![]),
        ("the unused byte", b"\xc1".to_vec()),
        ("a list", packed(&json!(["ping", "t"]))),
        ("nil", b"\xc0".to_vec()),
        ("an empty map", b"\x80".to_vec()),
        ("cut short", ping[..ping.len() - 1].to_vec()),
        ("bytes after it", [ping.as_slice(), b"\xc0"].concat()),
        ("two messages", [ping.as_slice(), &ping].concat()),
        ("half a value after it", [ping.as_slice(), b"\xdd"].concat()),
        ("a key twice", [b"\x83".as_slice(), &ping[1..], b"\xa4type\xa4ping"].concat()),
        ("a number as a key", [b"\x83".as_slice(), &ping[1..], b"\x01\x02"].concat()),
        ("binary data as a key", [b"\x83".as_slice(), &ping[1..], b"\xc4\x01x\x02"].concat()),
        ("binary data", with(b"\xc4\x01x")),
        ("an extension", with(b"\xd4\x01\x00")),
        ("a timestamp", with(b"\xd6\xff\x00\x00\x00\x00")),
        ("not UTF-8", with(b"\xa1\xff")),
        ("NaN", with(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")),
        ("4 G values", with(b"\xdd\xff\xff\xff\xff")),
        ("4 G pairs", with(b"\xdf\xff\xff\xff\xff")),
        ("4 GiB of text", with(b"\xdb\xff\xff\xff\xff")),
        ("4 GiB of binary data", with(b"\xc6\xff\xff\xff\xff")),
        ("4 G values in each other", with(&b"\xdd\xff\xff\xff\xff".repeat(1000))),
        ("too deep", with(&[b"\x91".repeat(32), b"\xc0".to_vec()].concat())),
        ("much too deep", with(&b"\x91".repeat(60_000))),
        ("JSON", br#"{"type":"ping","timestamp":"t"}"#.to_vec()),
    ]
}

#[test]
fn a_hostile_message_is_refused_and_the_connection_goes_on() {
    let server = Server::with(&["limits.messages_burst=1000"]);
    let mut client = server.connect_packed();
    for (what, bytes) in hostile() {
        client.send_binary(&bytes);
        let error = client.receive();
        assert_eq!(error["code"], "INVALID_MESSAGE", "{what}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        client.expect_nothing();
    }
    client.close();
}

#[test]
fn published_messagepack_is_answered_as_json_is() {
    let server = Server::start();
    let mut client = server.connect_packed();
    client.subscribe("all", &json!({}));
    let mut bad = events::created(2, "P1");
    bad["incident"]["severity"] = json!("P7");
    let body = json!([events::created(1, "P1"), bad, 7, events::created(3, "P1")]);
    let answer = server.post(EVENTS, MSGPACK, &packed(&body)).assert_status(207).json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)), "{answer}");
    let json = server.post_events(&body).assert_status(207).json();
    for index in [1, 2] {
        assert_eq!(answer["results"][index], json["results"][index]);
    }
    for seq in 1..=4 {
        assert_eq!(client.expect_event()["seq"], seq);
    }
    // What only this encoding can get wrong spoils its own item alone.
    let body = [b"\x94\xd4\x01\x00\xc4\x01x".as_slice(), &b"\x91".repeat(40), b"\xc0"].concat();
    let body = [body, packed(&events::system("good"))].concat();
    let answer = server.post(EVENTS, MSGPACK, &body).assert_status(207).json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(3)), "{answer}");
    assert_eq!(client.expect_event()["event"]["message"], "good");
    let refused = |body: &[u8], status, code: &str| {
        let refusal = server.post(EVENTS, MSGPACK, body).assert_status(status).json();
        assert_eq!(refusal["code"], code, "{refusal}");
    };
    let event = packed(&events::system("refused"));
    refused(b"", 400, "INVALID_MESSAGE");
    refused(b"\xc1", 400, "INVALID_MESSAGE");
    refused(b"\xdd\xff\xff\xff\xff", 413, "MESSAGE_TOO_LARGE");
    refused(b"\x92\x80", 400, "INVALID_MESSAGE");
    refused(b"\x91\x80\x80", 400, "INVALID_MESSAGE");
    refused(b"\x91\xc1", 400, "INVALID_MESSAGE");
    refused(&[event.as_slice(), b"\x00"].concat(), 400, "INVALID_MESSAGE");
    refused(&event[..event.len() - 1], 400, "INVALID_MESSAGE");
    let large = packed(&events::large("large", 1024 * 1024));
    refused(&large, 413, "MESSAGE_TOO_LARGE");
    let many = [b"\xdc\x27\x11".to_vec(), event.repeat(10_001)].concat();
    refused(&many, 413, "MESSAGE_TOO_LARGE");
    client.expect_nothing();
}

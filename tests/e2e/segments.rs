//! How bytes are cut on their way does not matter.

use serde_json::{Value, json};

use crate::support::{Raw, Sent, Server, UPGRADE, events, text_frame};

fn subscribe() -> Value {
    json!({"type": "subscribe", "subscription_id": "s", "filters": {}})
}

fn ping(number: usize) -> Value {
    json!({"type": "ping", "timestamp": number.to_string()})
}

#[test]
fn a_handshake_and_a_message_byte_by_byte() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr());
    raw.stream().set_nodelay(true).expect("a socket option");
    UPGRADE.as_bytes().chunks(1).for_each(|byte| raw.write(byte));
    raw.read_upgrade();
    text_frame(&subscribe()).chunks(1).for_each(|byte| raw.write(byte));
    assert_eq!(raw.message()["type"], "subscribed");
    server.publish(&events::system("arrives"));
    assert_eq!(raw.message()["event"]["message"], "arrives");
}

#[test]
fn messages_in_the_same_segment_as_the_handshake() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr());
    let mut bytes = UPGRADE.as_bytes().to_vec();
    bytes.extend(text_frame(&subscribe()));
    bytes.extend(text_frame(&ping(7)));
    raw.write(&bytes);
    raw.read_upgrade();
    assert_eq!(raw.message()["type"], "subscribed");
    assert_eq!(raw.message()["timestamp"], "7");
}

#[test]
fn many_messages_in_one_write_cut_anywhere() {
    const MESSAGES: usize = 500;
    let server = Server::with(&["limits.messages_burst=10000"]);
    let bytes: Vec<u8> = (0..MESSAGES).flat_map(|number| text_frame(&ping(number))).collect();
    for cut in [bytes.len(), 4096, 1021, 61] {
        let mut raw = Raw::connect(server.stream_addr()).upgrade();
        bytes.chunks(cut).for_each(|part| raw.write(part));
        for number in 0..MESSAGES {
            assert_eq!(raw.message()["timestamp"], number.to_string(), "cut every {cut} bytes");
        }
    }
}

#[test]
fn a_message_in_fragments_with_a_ping_between_them() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    // Masked with zeros: text without FIN, ping, continuation with FIN (RFC 6455 section 5.4).
    let text = ping(7).to_string();
    let (head, tail) = text.as_bytes().split_at(9);
    for (opcode, payload) in [(0x01, head), (0x89, b"?"), (0x80, tail)] {
        raw.write(&[opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        raw.write(payload);
    }
    assert!(matches!(raw.next(), Sent::Pong));
    assert_eq!(raw.message()["timestamp"], "7");
}

#[test]
fn a_critical_event_overtakes_what_waits_for_a_slow_reader() {
    const BACKLOG: usize = 400;
    let server = Server::start();
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    slow.send(&subscribe());
    assert_eq!(slow.message()["type"], "subscribed");
    let backlog: Vec<Value> = (0..BACKLOG).map(|_| events::large("backlog", 5_000)).collect();
    server.publish_all(&backlog);
    server.publish(&events::created(1, "P0"));
    let mut low = Vec::new();
    let ahead = loop {
        let message = slow.message();
        if message["priority"] == "critical" {
            break low.len();
        }
        low.push(message["seq"].as_u64());
    };
    // What the kernel held by then: both socket buffers and one send.
    assert!(ahead < BACKLOG / 2, "{ahead} events of low priority came first");
    while low.len() < BACKLOG {
        low.push(slow.message()["seq"].as_u64());
    }
    assert!(low.is_sorted(), "in order within the priority");
}

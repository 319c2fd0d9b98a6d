//! A long session of a client that knows the base protocol only.

use std::collections::BTreeMap;
use std::thread;

use serde_json::{Value, json};

use crate::support::shapes::{SHAPES, assert_base};
use crate::support::{Client, Server, events};

const ROUNDS: usize = 30;

/// What such a client may say in a round, whether it makes sense or not.
fn says(round: usize) -> Vec<Value> {
    let subscription = format!("s{}", round % 7);
    let filters = match round % 4 {
        0 => json!({}),
        1 => json!({"severities": ["P0", "P1"]}),
        2 => json!({"event_types": ["comment_added", "system_event"], "labels": {}}),
        _ => json!({"severities": ["P7"]}),
    };
    vec![
        json!({"type": "subscribe", "subscription_id": subscription, "filters": filters}),
        json!({"type": "ping", "timestamp": "2026-01-02T03:04:05Z"}),
        json!({"type": "unsubscribe", "subscription_id": format!("s{}", (round + 3) % 9)}),
        json!({"type": "ack", "message_id": events::id(1)}),
        json!({"type": "publish", "event": {}}),
        json!({"type": round}),
    ]
}

#[test]
fn a_client_of_the_base_protocol_is_never_sent_what_it_does_not_know() {
    let mut server = Server::with(&["limits.messages_burst=150"]);
    let mut client = Client::connect(&server.stream_url);
    let mut everything = server.subscriber(&json!({}));
    let samples = events::samples();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for _ in 0..ROUNDS {
                server.publish_all(&samples);
            }
        });
        for round in 0..ROUNDS {
            says(round).iter().for_each(|message| client.send(message));
        }
        publisher.join().expect("all are published");
    });
    for _ in 0..ROUNDS * samples.len() {
        everything.expect_event();
    }
    server.terminate();
    let closed = client.read_to_close();
    assert_eq!(closed.code, 1001);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &closed.messages {
        assert_base(message);
        *counts.entry(message["type"].as_str().expect("checked")).or_default() += 1;
    }
    let kinds: Vec<_> = counts.keys().copied().collect();
    let mut all: Vec<_> = SHAPES.iter().map(|shape| shape.message).collect();
    all.sort_unstable();
    assert_eq!(kinds, all, "the session saw every message: {counts:?}");
    assert_eq!((counts["welcome"], counts["closing"]), (1, 1));
    assert_eq!(closed.messages[0]["type"], "welcome");
    everything.read_to_close();
    assert!(server.wait().success());
}

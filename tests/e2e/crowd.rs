//! Many connections at once.

use std::thread;

use serde_json::{Value, json};

use crate::support::{Raw, Server, events};

#[test]
fn every_one_of_many_subscribers_gets_every_event_in_order() {
    const SUBSCRIBERS: usize = 300;
    const EVENTS: usize = 60;
    let server = Server::start();
    let mut clients: Vec<_> = (0..SUBSCRIBERS).map(|_| server.subscriber(&json!({}))).collect();
    let both = server.metrics();
    for shard in ["0", "1"] {
        assert!(
            both.sum_with("alarmcast_shard_connections", "shard", shard) > 0.0,
            "{shard} idles"
        );
    }
    let batch: Vec<Value> = (0..EVENTS).map(|n| events::system(&n.to_string())).collect();
    let receipts = server.publish_all(&batch);
    for client in &mut clients {
        for receipt in &receipts {
            assert_eq!(client.expect_event()["message_id"], receipt.message_id);
        }
    }
    server.await_metric("websocket_events_delivered_total", (SUBSCRIBERS * EVENTS) as f64);
}

/// Slots are used again at once; nobody may get what was meant for the one before.
#[test]
fn connections_that_come_and_go_get_only_what_they_asked_for() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 60;
    let server = Server::start();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let server = &server;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let number = 1 + thread * ROUNDS + round;
                    let filters = json!({"incident_ids": [events::id(number)]});
                    let mut raw = Raw::connect(server.stream_addr()).upgrade();
                    raw.send(
                        &json!({"type": "subscribe", "subscription_id": "s", "filters": filters}),
                    );
                    assert_eq!(raw.message()["subscription_id"], "s");
                    server.publish_all(&[
                        events::comment(number, "for this connection"),
                        events::comment(number + 1, "for another, or for nobody"),
                    ]);
                    assert_eq!(raw.message()["event"]["incident_id"], events::id(number));
                    match round % 3 {
                        0 => raw.reset(),
                        1 => raw.end_sending(),
                        _ => {}
                    }
                }
            });
        }
    });
    server.await_metric("websocket_active_connections", 0.0);
    server.await_metric("alarmcast_shard_sockets", 0.0);
    assert_eq!(server.metrics().sum("alarmcast_handler_panics_total"), 0.0);
}

//! What is published is what subscribers get.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::support::{Server, events};

#[test]
fn every_type_of_event_arrives_as_it_was_published() {
    let server = Server::start();
    let mut clients: Vec<_> = (0..4).map(|_| server.subscriber(&json!({}))).collect();
    let samples = events::samples();
    assert_eq!(samples.len(), 14);
    let mut previous = None;
    for sample in &samples {
        let receipt = server.publish(sample);
        let messages: Vec<_> = clients.iter_mut().map(|client| client.expect_event()).collect();
        for message in &messages {
            assert_eq!(message["event"], *sample);
            assert_eq!(message["message_id"], receipt.message_id);
            assert_eq!(message["seq"], receipt.seq);
        }
        assert!(messages.iter().all(|message| *message == messages[0]), "the same for everyone");
        assert!(previous.is_none_or(|previous| receipt.seq == previous + 1), "{receipt:?}");
        previous = Some(receipt.seq);
    }
}

#[test]
fn priorities_follow_from_the_event() {
    let escalated = |to: &str| {
        json!({
            "event_type": "escalated", "incident_id": events::id(1), "from_severity": "P3",
            "to_severity": to, "reason": "r",
        })
    };
    let rows = [
        (events::created(1, "P0"), "critical"),
        (escalated("P0"), "critical"),
        (events::created(2, "P1"), "high"),
        (escalated("P2"), "high"),
        (events::alert(3, "P0"), "high"),
        (events::alert(4, "P1"), "high"),
        (events::alert(5, "P2"), "normal"),
        (events::created(6, "P2"), "normal"),
        (events::comment(1, "c"), "low"),
        (events::system("s"), "low"),
    ];
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    for (event, priority) in rows {
        server.publish(&event);
        assert_eq!(client.expect_event()["priority"], priority, "{event}");
    }
}

#[test]
fn a_batch_arrives_whole_and_in_order_within_each_priority() {
    const ROUNDS: usize = 20;
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let batch: Vec<Value> = (0..ROUNDS).flat_map(|_| events::samples()).collect();
    let receipts = server.publish_all(&batch);
    let indexes: HashMap<u64, usize> =
        receipts.iter().enumerate().map(|(index, receipt)| (receipt.seq, index)).collect();
    let mut newest: HashMap<String, u64> = HashMap::new();
    let mut seqs = Vec::new();
    for _ in 0..batch.len() {
        let message = client.expect_event();
        let seq = message["seq"].as_u64().expect("a seq");
        assert_eq!(message["event"], batch[indexes[&seq]]);
        let priority = message["priority"].as_str().expect("a priority").to_owned();
        let before = newest.insert(priority, seq);
        assert!(before.is_none_or(|before| before < seq), "{before:?} came before {seq}");
        seqs.push(seq);
    }
    seqs.sort_unstable();
    let mut told: Vec<u64> = indexes.into_keys().collect();
    told.sort_unstable();
    assert_eq!(seqs, told);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "dense");
    client.expect_nothing();
}

#[test]
fn what_a_publisher_leaves_out_is_filled_in() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    server.publish(&json!({"event_type": "incident_created", "incident": {
        "id": events::id(1), "severity": "P2", "source": "s", "title": "t",
    }}));
    let incident = &client.expect_event()["event"]["incident"];
    assert_eq!(incident["state"], "Detected");
    assert_eq!(incident["incident_type"], "Unknown");
    assert_eq!(incident["labels"], json!({}));
    assert!(incident["created_at"].as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok()));
}

#[test]
fn the_largest_event_arrives() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let event = events::large("large", 1000 * 1000);
    server.publish(&event);
    assert_eq!(client.expect_event()["event"], event);
    server.publish(&events::system("small"));
    assert_eq!(client.expect_event()["event"]["message"], "small");
}

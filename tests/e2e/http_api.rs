//! Publishing over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Server, events, eventually};

const EVENTS: &str = "/api/v1/events";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Checks a refusal as a whole: a code, and a reason for people.
#[track_caller]
fn assert_refused(answer: Answer, status: u16, code: &str) -> Value {
    let refusal = answer.assert_status(status).json();
    assert_eq!(refusal["code"], code, "{refusal}");
    assert!(refusal["message"].as_str().is_some_and(|text| !text.is_empty()), "{refusal}");
    refusal
}

#[test]
fn one_event_is_answered_by_its_place() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let event = events::created(1, "P1");
    for body in [event.clone(), json!({"event": event})] {
        let answer = server.post_events(&body).assert_status(200).json();
        let message = client.expect_event();
        assert_eq!(message["event"]["incident"]["id"], events::id(1));
        assert_eq!(answer, json!({"message_id": message["message_id"], "seq": message["seq"]}));
    }
}

#[test]
fn an_array_with_a_bad_item_publishes_the_good_ones_and_names_the_fault() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let mut bad = events::created(2, "P1");
    bad["incident"]["severity"] = json!("P7");
    let body = json!([events::created(1, "P1"), bad, 7, events::created(3, "P1")]);
    let answer = server.post_events(&body).assert_status(207).json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(2)), "{answer}");
    let results = &answer["results"];
    assert_eq!(results[1]["index"], 1);
    assert_eq!(results[1]["error"]["code"], "INVALID_MESSAGE");
    assert_eq!(results[1]["error"]["path"], "incident.severity");
    assert_eq!(results[2]["error"]["code"], "INVALID_MESSAGE");
    for (index, number) in [(0, 1), (3, 3)] {
        let message = client.expect_event();
        assert_eq!(message["event"]["incident"]["id"], events::id(number));
        assert_eq!(message["seq"], results[index]["seq"]);
        assert_eq!(message["message_id"], results[index]["message_id"]);
    }
    client.expect_nothing();
}

#[test]
fn one_event_a_line_and_a_broken_line_spoils_only_itself() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let lines: Vec<_> = events::samples().iter().map(Value::to_string).collect();
    let body = format!("{}\n\n{{broken\n{}\r\n", lines[0], lines[1]);
    let answer = server.post(EVENTS, NDJSON, body.as_bytes()).assert_status(207).json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(answer["results"][1]["error"]["code"], "INVALID_MESSAGE");
    for line in &lines[..2] {
        assert_eq!(client.expect_event()["event"].to_string(), *line);
    }
    let all = server.post(EVENTS, NDJSON, lines.join("\n").as_bytes()).assert_status(200).json();
    assert_eq!(all["accepted"], 14);
}

#[test]
fn a_repeated_idempotency_key_is_answered_the_same_and_delivered_once() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let mut event = events::created(1, "P1");
    event["idempotency_key"] = json!("once");
    let first = server.post_events(&event).assert_status(200).json();
    let again = server.post_events(&event).assert_status(200).json();
    assert_eq!(first["duplicate"], Value::Null);
    assert_eq!(again["duplicate"], true);
    assert_eq!((&first["message_id"], &first["seq"]), (&again["message_id"], &again["seq"]));
    let batch = server.post_events(&json!([event, event])).assert_status(200).json();
    for result in batch["results"].as_array().expect("results") {
        assert_eq!((&result["seq"], &result["duplicate"]), (&first["seq"], &json!(true)));
    }
    assert_eq!(client.expect_event()["message_id"], first["message_id"]);
    let other = server.publish(&events::system("the next")).seq;
    let next = client.expect_event();
    assert_eq!(next["seq"], other);
    assert_eq!(Some(other), first["seq"].as_u64().map(|seq| seq + 1), "no seq is used up");
    assert!(next["event"].get("idempotency_key").is_none());
}

#[test]
fn what_cannot_be_read_is_refused_with_a_reason() {
    let server = Server::start();
    let refused = |kind: &str, body: &str, status, code| {
        assert_refused(server.post(EVENTS, kind, body.as_bytes()), status, code)
    };
    refused(JSON, "", 400, "INVALID_MESSAGE");
    refused(JSON, "{", 400, "INVALID_MESSAGE");
    refused(JSON, "[{}", 400, "INVALID_MESSAGE");
    refused(JSON, r#"{"event_type":"incident_exploded"}"#, 400, "INVALID_MESSAGE");
    refused(JSON, &"[".repeat(100_000), 400, "INVALID_MESSAGE");
    refused(
        JSON,
        r#"{"event_type":"system_event","category":"c","category":"d"}"#,
        400,
        "INVALID_MESSAGE",
    );
    let mut event = events::created(1, "P0");
    event["incident"]["title"] = json!("");
    let refusal = refused(JSON, &event.to_string(), 400, "INVALID_MESSAGE");
    assert_eq!(refusal["path"], "incident.title");
    let event = events::created(1, "P0").to_string();
    refused("text/plain", &event, 415, "UNSUPPORTED");
    refused("application/x-www-form-urlencoded", &event, 415, "UNSUPPORTED");
    assert_refused(server.get("/api/v1/event"), 404, "NOT_FOUND");
    assert_refused(server.get("/api/v1/webhooks/alertmanager"), 405, "UNSUPPORTED");
    assert_eq!(server.metrics().sum("websocket_events_broadcast_total"), 0.0);
}

#[test]
fn what_is_too_large_is_refused() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let event = events::large("too large", 1024 * 1024);
    assert_refused(server.post_events(&event), 413, "MESSAGE_TOO_LARGE");
    let answer = server.post_events(&json!([event, events::system("fits")])).assert_status(207);
    assert_eq!(answer.json()["results"][0]["error"]["code"], "MESSAGE_TOO_LARGE");
    assert_eq!(client.expect_event()["event"]["message"], "fits");
    let too_many = json!(vec![json!({}); 10_001]);
    assert_refused(server.post_events(&too_many), 413, "MESSAGE_TOO_LARGE");
    client.expect_nothing();
}

#[test]
fn a_batch_that_the_queue_can_never_hold_is_refused_for_good() {
    let server = Server::with(&["hub.ingest_events_max=4"]);
    let batch: Vec<_> = (0..5).map(|number| events::system(&number.to_string())).collect();
    let answer = server.post_events(&json!(batch));
    assert_eq!(answer.retry_after, None);
    assert_refused(answer, 413, "MESSAGE_TOO_LARGE");
    assert_eq!(server.publish_all(&batch[..4]).len(), 4);
}

/// Each publisher fills the whole queue with every request; one of them must be told to wait,
/// and what the others were told is taken must arrive.
#[test]
fn a_full_queue_tells_publishers_to_wait_and_loses_nothing() {
    const PUBLISHERS: usize = 6;
    const BATCH: usize = 200;
    let queue = format!("hub.ingest_events_max={BATCH}");
    let server = Server::with(&[&queue, "hub.inbox_events_max=1"]);
    let batch: Vec<_> = (0..BATCH).map(|_| events::large("fill", 2_000)).collect();
    let (body, was_full) = (json!(batch).to_string(), AtomicBool::new(false));
    let deadline = alarmcast::base::clock::Clock::System.now() + DEADLINE;
    let publish_until_full = || {
        let mut accepted = 0;
        while !was_full.load(Ordering::Relaxed) {
            assert!(alarmcast::base::clock::Clock::System.now() < deadline, "never full");
            let answer = server.post(EVENTS, JSON, body.as_bytes());
            if answer.status == 200 {
                accepted += BATCH;
                continue;
            }
            answer.assert_retry_after();
            assert_refused(answer, 429, "RATE_LIMITED");
            was_full.store(true, Ordering::Relaxed);
        }
        accepted
    };
    let accepted: usize = thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publish_until_full)).collect();
        publishers.into_iter().map(|publisher| publisher.join().expect("no panic")).sum()
    });
    let metrics = server.metrics();
    assert_eq!(metrics.sum("websocket_events_broadcast_total"), accepted as f64);
    assert!(metrics.sum_with("alarmcast_publish_refused_total", "reason", "full") >= BATCH as f64);
    eventually("there is room again", || {
        (server.post_events(&batch[0]).status == 200).then_some(())
    });
}

#[test]
fn health_says_ready_and_alive() {
    let server = Server::start();
    assert_eq!(server.get("/health/live").assert_status(200).json()["status"], "alive");
    assert_eq!(server.get("/health/ready").assert_status(200).json()["status"], "ready");
    let health = server.get("/health").assert_status(200).json();
    assert_eq!(health["status"], "ready");
    assert_eq!(health["shards"], 2);
}

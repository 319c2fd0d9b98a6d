//! The end of the server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Raw, Sent, Server, events, eventually};

#[test]
fn sigterm_delivers_what_is_queued_then_says_so_and_closes_with_1001() {
    const SUBSCRIBERS: usize = 12;
    const EVENTS: usize = 500;
    let mut server = Server::with(&["server.drain_window_secs=1"]);
    let mut clients: Vec<_> = (0..SUBSCRIBERS).map(|_| server.subscriber(&json!({}))).collect();
    let batch: Vec<Value> = (0..EVENTS).map(|_| events::large("queued", 1_000)).collect();
    let receipts = server.publish_all(&batch);
    server.terminate();
    let published: BTreeSet<u64> = receipts.iter().map(|receipt| receipt.seq).collect();
    let mut pauses = BTreeSet::new();
    for client in &mut clients {
        let closed = client.read_to_close();
        assert_eq!(closed.code, 1001);
        let came = closed.assert_announced().iter().map(|message| message["seq"].as_u64());
        assert_eq!(came.collect::<Option<BTreeSet<u64>>>().as_ref(), Some(&published));
        let closing = closed.messages.last().expect("it was announced");
        pauses.insert(closing["retry_after_ms"].as_u64().expect("an invitation to come back"));
    }
    assert!(pauses.len() > 1, "spread over time: {pauses:?}");
    assert_eq!(server.wait().code(), Some(0));
}

/// A client that never answers the close keeps the server draining for some seconds.
#[test]
fn a_draining_server_is_alive_and_not_ready_and_takes_nothing_new() {
    let mut server = Server::start();
    let mut holding = Raw::connect(server.stream_addr()).upgrade();
    server.terminate();
    assert_eq!(holding.message()["type"], "closing");
    let ready = server.get("/health/ready").assert_status(503).json();
    let refused = server.post_events(&events::system("too late"));
    let live = server.get("/health/live");
    let draining = server.metrics().sum("alarmcast_draining");
    let mut newcomer = Raw::connect(server.stream_addr());
    let answer = newcomer.read_to_end();
    assert!(ready["reason"].as_str().is_some_and(|reason| reason.contains("draining")), "{ready}");
    refused.assert_retry_after();
    assert_eq!(refused.assert_status(503).json()["code"], "UNAVAILABLE");
    live.assert_status(200);
    assert_eq!(draining, 1.0);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(matches!(holding.next(), Sent::Close(1001)));
    drop((holding, newcomer));
    assert_eq!(server.wait().code(), Some(0));
}

/// A client that reads a little now and then would keep the server draining for long.
#[test]
fn a_second_sigterm_waits_for_nobody() {
    const EVENTS: usize = 600;
    let mut server = Server::with(&["server.drain_timeout_secs=3600"]);
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    slow.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(slow.message()["type"], "subscribed");
    let batch: Vec<Value> = (0..EVENTS).map(|_| events::large("queued", 5_000)).collect();
    server.publish_all(&batch);
    server.terminate();
    server.program.await_stderr("draining");
    server.terminate();
    server.program.await_stderr("ending at once");
    eventually("the server ends although the client still reads", || {
        if let Ok(Sent::Message(message)) = slow.try_next() {
            assert_eq!(message["type"], "event", "the drain was not cut short");
        }
        (!server.program.is_running()).then_some(())
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_client_that_never_answers_is_not_waited_for_for_ever() {
    let mut server = Server::start();
    let mut deaf = Raw::connect(server.stream_addr()).upgrade();
    server.terminate();
    assert_eq!(deaf.message()["type"], "closing");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn sigint_drains_as_well_and_a_server_without_clients_ends_at_once() {
    let mut server = Server::start();
    server.program.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.program.stderr().contains("SIGINT"), "{}", server.program.stderr());
}

#[test]
fn handshakes_that_are_going_on_are_refused_by_the_drain() {
    let mut server = Server::start();
    let mut halting = Raw::connect(server.stream_addr());
    halting.write(b"GET /ws HTTP/1.1\r\n");
    server.await_metric("alarmcast_shard_sockets", 1.0);
    server.terminate();
    let answer = halting.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(halting);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn what_was_taken_before_the_drain_reaches_a_slow_reader() {
    const EVENTS: usize = 300;
    let mut server = Server::start();
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    slow.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(slow.message()["type"], "subscribed");
    let batch: Vec<Value> = (0..EVENTS).map(|_| events::large("queued", 5_000)).collect();
    let receipts = server.publish_all(&batch);
    server.terminate();
    eventually("the server drains", || (server.get("/health/ready").status == 503).then_some(()));
    for receipt in receipts {
        assert_eq!(slow.message()["seq"], receipt.seq);
    }
    assert_eq!(slow.message()["code"], 1001);
    assert!(matches!(slow.next(), Sent::Close(1001)));
    drop(slow);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn by_the_api_each_client_leaves_at_a_moment_of_its_own_and_all_can_see_how_many_are_left() {
    const CLIENTS: usize = 8;
    const DRAIN: &str = "/api/v1/drain";
    let mut server = Server::start();
    let before = server.get(DRAIN).assert_status(200).json();
    let expected = json!({
        "stage": "serving", "connections": 0, "sockets": 0, "window_secs": 5, "timeout_secs": 10,
    });
    assert_eq!(before, expected);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.subscriber(&json!({}))).collect();
    let seq = server.publish(&events::system("the last")).seq;
    let json = "application/json";
    server.post(DRAIN, "text/plain", b"").assert_status(415);
    server.post(DRAIN, json, b"{\"window\": 1}").assert_status(400);
    server.post(DRAIN, json, b"{\"window_secs\": 3601}").assert_status(400);
    server.get("/health/ready").assert_status(200);
    let begun = server.post(DRAIN, json, b"{\"window_secs\": 2}").assert_status(202).json();
    let times = (&begun["stage"], &begun["window_secs"], &begun["timeout_secs"]);
    assert_eq!(times, (&json!("draining"), &json!(2), &json!(7)));
    server.get("/health/ready").assert_status(503);
    let again = server.post(DRAIN, json, b"{\"window_secs\": 60}").assert_status(202).json();
    assert_eq!(again["window_secs"], 2, "the first who asked decides");
    let some_left = eventually("some have left, and some have not", || {
        let progress = server.get(DRAIN).json();
        let left = progress["connections"].as_u64().expect("a number") as usize;
        ((1..CLIENTS).contains(&left)).then_some(progress)
    });
    assert!(some_left["elapsed_secs"].is_number(), "{some_left}");
    for client in &mut clients {
        let closed = client.read_to_close();
        assert_eq!(closed.code, 1001);
        assert_eq!(closed.assert_announced()[0]["seq"], seq);
        let closing = closed.messages.last().expect("it was announced");
        assert_eq!(closing["resume"]["after"], seq);
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_sigterm_during_a_replay_ends_it_at_a_place_that_the_client_is_told() {
    const EVENTS: usize = 600;
    let mut server = Server::start();
    let batch: Vec<Value> = (0..EVENTS).map(|_| events::large("past", 5_000)).collect();
    server.publish_all(&batch);
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    slow.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {}, "since": "2020-01-01T00:00:00Z",
    }));
    assert_eq!(slow.message()["resumed"], true);
    assert_eq!(slow.message()["seq"], 1);
    server.terminate();
    server.program.await_stderr("draining");
    let mut reached = 1;
    let closing = loop {
        let message = slow.message();
        if message["type"] != "event" {
            break message;
        }
        reached += 1;
        assert_eq!(message["seq"], reached, "in order, nothing left out");
    };
    assert_eq!((&closing["code"], &closing["resume"]["after"]), (&json!(1001), &json!(reached)));
    assert!(reached < EVENTS as u64, "the drain did not wait for all of the past");
    assert!(matches!(slow.next(), Sent::Close(1001)));
    drop(slow);
    assert_eq!(server.wait().code(), Some(0));
}

/// An operator drains; what supervises the process then sends its SIGTERM.
#[test]
fn the_first_sigterm_after_a_drain_by_the_api_changes_nothing_and_the_second_forces() {
    let mut server = Server::with(&["server.drain_timeout_secs=3600"]);
    // Of several on one of two shards only the first is told at once.
    let clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    server.post("/api/v1/drain", "application/json", b"{\"window_secs\": 3600}").assert_status(202);
    server.terminate();
    server.program.await_stderr("a second signal ends at once");
    let progress = server.get("/api/v1/drain").assert_status(200).json();
    assert!(progress["connections"].as_u64() > Some(0), "{progress}");
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    drop(clients);
}

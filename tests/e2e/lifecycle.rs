//! The ends of connections that the server decides on, or must notice.

use serde_json::json;

use crate::support::{Client, Raw, Sent, Server, events, eventually};

const ERRORS: &str = "websocket_connection_errors_total";

#[track_caller]
fn await_error(server: &Server, reason: &str) {
    let what = format!("a connection ends for {reason}");
    eventually(&what, || {
        (server.metrics().sum_with(ERRORS, "reason", reason) >= 1.0).then_some(())
    });
}

/// Waits until the server holds nothing of any connection.
#[track_caller]
fn await_nothing_held(server: &Server) {
    server.await_metric("websocket_active_connections", 0.0);
    server.await_metric("websocket_active_subscriptions", 0.0);
    server.await_metric("alarmcast_shard_sockets", 0.0);
    server.await_metric("alarmcast_outbox_bytes", 0.0);
}

#[test]
fn a_handshake_that_never_ends_is_answered_by_408() {
    let server = Server::with(&["limits.handshake_timeout_secs=1"]);
    let mut silent = Raw::connect(server.stream_addr());
    let mut halting = Raw::connect(server.stream_addr());
    halting.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr");
    for raw in [&mut silent, &mut halting] {
        let answer = raw.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    await_error(&server, "handshake_timeout");
    drop((silent, halting));
    await_nothing_held(&server);
}

#[test]
fn a_handshake_at_another_path_is_answered_by_404() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr());
    raw.write(
        b"GET /wss HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = raw.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    await_error(&server, "handshake_refused");
}

#[test]
fn a_client_that_answers_no_ping_is_closed_with_4008() {
    let server = Server::with(&["session.heartbeat_interval_secs=1"]);
    let mut deaf = Raw::connect(server.stream_addr()).upgrade();
    assert!(matches!(deaf.next(), Sent::Ping), "a ping comes first");
    let closing = deaf.message();
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(4008)));
    assert!(closing["retry_after_ms"].is_u64(), "it may come back: {closing}");
    assert!(matches!(deaf.next(), Sent::Close(4008)));
    await_error(&server, "heartbeat_missed");
    drop(deaf);
    await_nothing_held(&server);
}

#[test]
fn a_client_that_answers_pings_stays() {
    let server = Server::with(&["session.heartbeat_interval_secs=1"]);
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    for _ in 0..3 {
        assert!(matches!(raw.next(), Sent::Ping));
        raw.pong();
    }
    raw.send(&json!({"type": "ping", "timestamp": "still here"}));
    assert_eq!(raw.message()["timestamp"], "still here");
}

#[test]
fn a_client_that_says_nothing_at_all_is_closed_as_idle() {
    let server =
        Server::with(&["session.heartbeat_interval_secs=1", "session.idle_timeout_secs=2"]);
    let mut silent = Raw::connect(server.stream_addr()).upgrade();
    assert_eq!(silent.message()["code"], 4008);
    assert!(matches!(silent.next(), Sent::Close(4008)));
    drop(silent);
    await_nothing_held(&server);
}

#[test]
fn a_client_that_history_has_passed_is_closed_with_4009_and_the_others_get_everything() {
    const EVENTS_MAX: usize = 2_000;
    let server = Server::with(&["limits.outbox_messages_max=32", "history.events_max=100"]);
    let mut stuck = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    stuck.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(stuck.message()["type"], "subscribed");
    let mut reader = server.subscriber(&json!({}));
    let mut published = 0;
    let mut rounds_left = EVENTS_MAX / 20;
    while rounds_left > 0 {
        for _ in 0..20 {
            let seq = server.publish(&events::large("fill", 10_000)).seq;
            assert_eq!(reader.expect_event()["seq"], seq);
            published += 1;
        }
        // Once its lane is full, as much again as history holds, and more.
        let is_full = server.metrics().sum("alarmcast_overflows_total") > 0.0;
        rounds_left = if is_full { rounds_left.min(10) - 1 } else { rounds_left - 1 };
    }
    assert!(published < EVENTS_MAX, "never too slow");
    let mut newest = 0;
    let closing = loop {
        let message = stuck.message();
        if message["type"] == "closing" {
            break message;
        }
        assert_eq!(message["seq"], newest + 1, "up to there without a gap");
        newest += 1;
    };
    assert_eq!(closing["code"], 4009);
    // What was on its way just then is not certain to have come.
    assert!(closing["resume"]["after"].as_u64() <= Some(newest), "{closing}");
    assert!(matches!(stuck.next(), Sent::Close(4009)));
    server.await_metric("alarmcast_overflows_active", 0.0);
    await_error(&server, "slow_consumer");
    let seq = server.publish(&events::system("for who is left")).seq;
    assert_eq!(reader.expect_event()["seq"], seq);
}

#[test]
fn a_connection_too_many_is_told_when_to_come_back() {
    let server = Server::with(&["limits.connections_max=2"]);
    let first = server.connect();
    let second = server.connect();
    let mut third = Raw::connect(server.stream_addr());
    let answer = third.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let retry_after = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse::<u64>())
    });
    assert!(matches!(retry_after, Some(Ok(1..))), "{answer}");
    await_error(&server, "too_many_connections");
    drop(third);
    first.close();
    server.await_metric("alarmcast_shard_sockets", 1.0);
    server.connect().expect_nothing();
    second.close();
    await_nothing_held(&server);
}

#[test]
fn a_client_that_closes_is_answered_and_freed() {
    let server = Server::start();
    let clients: Vec<Client> = (0..10).map(|_| server.subscriber(&json!({}))).collect();
    server.await_metric("websocket_active_connections", 10.0);
    clients.into_iter().for_each(Client::close);
    await_nothing_held(&server);
    let metrics = server.metrics();
    let churn = |event| metrics.sum_with("websocket_connection_churn_total", "event", event);
    assert_eq!((churn("opened"), churn("closed")), (10.0, 10.0));
    assert_eq!(metrics.sum(ERRORS), 0.0, "nothing of this is an error");
}

#[test]
fn a_half_closed_connection_is_freed() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    raw.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(raw.message()["type"], "subscribed");
    raw.end_sending();
    await_nothing_held(&server);
}

#[test]
fn a_reset_connection_is_freed() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    raw.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(raw.message()["type"], "subscribed");
    // In the middle of a frame's header.
    raw.write(b"\x81");
    raw.reset();
    await_nothing_held(&server);
    await_error(&server, "reset");
}

#[test]
fn a_handshake_that_is_given_up_is_freed() {
    let server = Server::start();
    let mut halting = Raw::connect(server.stream_addr());
    halting.write(b"GET /ws HTTP/1.1\r\n");
    let gone = Raw::connect(server.stream_addr());
    server.await_metric("alarmcast_shard_sockets", 2.0);
    gone.reset();
    halting.end_sending();
    await_nothing_held(&server);
}

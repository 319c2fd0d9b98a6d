//! `/metrics`: the names that dashboards know, and that they count what happens.

use std::process::Command;

use serde_json::json;

use crate::support::{Metrics, Program, Raw, Server, events, eventually, tools};

/// The names of the module that this server replaces.
const NAMES: [&str; 15] = [
    "websocket_active_connections",
    "websocket_total_connections",
    "websocket_active_subscriptions",
    "websocket_messages_sent_total",
    "websocket_messages_received_total",
    "websocket_events_broadcast_total",
    "websocket_events_delivered_total",
    "websocket_connection_errors_total",
    "websocket_send_errors_total",
    "websocket_session_duration_seconds",
    "websocket_message_latency_seconds",
    "websocket_broadcast_channel_usage_ratio",
    "websocket_connection_churn_total",
    "websocket_subscription_churn_total",
    "websocket_events_filtered_total",
];

#[test]
fn the_known_names_are_there_from_the_start_and_others_are_ours() {
    let server = Server::start();
    let answer = server.get("/metrics").assert_status(200);
    assert!(answer.content_type.starts_with("text/plain; version=0.0.4"), "{answer:?}");
    let metrics = Metrics::parse(answer.body);
    for name in NAMES {
        assert!(metrics.has(name), "{name} is missing:\n{}", metrics.text);
    }
    for name in metrics.names() {
        let is_known = NAMES.iter().any(|known| name.starts_with(known));
        assert!(is_known || name.starts_with("alarmcast_"), "{name}");
    }
}

#[test]
fn what_happens_is_counted() {
    let server = Server::start();
    let before = server.metrics();
    let mut wants = server.subscriber(&json!({"event_types": ["incident_created"]}));
    let mut other = server.subscriber(&json!({"event_types": ["comment_added"]}));
    server.publish_all(&[events::created(1, "P0"), events::created(2, "P2")]);
    wants.expect_event();
    wants.expect_event();
    wants.unsubscribe("only");
    other.expect_nothing();
    wants.close();
    server.await_metric("websocket_active_connections", 1.0);
    // A message counts as sent once its completion is seen, after the client may have it.
    let after = eventually("the last sends are counted", || {
        let metrics = server.metrics();
        let sent = metrics.sum("websocket_messages_sent_total");
        (sent - before.sum("websocket_messages_sent_total") >= 8.0).then_some(metrics)
    });
    let grown = |name| after.sum(name) - before.sum(name);
    let grown_with =
        |name, event| after.sum_with(name, "event", event) - before.sum_with(name, "event", event);
    assert_eq!(grown("websocket_active_connections"), 1.0);
    assert_eq!(grown("websocket_total_connections"), 2.0);
    assert_eq!(grown("websocket_active_subscriptions"), 1.0);
    // Two subscribes, one unsubscribe, one ping; the answers to them, two welcomes, two events.
    assert_eq!(grown("websocket_messages_received_total"), 4.0);
    assert_eq!(grown("websocket_messages_sent_total"), 8.0);
    assert_eq!(grown("websocket_events_broadcast_total"), 2.0);
    assert_eq!(grown("websocket_events_delivered_total"), 2.0);
    assert_eq!(grown("websocket_events_filtered_total"), 2.0);
    assert_eq!(grown("websocket_message_latency_seconds_count"), 2.0);
    assert_eq!(grown("websocket_session_duration_seconds_count"), 1.0);
    assert_eq!(grown("websocket_connection_errors_total"), 0.0);
    assert_eq!(grown("websocket_send_errors_total"), 0.0);
    assert_eq!(grown_with("websocket_connection_churn_total", "opened"), 2.0);
    assert_eq!(grown_with("websocket_connection_churn_total", "closed"), 1.0);
    assert_eq!(grown_with("websocket_subscription_churn_total", "added"), 2.0);
    assert_eq!(grown_with("websocket_subscription_churn_total", "removed"), 1.0);
    assert_eq!(after.sum("alarmcast_stream_seq"), 2.0);
    let ratio = after.sum("websocket_broadcast_channel_usage_ratio");
    assert!((0.0..=1.0).contains(&ratio), "{ratio}");
}

#[test]
fn the_latency_of_a_delivery_counts_under_its_priority() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    let name = "alarmcast_delivery_latency_seconds_count";
    for (priority, event) in [
        ("critical", events::created(1, "P0")),
        ("high", events::created(2, "P1")),
        ("normal", events::created(3, "P2")),
        ("low", events::system("low")),
    ] {
        assert_eq!(server.metrics().sum_with(name, "priority", priority), 0.0);
        server.publish(&event);
        client.expect_event();
        eventually("the delivery is counted", || {
            (server.metrics().sum_with(name, "priority", priority) == 1.0).then_some(())
        });
    }
}

#[test]
fn errors_are_counted_by_reason() {
    let server = Server::start();
    let mut refused = Raw::connect(server.stream_addr());
    refused.write(b"POST /ws HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = refused.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let mut faulty = Raw::connect(server.stream_addr()).upgrade();
    faulty.write(b"\xff\xff");
    assert_eq!(faulty.message()["type"], "closing");
    for reason in ["handshake_refused", "protocol"] {
        eventually(reason, || {
            let errors = server.metrics();
            let errors = errors.sum_with("websocket_connection_errors_total", "reason", reason);
            (errors == 1.0).then_some(())
        });
    }
}

#[test]
fn promtool_finds_nothing_to_criticise() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({}));
    server.publish_all(&events::samples());
    for _ in 0..14 {
        client.expect_event();
    }
    let metrics = server.metrics();
    let mut promtool = Program::start(Command::new(tools::promtool()).args(["check", "metrics"]));
    promtool.write_stdin(metrics.text.as_bytes());
    promtool.end_stdin();
    let status = promtool.wait();
    let said = (promtool.remaining_lines(), promtool.stderr());
    assert!(status.success() && said.0.is_empty() && said.1.is_empty(), "{status}: {said:?}");
}

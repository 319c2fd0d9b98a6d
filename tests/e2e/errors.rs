//! Every error code, provoked; the connection survives all but the worst.

use serde_json::{Value, json};

use crate::support::{Client, Raw, Sent, Server, events};

fn subscribe(filters: &Value) -> String {
    json!({"type": "subscribe", "subscription_id": "s", "filters": filters}).to_string()
}

/// A text message and the code that answers it.
fn rows() -> Vec<(String, &'static str)> {
    let mut rows = Vec::new();
    let mut refuse = |code: &'static str, texts: &[&str]| {
        rows.extend(texts.iter().map(|text| ((*text).to_owned(), code)));
    };
    refuse(
        "INVALID_MESSAGE",
        &[
            "",
            "nonsense",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","subscription_id":"s"}"#,
            r#"{"type":"subscribe","subscription_id":7,"filters":{}}"#,
            r#"{"type":"subscribe","subscription_id":"","filters":{}}"#,
            r#"{"type":"subscribe","subscription_id":"s","filters":[]}"#,
            r#"{"type":"unsubscribe"}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"ping","timestamp":1}"#,
            r#"{"type":"ping","timestamp":"t"}{}"#,
            r#"{"type":"ping","type":"ping","timestamp":"t"}"#,
            r#"{"type":"ack"}"#,
            r#"{"type":"ack","message_id":"not a uuid"}"#,
            r#"{"type":"ping","timestamp":"t","ref":{}}"#,
            r#"{"type":"subscribe","subscription_id":"s","filters":{},"batch":{"max_events":2}}"#,
        ],
    );
    refuse(
        "UNSUPPORTED",
        &[
            r#"{"type":"dance"}"#,
            r#"{"type":"authenticate","token":"t"}"#,
            r#"{"type":"ack","up_to_seq":7}"#,
        ],
    );
    refuse("NOT_FOUND", &[r#"{"type":"unsubscribe","subscription_id":"never"}"#]);
    let publish = json!({"type": "publish", "event": events::created(1, "P0")}).to_string();
    refuse("UNAUTHORIZED", &[&publish]);
    let too_many = json!({"sources": (0..1001).map(|n| n.to_string()).collect::<Vec<_>>()});
    for filters in [
        json!({"severity": ["P0"]}),
        json!({"severities": ["P9"]}),
        json!({"severities": "P0"}),
        json!({"event_types": ["incident_exploded"]}),
        json!({"states": ["resolved"]}),
        json!({"labels": {"a": 1}}),
        json!({"labels": ["a"]}),
        json!({"incident_ids": ["7"]}),
        json!({"sources": [{"glob": "api-["}]}),
        json!({"labels": {"team": {"regex": "("}}}),
        json!({"text": {"regex": ".{1000}{1000}"}}),
        json!({"any_of": [{"any_of": [{"any_of": [{"any_of": [{}]}]}]}]}),
        json!({"sources": ["x".repeat(1025)]}),
        too_many,
    ] {
        refuse("INVALID_FILTER", &[&subscribe(&filters)]);
    }
    rows
}

#[test]
fn a_message_that_is_refused_gets_its_code_and_the_connection_goes_on() {
    let server = Server::with(&["limits.messages_burst=1000"]);
    let mut client = server.connect();
    for (text, code) in rows() {
        client.send_text(&text);
        let error = client.receive();
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{text}: {error}"
        );
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        client.expect_nothing();
    }
    client.close();
}

#[test]
fn a_refused_filter_leaves_the_subscription_as_it_was() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({"severities": ["P0"]}));
    client.send(&json!({"type": "subscribe", "subscription_id": "only", "filters": {"bad": 1}}));
    let error = client.expect_error("INVALID_FILTER");
    assert_eq!(error["subscription_id"], "only");
    let seq = server.publish(&events::created(1, "P0")).seq;
    assert_eq!(client.expect_event()["seq"], seq);
}

#[test]
fn a_binary_message_on_a_json_connection_is_unsupported() {
    let server = Server::start();
    let mut client = server.connect();
    client.send_binary(b"\x81\xa4type\xa4ping");
    client.expect_error("UNSUPPORTED");
    client.expect_nothing();
}

#[test]
fn messages_beyond_the_burst_are_refused_and_the_connection_goes_on() {
    let server = Server::with(&["limits.messages_per_second=5", "limits.messages_burst=50"]);
    let mut client = server.connect();
    let ping = json!({"type": "ping", "timestamp": "t"});
    for _ in 0..50 {
        client.send(&ping);
    }
    for _ in 0..50 {
        client.expect("pong");
    }
    let mut refused = 0;
    while refused == 0 {
        client.send(&ping);
        let answer = client.receive();
        if answer["type"] == "error" {
            assert_eq!(answer["code"], "RATE_LIMITED", "{answer}");
            refused += 1;
        }
    }
    crate::support::eventually("the rate allows a message again", || {
        client.send(&ping);
        (client.receive()["type"] == "pong").then_some(())
    });
}

#[test]
fn subscription_changes_beyond_the_burst_are_refused() {
    let server = Server::with(&[
        "limits.subscription_changes_per_second=1",
        "limits.subscription_changes_burst=2",
    ]);
    let mut client = server.connect();
    client.subscribe("a", &json!({}));
    let error = loop {
        client.send(&json!({"type": "subscribe", "subscription_id": "b", "filters": {}, "ref": 3}));
        let answer = client.receive();
        if answer["type"] == "error" {
            break answer;
        }
    };
    assert_eq!(error["code"], "RATE_LIMITED", "{error}");
    assert_eq!((&error["subscription_id"], &error["ref"]), (&json!("b"), &json!(3)));
    client.expect_nothing();
}

#[test]
fn a_subscription_too_many_is_refused_and_replacing_is_not() {
    let server = Server::with(&["limits.subscriptions_per_connection_max=2"]);
    let mut client = server.connect();
    client.subscribe("a", &json!({}));
    client.subscribe("b", &json!({}));
    client.send(&json!({"type": "subscribe", "subscription_id": "c", "filters": {}}));
    let error = client.expect_error("TOO_MANY_SUBSCRIPTIONS");
    assert_eq!(error["subscription_id"], "c");
    client.subscribe("b", &json!({"severities": ["P0"]}));
    client.unsubscribe("a");
    client.subscribe("c", &json!({}));
}

#[test]
fn a_message_too_large_ends_the_connection_with_1009() {
    let server = Server::start();
    let mut client = server.connect();
    let fits = 64 * 1024 - r#"{"type":"ping","timestamp":""}"#.len();
    client.send(&json!({"type": "ping", "timestamp": "x".repeat(fits)}));
    client.expect("pong");
    client.send(&json!({"type": "ping", "timestamp": "x".repeat(fits + 1)}));
    let closed = client.read_to_close();
    assert_eq!(closed.code, 1009);
    assert!(closed.assert_announced().is_empty(), "{closed:?}");
}

#[test]
fn a_breach_of_the_framing_ends_the_connection_with_1002() {
    let server = Server::start();
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    // A text frame that is not masked (RFC 6455 section 5.1).
    raw.write(b"\x81\x02{}");
    let closing = raw.message();
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(1002)));
    assert!(matches!(raw.next(), Sent::Close(1002)));
    assert!(matches!(raw.next(), Sent::End));
    let mut bystander: Client = server.connect();
    bystander.expect_nothing();
}

//! The base protocol, message by message.

use serde_json::{Value, json};

use crate::support::shapes::{SHAPES, assert_exact};
use crate::support::{Server, events, eventually};

/// What a client says, and what it is told; an error's text is not compared.
type Row = (&'static str, Value, Vec<Value>);

fn filters(given: &Value) -> Value {
    let mut all = json!({
        "event_types": [], "severities": [], "states": [], "sources": [],
        "affected_resources": [], "labels": {}, "incident_ids": [],
    });
    for (field, value) in given.as_object().expect("an object") {
        all[field] = value.clone();
    }
    all
}

/// In the order in which one connection says them.
fn rows() -> Vec<Row> {
    let every_field = json!({
        "event_types": ["incident_created", "comment_added"], "severities": ["P0", "P1"],
        "states": ["Detected", "Resolved"], "sources": ["a", "b"], "affected_resources": ["db"],
        "labels": {"team": "sre", "env": "prod"}, "incident_ids": [events::id(1), events::id(2)],
    });
    let subscribe = |id: &str, filters: &Value| json!({"type": "subscribe", "subscription_id": id, "filters": filters});
    let subscribed = |id: &str, given: &Value| json!({"type": "subscribed", "subscription_id": id, "filters": filters(given)});
    let unsubscribe = |id: &str| json!({"type": "unsubscribe", "subscription_id": id});
    let unsubscribed = |id: &str| json!({"type": "unsubscribed", "subscription_id": id});
    let not_found = |id: &str| json!({"type": "error", "code": "NOT_FOUND", "message": "…", "subscription_id": id});
    let ping = |timestamp: &str| json!({"type": "ping", "timestamp": timestamp});
    let pong = |timestamp: &str| json!({"type": "pong", "timestamp": timestamp});
    let some = json!({"severities": ["P0"]});
    vec![
        ("unsubscribe before any subscribe", unsubscribe("a"), vec![not_found("a")]),
        ("subscribe to everything", subscribe("a", &json!({})), vec![subscribed("a", &json!({}))]),
        (
            "subscribe with every field",
            subscribe("b", &every_field),
            vec![subscribed("b", &every_field)],
        ),
        ("replace a subscription", subscribe("a", &some), vec![subscribed("a", &some)]),
        (
            "an id is any text",
            subscribe("日本 \"x\"\n", &some),
            vec![subscribed("日本 \"x\"\n", &some)],
        ),
        (
            "null is an empty field",
            subscribe("c", &json!({"severities": null, "labels": null})),
            vec![subscribed("c", &json!({}))],
        ),
        ("unsubscribe", unsubscribe("a"), vec![unsubscribed("a")]),
        ("unsubscribe again", unsubscribe("a"), vec![not_found("a")]),
        ("subscribe anew under an old id", subscribe("a", &some), vec![subscribed("a", &some)]),
        ("ping", ping("2026-01-02T03:04:05.678Z"), vec![pong("2026-01-02T03:04:05.678Z")]),
        ("a timestamp is any text", ping("when \"ever\" 🕰"), vec![pong("when \"ever\" 🕰")]),
        ("ack", json!({"type": "ack", "message_id": events::id(1)}), vec![]),
        (
            "unknown fields are ignored",
            json!({"type": "ping", "timestamp": "t", "x": [1]}),
            vec![pong("t")],
        ),
        (
            "the client's mark comes back",
            json!({"type": "ping", "timestamp": "t", "ref": "mine"}),
            vec![json!({"type": "pong", "timestamp": "t", "ref": "mine"})],
        ),
        (
            "the client's mark comes back with an error",
            json!({"type": "unsubscribe", "subscription_id": "zz", "ref": 7}),
            vec![
                json!({"type": "error", "code": "NOT_FOUND", "message": "…", "subscription_id": "zz", "ref": 7}),
            ],
        ),
    ]
}

#[test]
fn every_client_message_is_answered_as_the_table_says() {
    let server = Server::start();
    let mut client = server.connect();
    for (name, says, expected) in rows() {
        client.send(&says);
        for mut expected in expected {
            let told = client.receive();
            if expected["type"] == "error" {
                assert!(told["message"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
                expected["message"] = told["message"].clone();
            }
            assert_eq!(told, expected, "{name}");
        }
        client.expect_nothing();
    }
    client.close();
}

#[test]
fn every_server_message_has_exactly_its_fields() {
    let mut server = Server::start();
    let mut client = crate::support::Client::connect(&server.stream_url);
    let mut told = vec![client.receive()];
    told.push(client.subscribe("a", &json!({})));
    client.subscribe("b", &json!({}));
    server.publish(&events::created(1, "P0"));
    told.push(client.receive());
    for says in [
        json!({"type": "ping", "timestamp": "now"}),
        json!({"type": "unsubscribe", "subscription_id": "a"}),
        json!({"type": "nonsense"}),
    ] {
        client.send(&says);
        told.push(client.receive());
    }
    server.terminate();
    told.extend(client.read_to_close().messages);
    told.iter().for_each(assert_exact);
    let mut kinds: Vec<_> = told.iter().map(|message| message["type"].as_str()).collect();
    let mut all: Vec<_> = SHAPES.iter().map(|shape| Some(shape.message)).collect();
    kinds.sort_unstable();
    all.sort_unstable();
    assert_eq!(kinds, all, "each of them, once");
    assert!(server.wait().success());
}

#[test]
fn the_welcome_says_who_and_where_and_on_what_terms() {
    let server =
        Server::with(&["session.heartbeat_interval_secs=17", "limits.message_bytes_max=5000"]);
    let welcome = || crate::support::Client::connect(&server.stream_url).receive();
    let (first, second) = (welcome(), welcome());
    assert_ne!(first["session_id"], second["session_id"]);
    assert_eq!(first["epoch"], second["epoch"]);
    assert_eq!(first["protocol"], "alarmcast.v1");
    assert_eq!(first["heartbeat_interval_secs"], 17);
    assert_eq!(first["limits"]["message_bytes_max"], 5000);
    assert_eq!(first["limits"]["subscriptions_max"], 100);
    assert_eq!(first["seq"], 0);
    let newest = server.publish(&events::system("one")).seq;
    // Each shard learns of the event by itself.
    for _ in 0..4 {
        eventually("the welcome names the newest event", || {
            (welcome()["seq"] == newest).then_some(())
        });
    }
    let restarted = Server::start();
    let other = crate::support::Client::connect(&restarted.stream_url).receive();
    assert_ne!(first["epoch"], other["epoch"], "another process, another sequence");
}

#[test]
fn a_subprotocol_that_is_offered_is_chosen() {
    use tungstenite::client::IntoClientRequest;
    let server = Server::start();
    let mut request = server.stream_url.as_str().into_client_request().expect("a URL");
    let offer = "chat, alarmcast.v1.json".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", offer);
    let stream = std::net::TcpStream::connect(server.stream_addr()).expect("the server listens");
    let (_socket, response) = tungstenite::client(request, stream).expect("a handshake");
    assert_eq!(response.headers()["sec-websocket-protocol"], "alarmcast.v1.json");
}

//! Names and texts that clients choose: what of them comes into the log, and what of them
//! becomes a metric.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::guard::Row;
use super::{changed, with_headers};
use crate::support::{Raw, Server, events};

/// Forges a line of the log, drives a terminal, turns the rest of the line round, and is long.
fn nasty() -> String {
    format!(
        "\n{{\"level\":\"ERROR\"}}\r\n\x1b[2J\x1b]0;owned\x07\u{202e}\u{2028}\0{}",
        "x".repeat(1024 * 1024)
    )
}

/// What a notification of Alertmanager may hold.
fn notification(text: &str) -> Value {
    json!({
        "version": "4", "receiver": text, "truncatedAlerts": 7, "groupKey": text,
        "alerts": [{
            "status": "firing", "startsAt": "2026-01-02T03:04:05Z",
            "labels": {"alertname": "x", "severity": text}, "fingerprint": text,
        }, {
            "status": "firing", "startsAt": text, "labels": {"alertname": text},
        }],
    })
}

/// Everything that is written of what came from outside.
fn assert_harmless(log: &str) {
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line.len() < 1_000, "{} bytes in a line: {line}", line.len());
        assert_ne!(parsed["level"], "ERROR", "forged, or an error: {line}");
        // What JSON escapes comes out again in whatever shows it.
        for text in parsed.as_object().into_iter().flatten().filter_map(|(_, v)| v.as_str()) {
            let is_harmless = |it: char| !it.is_control() && !"\u{202e}\u{2028}".contains(it);
            assert!(text.chars().all(is_harmless), "{line}");
        }
    }
}

#[test]
fn what_is_logged_of_a_webhook_is_escaped_cut_and_seldom() {
    const NOTIFICATIONS: usize = 200;
    let short = nasty()[..100].to_owned();
    // A body of 5 MiB is read on a thread of its own.
    Row::new().holds_kib(48 * 1024).log_bytes(3_000).run(|server| {
        let post = |body: &Value| {
            let path = "/api/v1/webhooks/alertmanager";
            server.post(path, "application/json", body.to_string().as_bytes())
        };
        let answer = post(&notification(&nasty()));
        assert!([207, 400].contains(&answer.status), "{answer:?}");
        assert!(answer.body.len() < 4_000, "{} bytes: {answer:?}", answer.body.len());
        for _ in 0..NOTIFICATIONS {
            post(&notification(&short));
        }
        assert_harmless(&server.program.stderr());
        let told = server.program.stderr().matches("Alertmanager left out alerts").count();
        assert!((1..10).contains(&told), "{}", server.program.stderr());
    });
}

/// Whatever a client says, on whichever way in: no line in the log, and a short answer.
#[test]
fn nothing_that_a_client_says_is_logged() {
    let nasty = nasty();
    Row::with(&["limits.message_bytes_max=1048576"]).holds_kib(16 * 1024).log_bytes(500).run(|server| {
        let short = &nasty[..200];
        let mut client = server.connect();
        for message in [
            json!({"type": short}),
            json!({"type": "x".repeat(1_000_000)}),
            json!({"type": "subscribe", "subscription_id": "x".repeat(1_000_000), "filters": {}}),
            json!({"type": "subscribe", "subscription_id": "s", "filters": {(short): [short]}}),
            json!({"type": "subscribe", "subscription_id": "s", "filters": {"severities": [short]}}),
            json!({"type": "ping", "timestamp": "t", "ref": "x".repeat(1_000_000)}),
            json!({"type": "ack", "message_id": short}),
        ] {
            client.send(&message);
            let error = client.expect("error").to_string();
            assert!(error.len() < 2_000, "{} bytes: {error}", error.len());
        }
        client.close();
        let mut event = events::created(1, "P0");
        event["incident"]["severity"] = json!(nasty[..500_000]);
        let answer = server.post_events(&event).assert_status(400);
        assert!(answer.body.len() < 2_000, "{} bytes: {answer:?}", answer.body.len());
        let answer = server.post("/api/v1/events", &"x".repeat(10_000), b"{}").assert_status(415);
        assert!(answer.body.len() < 2_000, "{} bytes: {answer:?}", answer.body.len());
        let answer = server.get(&format!("/{}", "x".repeat(10_000))).assert_status(404);
        assert!(answer.body.len() < 2_000, "{} bytes: {answer:?}", answer.body.len());
    });
}

fn series(server: &Server) -> BTreeSet<String> {
    server.metrics().series().map(str::to_owned).collect()
}

/// Each way in which a client names something.
fn name_everything(server: &Server, name: &str) {
    let mut client = server.connect();
    client.subscribe(name, &json!({"sources": [name], "labels": {(name): name}}));
    client.subscribe(name, &json!({"sources": [name]}));
    client.send(&json!({"type": name, "ref": name}));
    client.expect_error("UNSUPPORTED");
    let mut incident = events::created(1, "P0");
    incident["incident"]["source"] = json!(name);
    incident["incident"]["labels"] = json!({(name): name});
    incident["incident"]["affected_resources"] = json!([name]);
    incident["incident"][name] = json!(name);
    let envelope = json!({"event": incident, "idempotency_key": name});
    server.post_events(&envelope).assert_status(200);
    client.expect_event();
    client.close();
    let mut system = events::system(name);
    system["category"] = json!(name);
    server.publish(&system);
    server.post_events(&json!({"event_type": name})).assert_status(400);
    server.get(&format!("/{name}")).assert_status(404);
    for request in [
        changed("/ws", &format!("/{name}")),
        with_headers(&format!("{name}: {name}\r\nOrigin: http://{name}\r\nUser-Agent: {name}\r\n")),
        with_headers(&format!("Sec-WebSocket-Protocol: {name}\r\n")),
    ] {
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(&request);
        raw.read_head();
    }
}

#[test]
fn what_clients_name_never_becomes_a_metric() {
    Row::new().keeps_secret("zebra").run(|server| {
        let before = series(server);
        for n in 0..20 {
            name_everything(server, &format!("zebra-{n}"));
        }
        let new: Vec<_> = series(server).difference(&before).cloned().collect();
        assert!(new.is_empty(), "{new:?}");
    });
}

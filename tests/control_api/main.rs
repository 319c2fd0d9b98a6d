//! The control plane over real sockets, with a real hub and a shard that only listens.

mod connections;
mod history;
mod plane;
mod runbook;
mod stalls;

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;

use alarmcast::base::clock::Clock;
use alarmcast::base::lifecycle::Stage;
use alarmcast::base::limits::{
    CONTROL_HEAD_BYTES_MAX, PUBLISH_BATCH_EVENTS_MAX, PUBLISH_BODIES_BYTES_MAX,
    PUBLISH_BODY_BYTES_MAX, PUBLISHED_EVENT_BYTES_MAX,
};
use alarmcast::config::Config;
use serde_json::{Value, json};

use plane::{ALERTMANAGER, EVENTS, Options, Plane, read, refused, start, system_event};

#[test]
fn one_event_is_answered_by_its_id_and_place() {
    let plane = start(Options::default());
    let first = plane.post_json(EVENTS, &system_event("one"));
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.json()["seq"], 1);
    assert_eq!(first.json()["message_id"].as_str().map(str::len), Some(36));
    assert_eq!(first.json().get("duplicate"), None);
    let envelope = json!({ "event": system_event("two"), "context": { "severity": "P1" } });
    assert_eq!(plane.post_json(EVENTS, &envelope).json()["seq"], 2);
    let messages: Vec<Value> =
        plane.delivered(2).iter().map(|event| event["message"].clone()).collect();
    assert_eq!(messages, ["one", "two"]);
}

#[test]
fn an_event_spread_over_lines_is_still_one() {
    let plane = start(Options::default());
    let text = serde_json::to_string_pretty(&system_event("pretty")).expect("JSON");
    let answer = plane.post(EVENTS, "application/json; charset=utf-8", text);
    assert_eq!((answer.status, answer.json()["seq"].as_u64()), (200, Some(1)));
}

#[test]
fn the_good_items_of_an_array_are_published_in_order() {
    let plane = start(Options::default());
    let wrong = json!({ "event_type": "incident_created", "incident": {
        "id": "018f0000-0000-7000-8000-000000000001", "severity": "P9", "source": "s", "title": "t",
    }});
    let answer = plane.post_json(EVENTS, &json!([system_event("a"), wrong, system_event("b"), 7]));
    assert_eq!(answer.status, 207, "{}", answer.text);
    let body = answer.json();
    assert_eq!((body["accepted"].as_u64(), body["rejected"].as_u64()), (Some(2), Some(2)));
    let results = &body["results"];
    assert_eq!((&results[0]["index"], &results[0]["seq"]), (&json!(0), &json!(1)));
    assert_eq!(results[1]["error"]["code"], "INVALID_MESSAGE");
    assert_eq!(results[1]["error"]["path"], "incident.severity");
    assert_eq!((&results[2]["index"], &results[2]["seq"]), (&json!(2), &json!(2)));
    assert_eq!(results[3]["index"], 3);
    assert_eq!(plane.delivered(2).len(), 2);
}

#[test]
fn lines_are_taken_by_content_type_or_by_sight() {
    let plane = start(Options::default());
    let lines = format!("{}\n\n{}\n", system_event("a"), system_event("b"));
    for (kind, seq) in
        [("application/x-ndjson", 1), ("application/jsonl", 3), ("application/json", 5)]
    {
        let answer = plane.post(EVENTS, kind, &lines);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
        assert_eq!(answer.json()["results"][0]["seq"], seq, "{kind}");
        assert_eq!(answer.json()["accepted"], 2, "{kind}");
    }
    let one = plane.post(EVENTS, "application/x-ndjson", system_event("c").to_string());
    assert_eq!(one.json()["results"][0]["seq"], 7);
}

#[test]
fn an_array_without_a_good_item_is_refused_and_an_empty_one_is_not() {
    let plane = start(Options::default());
    let answer = plane.post_json(EVENTS, &json!([{}, 1]));
    assert_eq!((answer.status, &answer.json()["rejected"]), (400, &json!(2)));
    let answer = plane.post_json(EVENTS, &json!([]));
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &json!(0)));
    assert_eq!(plane.publisher.stats().newest_seq.get(), 0);
}

#[test]
fn a_wrong_event_is_refused_with_its_path() {
    let plane = start(Options::default());
    for (event, path) in [
        (
            json!({ "event_type": "alert_received", "alert": {
            "id": "no uuid", "severity": "P1", "source": "s", "title": "t" } }),
            "alert.id",
        ),
        (json!({ "event": { "event_type": "comment_added", "author": 3 } }), "event"),
        (json!({ "event_type": "system_event" }), ""),
        (json!({ "event_type": "nothing" }), "event_type"),
    ] {
        let body = refused(&plane.post_json(EVENTS, &event), 400, "INVALID_MESSAGE");
        let said = body["path"].as_str().unwrap_or_default();
        assert!(said.starts_with(path), "{event}: {said}");
    }
    for text in ["", "nonsense", "{", "[{}", "{\"a\":1,\"a\":2}", "\u{feff}{}", "1e400"] {
        refused(&plane.post(EVENTS, "application/json", text), 400, "INVALID_MESSAGE");
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = plane.post(EVENTS, "application/json", format!("{{\"event\":{deep}}}"));
    refused(&answer, 400, "INVALID_MESSAGE");
}

#[test]
fn the_same_idempotency_key_is_published_once() {
    let plane = start(Options::default());
    let kind = ("content-type", "application/json");
    let body = system_event("once").to_string();
    let first = plane.post_with(EVENTS, &[kind, ("Idempotency-Key", "k1")], &body).json();
    let second = plane.post_with(EVENTS, &[kind, ("Idempotency-Key", "k1")], &body);
    assert_eq!(second.status, 200);
    assert_eq!(second.json()["message_id"], first["message_id"]);
    assert_eq!(second.json()["duplicate"], true);
    let mut inside = system_event("once");
    inside["idempotency_key"] = json!("k1");
    assert_eq!(plane.post_json(EVENTS, &inside).json()["seq"], first["seq"]);
    let both = plane.post_with(EVENTS, &[kind, ("Idempotency-Key", "k2")], inside.to_string());
    assert_eq!(refused(&both, 400, "INVALID_MESSAGE")["path"], "idempotency_key");
    let several = format!("[{body},{body}]");
    let several = plane.post_with(EVENTS, &[kind, ("Idempotency-Key", "k3")], several);
    refused(&several, 400, "INVALID_MESSAGE");
    let long = "x".repeat(257);
    let long = plane.post_with(EVENTS, &[kind, ("Idempotency-Key", &long)], &body);
    refused(&long, 400, "INVALID_MESSAGE");
}

#[test]
fn only_json_is_taken_and_it_must_be_called_so() {
    let plane = start(Options::default());
    let body = system_event("x").to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        refused(&plane.post(EVENTS, kind, &body), 415, "UNSUPPORTED");
        refused(&plane.post(ALERTMANAGER, kind, &body), 415, "UNSUPPORTED");
    }
    refused(&plane.post_with(EVENTS, &[("content-type", "")], &body), 415, "UNSUPPORTED");
    refused(&plane.post(ALERTMANAGER, "application/x-ndjson", &body), 415, "UNSUPPORTED");
}

#[test]
fn sizes_are_bounded_for_event_batch_and_body() {
    let plane = start(Options::default());
    let large = system_event(&"x".repeat(PUBLISHED_EVENT_BYTES_MAX));
    refused(&plane.post_json(EVENTS, &large), 413, "MESSAGE_TOO_LARGE");
    let answer = plane.post_json(EVENTS, &json!([large, system_event("small")]));
    assert_eq!(answer.status, 207);
    assert_eq!(answer.json()["results"][0]["error"]["code"], "MESSAGE_TOO_LARGE");
    let many = format!("[{}{{}}]", "{},".repeat(PUBLISH_BATCH_EVENTS_MAX));
    refused(&plane.post(EVENTS, "application/json", many), 413, "MESSAGE_TOO_LARGE");
    let most = format!("{}\n", system_event("x")).repeat(PUBLISH_BATCH_EVENTS_MAX);
    let answer = plane.post(EVENTS, "application/x-ndjson", most);
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (200, &json!(PUBLISH_BATCH_EVENTS_MAX))
    );
}

#[test]
fn a_body_beyond_the_limit_is_refused_declared_or_not() {
    use std::io::{Read, Write};
    let plane = start(Options::default());
    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    let answer = |extra: &str, chunks: usize| {
        let mut stream = plane.connect();
        stream.write_all(format!("{head}{extra}\r\n").as_bytes()).expect("sent");
        let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
        // The server may answer and close before it has read everything.
        let all = (0..chunks).try_for_each(|_| stream.write_all(chunk.as_bytes()));
        let mut text = vec![0; 32];
        let got =
            stream.read_exact(&mut text).map(|()| String::from_utf8_lossy(&text).into_owned());
        (all.is_ok(), got)
    };
    let (_, declared) = answer(&format!("Content-Length: {}\r\n", PUBLISH_BODY_BYTES_MAX + 1), 0);
    assert!(declared.expect("answered").starts_with("HTTP/1.1 413"));
    let (_, chunked) = answer("Transfer-Encoding: chunked\r\n", 17);
    // A reset that overtakes the answer is a refusal too.
    assert!(chunked.is_err() || chunked.is_ok_and(|text| text.starts_with("HTTP/1.1 413")));
    assert_eq!(plane.publisher.stats().newest_seq.get(), 0);
}

#[test]
fn a_full_hub_tells_publishers_to_wait_and_alertmanager_to_retry() {
    let options = Options { ingest_events_max: 3, hub_runs: false, ..Options::default() };
    let plane = start(options);
    let event = system_event("x");
    let publish = || alarmcast::protocol::parse_item(event.clone(), Clock::System.wall());
    let batch = vec![publish().expect("valid"), publish().expect("valid")];
    let waiting = plane.publisher.publish(batch).expect("room");
    let answer = plane.post_json(EVENTS, &json!([event, event]));
    refused(&answer, 429, "RATE_LIMITED");
    assert!(answer.header("retry-after").is_some_and(|text| text.parse::<u64>().is_ok()));
    let answer = plane.post_json(EVENTS, &json!([event, event, event, event]));
    refused(&answer, 413, "MESSAGE_TOO_LARGE");
    let payload = include_str!("../data/alertmanager_firing.json");
    let answer = plane.post(ALERTMANAGER, "application/json", payload);
    refused(&answer, 503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    assert!(
        plane.get("/metrics").text.contains("alarmcast_publish_refused_total{reason=\"full\"} 5")
    );
    drop(waiting);
}

#[test]
fn a_draining_server_refuses_publishers_and_is_not_ready() {
    let plane = start(Options::default());
    assert_eq!(plane.get("/health/ready").status, 200);
    plane.lifecycle.advance(Stage::Draining);
    let answer = plane.post_json(EVENTS, &system_event("late"));
    refused(&answer, 503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    let ready = plane.get("/health/ready");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reason"], "the server is draining");
    assert_eq!(plane.get("/health").status, 503);
    assert_eq!(plane.get("/health").json()["stage"], "draining");
    assert_eq!(plane.get("/health/live").status, 200);
}

#[test]
fn a_shard_that_does_not_turn_is_named() {
    let plane = start(Options::default());
    assert_eq!(plane.get("/health").json()["status"], "ready");
    let before = plane.get("/metrics").text;
    plane.deaf.store(true, Ordering::Release);
    let ready = loop {
        let ready = plane.get("/health/ready");
        if ready.status == 503 {
            break ready;
        }
        thread::yield_now();
    };
    assert_eq!(ready.json()["reason"], "shard 0 is stalled: its thread does not turn");
    let after = plane.get("/metrics").text;
    let count = "websocket_session_duration_seconds_count 1";
    assert!(before.contains(count) && after.contains(count), "what was measured is kept");
}

#[test]
fn unknown_paths_and_methods_are_refused_in_json() {
    let plane = start(Options::default());
    refused(&plane.get("/api/v2"), 404, "NOT_FOUND");
    let answer = plane.get(ALERTMANAGER);
    refused(&answer, 405, "UNSUPPORTED");
    assert_eq!(answer.header("allow"), Some("POST"));
    refused(&plane.post_json("/metrics", &json!({})), 405, "UNSUPPORTED");
    assert!(plane.get("/").json()["endpoints"].as_array().is_some_and(|list| list.len() == 12));
}

#[test]
fn alerts_of_alertmanager_enter_the_stream_once() {
    let plane = start(Options::default());
    let payload = include_str!("../data/alertmanager_firing.json");
    let first = plane.post(ALERTMANAGER, "application/json", payload);
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.json()["accepted"], 3);
    let again = plane.post(ALERTMANAGER, "application/json", payload);
    assert_eq!(again.json()["results"][2]["duplicate"], true);
    let alerts: Vec<Value> =
        plane.delivered(3).iter().map(|event| event["alert"].clone()).collect();
    assert_eq!(alerts.len(), 3);
    let alert = &alerts[0];
    for (field, expected) in [
        ("external_id", json!("c4a0b2d5f8e19a37")),
        ("source", json!("alertmanager")),
        ("severity", json!("P0")),
        ("title", json!("First-token latency of chat-large above 4s")),
        ("description", json!("p99 time to first token of chat-large is 6.2s.")),
        ("timestamp", json!("2026-03-01T10:00:12.345Z")),
        ("runbook_url", json!("https://runbooks.example/ttft")),
        ("affected_services", json!(["chat", "inference", "gpu-node-03:9400"])),
        ("status", json!("firing")),
        ("ends_at", Value::Null),
    ] {
        assert_eq!(alert[field], expected, "{field}");
    }
    assert_eq!(alert["labels"]["model"], "chat-large");
    assert_eq!(alert["annotations"]["summary"], alert["title"]);
    assert!(alert["generator_url"].as_str().is_some_and(|url| url.contains("histogram_quantile")));
    let resolved = &alerts[1];
    assert_eq!((&resolved["status"], &resolved["severity"]), (&json!("resolved"), &json!("P2")));
    assert_eq!(resolved["ends_at"], "2026-03-01T10:00:30Z");
    assert_eq!(resolved["title"], "VectorRecallLow");
    assert_eq!(
        (&alerts[2]["severity"], &alerts[2]["alert_type"]),
        (&json!("P3"), &json!("Unknown"))
    );
}

#[test]
fn a_resolved_alert_keeps_the_id_it_had_when_it_fired() {
    let plane = start(Options::default());
    let mut payload: Value =
        serde_json::from_str(include_str!("../data/alertmanager_firing.json")).expect("JSON");
    plane.post_json(ALERTMANAGER, &payload);
    payload["alerts"][0]["status"] = json!("resolved");
    payload["alerts"][0]["endsAt"] = json!("2026-03-01T10:05:00Z");
    let answer = plane.post_json(ALERTMANAGER, &payload).json();
    assert_eq!(answer["results"][0].get("duplicate"), None);
    let delivered = plane.delivered(4);
    assert_eq!(delivered[3]["alert"]["id"], delivered[0]["alert"]["id"]);
    assert_eq!(delivered[3]["alert"]["status"], "resolved");
}

#[test]
fn alertmanagers_severities_and_source_follow_the_configuration() {
    let mut config = Config::default();
    let settings = &mut config.webhooks.alertmanager;
    settings.source = "prom-eu".into();
    settings.severity_label = "model".into();
    settings.severities.insert("Chat-Large".into(), alarmcast::config::SeverityName::P1);
    settings.default_severity = alarmcast::config::SeverityName::P4;
    let plane = start(Options { config, ..Options::default() });
    plane.post(ALERTMANAGER, "application/json", include_str!("../data/alertmanager_firing.json"));
    let delivered = plane.delivered(3);
    let severities: Vec<&Value> = delivered.iter().map(|e| &e["alert"]["severity"]).collect();
    assert_eq!(severities, ["P1", "P4", "P4"]);
    assert_eq!(delivered[0]["alert"]["source"], "prom-eu");
}

#[test]
fn notifications_that_are_not_understood_are_refused() {
    let plane = start(Options::default());
    let payload: Value =
        serde_json::from_str(include_str!("../data/alertmanager_firing.json")).expect("JSON");
    let mut old = payload.clone();
    old["version"] = json!("3");
    let body = refused(&plane.post_json(ALERTMANAGER, &old), 400, "INVALID_MESSAGE");
    assert_eq!(body["path"], "version");
    let mut wrong = payload.clone();
    wrong["alerts"][1]["status"] = json!("perhaps");
    let body = refused(&plane.post_json(ALERTMANAGER, &wrong), 400, "INVALID_MESSAGE");
    assert_eq!(body["path"], "alerts[1].status");
    let mut late = payload;
    late["alerts"][1]["startsAt"] = json!("yesterday");
    let answer = plane.post_json(ALERTMANAGER, &late);
    assert_eq!(answer.status, 207, "{}", answer.text);
    assert_eq!(answer.json()["results"][1]["error"]["path"], "event.alert.timestamp");
    refused(&plane.post(ALERTMANAGER, "application/json", "{}"), 400, "INVALID_MESSAGE");
}

#[test]
fn metrics_have_the_promised_names_and_count() {
    let fallback = Some("seccomp said \"no\"".to_owned());
    let plane = start(Options { fallback, ..Options::default() });
    plane.post_json(EVENTS, &json!([system_event("a"), system_event("b")]));
    plane.stats.connections_active.set(3);
    plane.stats.connections_opened.set(5);
    plane.stats.connections_reset.add(2);
    let answer = plane.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "websocket_active_connections 3",
        "websocket_total_connections 5",
        "websocket_active_subscriptions 0",
        "websocket_messages_sent_total 0",
        "websocket_messages_received_total 0",
        "websocket_events_broadcast_total 2",
        "websocket_events_delivered_total 0",
        "websocket_connection_errors_total{reason=\"reset\"} 2",
        "websocket_send_errors_total 0",
        "websocket_session_duration_seconds_count 1",
        "websocket_message_latency_seconds_count 2",
        "websocket_message_latency_seconds_bucket{le=\"0.0025\"} 1",
        "websocket_broadcast_channel_usage_ratio 0",
        "websocket_connection_churn_total{event=\"opened\"} 5",
        "websocket_subscription_churn_total{event=\"added\"} 0",
        "websocket_events_filtered_total 0",
        "alarmcast_driver_info{driver=\"sim\",fallback_reason=\"seccomp said \\\"no\\\"\"} 1",
        "alarmcast_delivery_latency_seconds_count{priority=\"critical\"} 1",
        "alarmcast_delivery_latency_seconds_count{priority=\"high\"} 0",
        "alarmcast_inbox_depth{shard=\"0\"} 0",
        "alarmcast_stream_seq 2",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} in\n{}", answer.text);
    }
    let mut families = std::collections::BTreeSet::new();
    for line in answer.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(families.insert(line.split(' ').next()), "{line} twice");
    }
    assert!(answer.text.ends_with('\n'));
}

#[test]
fn the_end_waits_for_what_is_being_answered() {
    let mut plane = start(Options { hub_runs: false, ..Options::default() });
    let url = format!("http://{}{EVENTS}", plane.address);
    let request = thread::spawn(move || {
        let request = Plane::agent().post(&url).content_type("application/json");
        read(request.send(system_event("x").to_string()).expect("answered"))
    });
    while plane.publisher.usage().0 == 0 {
        thread::yield_now();
    }
    plane.stop.take().expect("not stopped").send(()).expect("serving");
    plane.run_hub();
    let answer = request.join().expect("no panic");
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(1)));
    plane.server.take().expect("serving").join().expect("ended without a force");
}

#[test]
fn bodies_of_unknown_length_share_one_budget() {
    use std::io::Write;
    let plane = start(Options::default());
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n"
    );
    let large = PUBLISH_BODIES_BYTES_MAX / PUBLISH_BODY_BYTES_MAX;
    let mut slow: Vec<TcpStream> = (0..large).map(|_| plane.connect()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(head.as_bytes()).expect("sent"));
    let event = system_event("x");
    // Until the server has seen all of the slow ones there is room.
    let refusal = loop {
        let answer = plane.post_json(EVENTS, &event);
        if answer.status != 200 {
            break answer;
        }
    };
    refused(&refusal, 429, "RATE_LIMITED");
    assert!(refusal.header("retry-after").is_some());
    drop(slow);
    while plane.post_json(EVENTS, &event).status != 200 {}
}

#[test]
fn a_head_without_end_is_refused() {
    use std::io::{Read, Write};
    let plane = start(Options::default());
    let one_header = format!("X: {}\r\n\r\n", "y".repeat(2 * CONTROL_HEAD_BYTES_MAX));
    let many_headers = "A: b\r\n".repeat(200) + "\r\n";
    for rest in [one_header, many_headers] {
        let mut stream = plane.connect();
        let head = format!("GET /health HTTP/1.1\r\nHost: x\r\n{rest}");
        // The server may answer before it has read everything.
        let _ = stream.write_all(head.as_bytes());
        let mut status = [0; 12];
        match stream.read_exact(&mut status) {
            Ok(()) => assert_eq!(&status, b"HTTP/1.1 431"),
            // A reset that overtakes the answer is a refusal too.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn a_drain_is_begun_once_and_by_who_says_that_it_sends_json() {
    const DRAIN: &str = "/api/v1/drain";
    let plane = start(Options::default());
    assert_eq!(plane.get(DRAIN).json()["stage"], "serving");
    refused(&plane.post(DRAIN, "text/plain", "{}"), 415, "UNSUPPORTED");
    for body in ["[]", "{\"window_secs\": -1}", "{\"window_secs\": 1.5}", "{\"seconds\": 1}", "{"] {
        refused(&plane.post(DRAIN, "application/json", body), 400, "INVALID_MESSAGE");
    }
    assert_eq!(plane.lifecycle.stage(), Stage::Serving);
    let begun = plane.post(DRAIN, "application/json", "");
    assert_eq!((begun.status, &begun.json()["stage"]), (202, &json!("draining")));
    assert_eq!(
        (&begun.json()["window_secs"], &begun.json()["timeout_secs"]),
        (&json!(1), &json!(3))
    );
    let again = plane.post_json(DRAIN, &json!({ "window_secs": 9 }));
    assert_eq!((again.status, &again.json()["window_secs"]), (202, &json!(1)));
    refused(&plane.post_json(EVENTS, &system_event("too late")), 503, "UNAVAILABLE");
}

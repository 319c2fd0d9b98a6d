//! `alarmcast replay`.

use std::process::Output;

use serde_json::{Value, json};

use crate::{Served, alarmcast, lines_of_json, run, serve_with, text};

/// Publishes so many events in one request; every fifth is an incident at P0.
fn publish(server: &Served, count: u64) {
    let event = |number: u64| match number % 5 {
        0 => json!({
            "event_type": "incident_created",
            "incident": {
                "id": format!("0192d3a0-0000-7000-8000-{number:012}"), "severity": "P0",
                "source": "test", "title": format!("number {number}"),
            },
        }),
        _ => json!({"event_type": "system_event", "category": "c", "message": "m"}),
    };
    let lines: String = (1..=count).map(|number| format!("{}\n", event(number))).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), lines).expect("written");
    let path = file.path().to_str().expect("text");
    let output = run(&["publish", path, "--control", &server.control]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn replay(server: &Served, arguments: &[&str]) -> Output {
    alarmcast(&["replay", "--control", &server.control]).args(arguments).output().expect("started")
}

fn seqs(output: &Output) -> Vec<u64> {
    lines_of_json(output).iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

#[test]
fn the_past_is_printed_as_tail_would_have_done_page_by_page() {
    let server = serve_with("127.0.0.1:0", &[]);
    let empty = replay(&server, &[]);
    assert!(empty.status.success() && empty.stdout.is_empty(), "{}", text(&empty.stderr));
    publish(&server, 2_500);
    let all = replay(&server, &[]);
    assert!(all.status.success() && all.stderr.is_empty(), "{}", text(&all.stderr));
    assert_eq!(seqs(&all), (1..=2_500).collect::<Vec<_>>());
    let rest = replay(&server, &["--after", "2490", "--json"]);
    assert_eq!(seqs(&rest), (2_491..=2_500).collect::<Vec<_>>());
    assert_eq!(
        text(&rest.stdout),
        text(&all.stdout).lines().skip(2_490).fold(String::new(), |all, line| all + line + "\n")
    );
    let urgent = replay(&server, &["--severity", "P0", "--min-priority", "critical"]);
    let incidents = lines_of_json(&urgent);
    assert_eq!(incidents.len(), 500);
    assert!(incidents.iter().all(|event| event["priority"] == "critical"));
    let titles = replay(&server, &["--title", "number 2500"]);
    assert_eq!(lines_of_json(&titles)[0]["event"]["incident"]["title"], "number 2500");
    let refused = replay(&server, &["--filter", "{\"severity\": []}"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("INVALID_FILTER"), "{}", text(&refused.stderr));
}

fn time(event: &Value) -> jiff::Timestamp {
    event["timestamp"].as_str().and_then(|text| text.parse().ok()).expect("a time")
}

#[test]
fn moments_bound_it_on_both_sides() {
    let server = serve_with("127.0.0.1:0", &[]);
    publish(&server, 3);
    let first_time = time(&lines_of_json(&replay(&server, &["--after", "2"]))[0]);
    // Until the clock has moved on.
    let (late, late_time) = loop {
        publish(&server, 1);
        let events = lines_of_json(&replay(&server, &[]));
        let last = events.last().expect("some");
        if time(last) > first_time {
            break (last["seq"].as_u64().expect("a seq"), time(last).to_string());
        }
    };
    let first_time = first_time.to_string();
    assert_eq!(seqs(&replay(&server, &["--since", &late_time])), [late]);
    let early = seqs(&replay(&server, &["--until", &first_time]));
    assert!(early.iter().copied().eq(1..late), "{early:?}");
    assert!(seqs(&replay(&server, &["--since", "1h"])).into_iter().eq(1..=late));
    assert_eq!(seqs(&replay(&server, &["--until", "1h"])), [0_u64; 0]);
    assert_eq!(seqs(&replay(&server, &["--since", "2100-01-01T00:00:00Z"])), [0_u64; 0]);
}

/// No sooner than half of the time that it took: whatever the machine is busy with.
#[test]
fn with_a_speed_the_pauses_come_back() {
    let server = serve_with("127.0.0.1:0", &[]);
    let demo = ["demo", "--rate", "4", "--duration", "2", "--seed", "1", "--control"];
    assert!(alarmcast(&demo).arg(&server.control).status().expect("started").success());
    let clock = alarmcast::base::clock::Clock::System;
    let start = clock.now();
    let events = lines_of_json(&replay(&server, &["--speed", "2x"]));
    let took = clock.now().since(start).as_secs_f64();
    let (first, last) = (time(&events[0]), time(events.last().expect("several")));
    let original = last.duration_since(first).as_secs_f64();
    assert!(original > 0.2 && took >= original / 2.0, "{took} s for {original} s");
}

#[test]
fn what_is_not_held_any_more_is_told_and_the_rest_printed() {
    let server = serve_with("127.0.0.1:0", &["--set", "history.events_max=1000"]);
    let start = "2020-01-01T00:00:00Z";
    publish(&server, 5_000);
    let all = replay(&server, &[]);
    assert!(all.status.success(), "the oldest that is held was asked for");
    let held = seqs(&all);
    let first = held[0];
    assert!(first > 1 && held.iter().copied().eq(first..=5_000), "{first}");
    for (arguments, told) in [
        (["--after", "7"], format!("events 8 to {} are not held any more; {first} is", first - 1)),
        (["--since", start], format!("begins with event {first} of 2")),
    ] {
        let output = replay(&server, &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(&told), "{}", text(&output.stderr));
        assert_eq!(seqs(&output), held, "{arguments:?}");
    }
    let future = replay(&server, &["--after", "6000"]);
    assert_eq!((future.status.code(), future.stdout.len()), (Some(1), 0));
    assert!(text(&future.stderr).contains("the newest event is 5000"), "{}", text(&future.stderr));
}

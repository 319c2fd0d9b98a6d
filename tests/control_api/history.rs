//! `GET /api/v1/events`: pages of the past.

use alarmcast::stream::history::Limits;
use serde_json::{Value, json};

use crate::plane::{EVENTS, Options, Plane, refused, start, system_event};

/// So many events, every tenth an incident of severity P0.
fn publish(plane: &Plane, count: u64) {
    let events: Vec<Value> = (1..=count)
        .map(|number| match number % 10 {
            0 => json!({
                "event_type": "incident_created",
                "incident": {
                    "id": format!("0192d3a0-0000-7000-8000-{number:012}"), "severity": "P0",
                    "source": "prometheus", "title": format!("number {number}"),
                },
            }),
            _ => system_event(&format!("number {number}")),
        })
        .collect();
    let answer = plane.post_json(EVENTS, &Value::from(events));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn seqs(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().expect("a list");
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

#[test]
fn the_past_is_read_page_by_page_to_its_end() {
    let plane = start(Options::default());
    publish(&plane, 250);
    let (mut after, mut all, mut pages) = (0, Vec::new(), 0);
    loop {
        let answer = plane.get(&format!("{EVENTS}?after={after}&limit=99&epoch=test"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        assert_eq!((&page["epoch"], &page["first_seq"]), (&json!("test"), &json!(1)));
        all.extend(seqs(&page));
        after = page["next_after"].as_u64().expect("a position");
        pages += 1;
        if page["more"] == false {
            break;
        }
    }
    assert_eq!((all, pages), ((1..=250).collect(), 3));
    let first = &plane.get(EVENTS).json()["events"][0];
    assert_eq!((&first["type"], &first["seq"]), (&json!("event"), &json!(1)));
    assert_eq!(seqs(&plane.get(EVENTS).json()).len(), 100);
}

#[test]
fn filters_are_those_of_the_stream() {
    let plane = start(Options::default());
    publish(&plane, 100);
    let of = |query: &str| seqs(&plane.get(&format!("{EVENTS}?{query}")).json());
    let incidents = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
    let by_json = "filters=%7B%22event_types%22%3A%5B%22incident_created%22%5D%7D";
    assert_eq!(of(by_json), incidents);
    assert_eq!(of("severities=P0,P1"), incidents);
    assert_eq!(of("min_priority=high&sources=prometheus&after=80"), [90, 100]);
    assert_eq!(of("limit=2&event_types=incident_created&after=10"), [20, 30]);
    assert_eq!(of("sources=nobody"), [0_u64; 0]);
}

#[test]
fn a_time_is_a_place_too() {
    let plane = start(Options::default());
    publish(&plane, 10);
    let at = |index: usize| {
        let page = plane.get(EVENTS).json();
        page["events"][index]["timestamp"].as_str().expect("a time").to_owned()
    };
    let from = seqs(&plane.get(&format!("{EVENTS}?since={}", at(0))).json());
    assert_eq!(from.len(), 10);
    assert_eq!(seqs(&plane.get(&format!("{EVENTS}?since=2100-01-01T00:00:00Z")).json()).len(), 0);
}

#[test]
fn lines_hold_one_message_each_and_headers_the_rest() {
    let plane = start(Options::default());
    publish(&plane, 20);
    let answer = plane.get(&format!("{EVENTS}?format=ndjson&limit=15"));
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> =
        answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 15);
    assert!(lines.iter().all(|line| line["type"] == "event"));
    let header = |name: &str| answer.header(name).map(str::to_owned);
    assert_eq!(header("alarmcast-epoch").as_deref(), Some("test"));
    assert_eq!(header("alarmcast-next-after").as_deref(), Some("15"));
    assert_eq!(header("alarmcast-more").as_deref(), Some("true"));
}

#[test]
fn what_is_gone_or_never_was_is_said_with_what_there_is() {
    let history = Limits { events_max: 20, ..Limits::default() };
    let plane = start(Options { history, ..Options::default() });
    publish(&plane, 100);
    let page = plane.get(EVENTS).json();
    assert_eq!((&page["first_seq"], &page["newest_seq"]), (&json!(81), &json!(100)));
    assert_eq!(seqs(&page), (81..=100).collect::<Vec<_>>());
    let expired = plane.get(&format!("{EVENTS}?after=79"));
    assert_eq!(refused(&expired, 410, "HISTORY_EXPIRED")["first_seq"], 81);
    assert_eq!(seqs(&plane.get(&format!("{EVENTS}?after=80")).json()).len(), 20);
    let other = plane.get(&format!("{EVENTS}?after=90&epoch=other"));
    assert_eq!(refused(&other, 410, "EPOCH_CHANGED")["first_seq"], 81);
    for future in ["101", "18446744073709551615"] {
        let answer = plane.get(&format!("{EVENTS}?after={future}"));
        assert_eq!(refused(&answer, 410, "EPOCH_CHANGED")["first_seq"], 81);
    }
}

#[test]
fn a_parameter_that_makes_no_sense_is_named() {
    let plane = start(Options::default());
    for (query, code, named) in [
        ("after=-1", "INVALID_MESSAGE", "after"),
        ("after=1.5", "INVALID_MESSAGE", "after"),
        ("since=yesterday", "INVALID_MESSAGE", "since"),
        ("after=0&since=2026-01-01T00:00:00Z", "INVALID_MESSAGE", "since"),
        ("limit=0", "INVALID_MESSAGE", "limit"),
        ("limit=1001", "INVALID_MESSAGE", "limit"),
        ("format=xml", "INVALID_MESSAGE", "format"),
        ("filters=7", "INVALID_MESSAGE", "filters"),
        ("filter=%7B%7D", "INVALID_MESSAGE", "filter"),
        ("severities=P9", "INVALID_FILTER", "severities"),
        ("incident_ids=x", "INVALID_FILTER", "incident_ids"),
        ("min_priority=urgent", "INVALID_FILTER", "min_priority"),
    ] {
        let answer = plane.get(&format!("{EVENTS}?{query}"));
        let body = refused(&answer, 400, code);
        let message = body["message"].as_str().expect("a text");
        assert!(message.contains(named), "{query}: {message}");
    }
}

//! `/api/v1/connections` before a shard that has none, or does not answer.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::plane::{Options, Plane, refused, start};

const CONNECTIONS: &str = "/api/v1/connections";
const SOMEBODY: &str = "/api/v1/connections/019ca8e1-9f40-7000-8000-0000000000aa";

#[test]
fn an_empty_server_has_an_empty_page() {
    let plane = start(Options::default());
    let answer = plane.get(&format!("{CONNECTIONS}?sort=lag&limit=1000&address=10.0.0.0/8"));
    let expected =
        json!({ "epoch": "test", "newest_seq": 0, "connections": [], "next_cursor": null });
    assert_eq!((answer.status, answer.json()), (200, expected));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_there_is() {
    let plane = start(Options::default());
    for (query, says) in [
        ("sort=size", "sort: must be age, lag, backlog, losses or address"),
        ("limit=0", "limit: must be from 1 to 1000"),
        ("limit=1001", "limit: must be from 1 to 1000"),
        ("limit=x", "limit: must be from 1 to 1000"),
        ("address=here", "address: a range is written as an IP address"),
        ("state=asleep", "state: must be handshake, open"),
        ("shard=-1", "shard: must be a shard's number"),
        ("order=lag", "order: is not a parameter; there are sort, limit"),
        ("cursor=age.0", "cursor: is not the next_cursor"),
        ("sort=lag&cursor=age.0.019ca8e19f4070008000000000000000", "cursor: is not"),
        ("cursor=age.xyz.019ca8e19f4070008000000000000000", "cursor: is not"),
        ("cursor=", "cursor: is not"),
    ] {
        let answer = plane.get(&format!("{CONNECTIONS}?{query}"));
        let body = refused(&answer, 400, "INVALID_MESSAGE");
        let message = body["message"].as_str().expect("a message");
        assert!(message.starts_with(says), "{query}: {message}");
    }
    refused(&plane.get(&format!("{CONNECTIONS}?shard=1")), 404, "NOT_FOUND");
    assert_eq!(plane.get(&format!("{CONNECTIONS}?shard=0")).status, 200);
    for path in ["x", "0-1-2", "%0a"] {
        let path = format!("{CONNECTIONS}/{path}");
        refused(&plane.get(&path), 400, "INVALID_MESSAGE");
        refused(&plane.delete(&path), 400, "INVALID_MESSAGE");
    }
    for query in ["code=1000", "code=x", "reason=because"] {
        refused(&plane.delete(&format!("{SOMEBODY}?{query}")), 400, "INVALID_MESSAGE");
    }
    refused(&plane.delete(CONNECTIONS), 405, "UNSUPPORTED");
}

#[test]
fn who_is_not_there_is_not_found() {
    let plane = start(Options::default());
    refused(&plane.get(SOMEBODY), 404, "NOT_FOUND");
    refused(&plane.delete(SOMEBODY), 404, "NOT_FOUND");
    refused(&plane.delete(&format!("{SOMEBODY}?code=4503")), 404, "NOT_FOUND");
}

#[test]
fn a_shard_that_does_not_answer_is_not_taken_for_an_empty_one() {
    let plane = start(Options::default());
    plane.deaf.store(true, Ordering::Release);
    let requests: [fn(&Plane) -> _; 3] = [
        |plane| plane.get(SOMEBODY),
        |plane| plane.delete(SOMEBODY),
        |plane| plane.get(CONNECTIONS),
    ];
    for request in requests {
        let answer = request(&plane);
        let body = refused(&answer, 503, "UNAVAILABLE");
        assert!(body["message"].as_str().is_some_and(|text| text.contains("shard 0")), "{body}");
        assert!(answer.header("retry-after").is_some());
    }
}

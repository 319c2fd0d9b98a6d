//! Filters and subscriptions that are too many, too deep, or dear to evaluate.

use std::iter::repeat_n;

use serde_json::{Value, json};

use super::guard::{Row, assert_linear, assert_linear_after};
use crate::support::{Client, Server, events, eventually};

/// Nothing but the filter itself is what is refused.
const SETTINGS: [&str; 5] = [
    "limits.message_bytes_max=1048576",
    "limits.messages_per_second=1000000",
    "limits.messages_burst=1000000",
    "limits.subscription_changes_per_second=1000000",
    "limits.subscription_changes_burst=1000000",
];

fn within(field: &str, depth: usize) -> Value {
    (0..depth).fold(json!({}), |filter, _| json!({ field: [filter] }))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn patterns(kind: &str, count: usize) -> Value {
    json!({"sources": (0..count).map(|n| json!({ kind: format!("a{n}") })).collect::<Vec<_>>()})
}

/// Beyond one of the limits of filters, or no filter at all.
fn refused() -> Vec<(&'static str, Value)> {
    let labels: serde_json::Map<_, _> =
        numbered(10_000).into_iter().map(|n| (n, json!("x"))).collect();
    let long = "x".repeat(100_000);
    let source = |kind: &str, pattern: &str| json!({"sources": [{ kind: pattern }]});
    vec![
        ("any_of 5 deep", within("any_of", 4)),
        ("none_of 5 deep", within("none_of", 4)),
        ("any_of 15 deep", within("any_of", 14)),
        ("10,000 terms", json!({"sources": numbered(10_000)})),
        ("10,000 resources", json!({"affected_resources": numbered(10_000)})),
        ("10,000 labels", json!({ "labels": labels })),
        ("10,000 values of a label", json!({"labels": {"a": numbered(10_000)}})),
        ("10,000 severities", json!({"severities": vec!["P0"; 10_000]})),
        ("10,000 alternatives", json!({"any_of": vec![json!({}); 10_000]})),
        ("10,000 ids", json!({"incident_ids": vec![events::id(1); 10_000]})),
        ("a list of 100 kB", json!({"sources": vec!["a"; 25_000]})),
        ("a value of 100 kB", json!({"sources": [long]})),
        ("a label of 100 kB", json!({"labels": {(long.clone()): "x"}})),
        ("a pattern of 100 kB", source("regex", &long)),
        ("a field of 100 kB", json!({(long.clone()): []})),
        (".{1000}{1000}", json!({"text": {"regex": ".{1000}{1000}"}})),
        (".{1000}{1000} of a source", source("regex", ".{1000}{1000}")),
        ("a million times \\w", source("regex", r"(\w{100}){100}")),
        ("nested repetitions", source("regex", "((((((a{9}){9}){9}){9}){9}){9})")),
        ("100 groups in each other", source("regex", &("(".repeat(100) + &")".repeat(100)))),
        ("a backreference", source("regex", r"(a)\1")),
        ("look-around", source("regex", "a(?=b)")),
        ("no expression", source("regex", "(")),
        ("no glob", source("glob", "[a")),
        ("9 expressions", patterns("regex", 9)),
        ("65 globs", patterns("glob", 65)),
        ("65 prefixes", patterns("prefix", 65)),
    ]
}

fn subscribe(id: &str, filters: &Value) -> Value {
    json!({"type": "subscribe", "subscription_id": id, "filters": filters})
}

#[test]
fn filters_beyond_the_limits_are_refused_with_invalid_filter() {
    // One of them is a message of 500 KiB, its values one by one, and the filter made of them.
    Row::with(&SETTINGS).holds_kib(8 * 1024).run(|server| {
        let mut client = server.connect();
        // Three times: what is kept of one is used for the next.
        for (name, filters) in vec![refused(); 3].concat() {
            client.send(&subscribe("hostile", &filters));
            let error = client.expect("error");
            assert_eq!(error["code"], "INVALID_FILTER", "{name}: {error}");
            assert_eq!(error["subscription_id"], "hostile", "{name}: {error}");
            assert!(error.to_string().len() < 1_500, "{name}: {error}");
        }
        // Too deep for JSON already: nobody gets to see a filter.
        for depth in [40, 10_000] {
            let text = format!(
                r#"{{"type":"subscribe","subscription_id":"s","filters":{}{{}}{}}}"#,
                r#"{"any_of":["#.repeat(depth),
                "]}".repeat(depth)
            );
            client.send_text(&text);
            client.expect_error("INVALID_MESSAGE");
        }
        client.expect_nothing();
        client.close();
        assert_eq!(server.metrics().sum("websocket_active_subscriptions"), 1.0);
    });
}

#[test]
fn filters_at_the_limits_are_taken_and_given_back() {
    const CONNECTIONS: usize = 20;
    let largest = [
        json!({"sources": numbered(1_000)}),
        within("any_of", 3),
        patterns("regex", 8),
        patterns("glob", 64),
    ];
    // About 1 MiB for the filters of all connections: they are the same.
    Row::with(&SETTINGS).holds_kib(1024).run(|server| {
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for client in &mut clients {
            for (n, filters) in largest.iter().enumerate() {
                client.subscribe(&n.to_string(), filters);
            }
        }
        clients.into_iter().for_each(Client::close);
        server.await_metric("websocket_active_subscriptions", 1.0);
    });
}

/// An event that costs its `length` where an expression is tried on it.
fn long_event(length: usize) -> Value {
    let mut event = events::created(1, "P3");
    event["incident"]["labels"] = json!({"path": "a".repeat(length) + "!"});
    event
}

/// Expressions that take exponential or quadratic time elsewhere.
#[test]
fn evaluating_a_hostile_expression_takes_linear_time() {
    let hostile = [
        json!({"regex": "(a+)+$"}),
        json!({"regex": "(a|aa)+$"}),
        json!({"regex": "(a*)*b"}),
        json!({"regex": "(.*a){12}$"}),
        json!({"regex": "a.*a.*a.*b"}),
        json!({"glob": "*a*a*a*a*a*a*b"}),
    ];
    // 2 MiB of events are published, and history keeps them in several forms.
    Row::with(&SETTINGS).holds_kib(16 * 1024).run(|server| {
        for matcher in hostile {
            let mut client = server.subscriber(&json!({"labels": {"path": matcher}}));
            // Comes behind the event that does not match, and so tells when that was evaluated.
            client.subscribe("end", &json!({"event_types": ["comment_added"]}));
            assert_linear(server, |size| {
                let event = long_event(size * 20_000);
                let comment = events::comment(1, "the end");
                let seq = server.publish_all(&[event, comment])[1].seq;
                assert_eq!(client.expect_event()["seq"], seq, "{matcher}");
            });
            client.close();
        }
    });
}

#[test]
fn subscriptions_beyond_the_cap_are_refused_and_the_connection_stays() {
    const ATTEMPTS: usize = 10_000;
    const CAP: usize = 100;
    const AT_ONCE: usize = 100;
    Row::with(&SETTINGS).run(|server| {
        let mut client = server.connect();
        let mut refused = 0;
        for first in (0..ATTEMPTS).step_by(AT_ONCE) {
            for n in first..first + AT_ONCE {
                client.send(&subscribe(&n.to_string(), &json!({"sources": [n.to_string()]})));
            }
            for n in first..first + AT_ONCE {
                let answer = client.receive();
                assert_eq!(answer["subscription_id"], n.to_string(), "{answer}");
                refused += usize::from(answer["code"] == "TOO_MANY_SUBSCRIPTIONS");
            }
        }
        assert_eq!(refused, ATTEMPTS - CAP);
        assert_eq!(server.metrics().sum("websocket_active_subscriptions"), (CAP + 1) as f64);
        // It goes on: what it holds may be replaced, and gets events.
        client.subscribe("7", &json!({"sources": ["tests"]}));
        let seq = server.publish(&events::created(1, "P0")).seq;
        assert_eq!(client.expect_event()["seq"], seq);
        client.close();
        server.await_metric("websocket_active_subscriptions", 1.0);
    });
}

/// So many in turn, each with a filter that nobody else has.
fn churn(client: &mut Client, rounds: usize) {
    const AT_ONCE: usize = 50;
    for first in (0..rounds).step_by(AT_ONCE) {
        for n in first..first + AT_ONCE {
            let filters = json!({"sources": [format!("s{n}"), {"prefix": format!("p{n}")}]});
            client.send(&subscribe("churn", &filters));
            client.send(&json!({"type": "unsubscribe", "subscription_id": "churn"}));
        }
        (0..AT_ONCE).for_each(|_| {
            client.expect("subscribed");
            client.expect("unsubscribed");
        });
    }
}

#[test]
fn subscribing_and_unsubscribing_without_end_takes_no_memory_and_linear_time() {
    Row::with(&SETTINGS).run(|server| {
        let mut client = server.connect();
        assert_linear(server, |size| churn(&mut client, size * 500));
        client.close();
        server.await_metric("websocket_active_subscriptions", 1.0);
    });
}

/// Within the limit of changes that everybody has: the rest is refused, and costs no more.
#[test]
fn churn_beyond_the_rate_is_refused_and_the_connection_stays() {
    Row::with(&["limits.subscription_changes_burst=10", "limits.messages_burst=1000"]).run(
        |server| {
            let mut client = server.connect();
            for _ in 0..200 {
                client.send(&subscribe("churn", &json!({})));
            }
            let answers: Vec<Value> = (0..200).map(|_| client.receive()).collect();
            let refused = answers.iter().filter(|answer| answer["code"] == "RATE_LIMITED").count();
            let taken = answers.iter().filter(|answer| answer["type"] == "subscribed").count();
            assert!(refused > 100 && taken >= 10 && refused + taken == 200, "{refused} {taken}");
            client.expect_nothing();
            client.close();
        },
    );
}

/// Leaving a group takes the same time however many are in it.
#[test]
fn the_same_filter_many_times_is_given_up_in_linear_time() {
    let settings = [&SETTINGS[..], &["limits.subscriptions_per_connection_max=10000"]].concat();
    let same = json!({"sources": ["same"]});
    Row::with(&settings).holds_kib(4 * 1024).run(|server| {
        let subscribed = |size: usize| {
            let mut client = server.connect();
            for ids in numbered(size * 2_500).chunks(100) {
                ids.iter().for_each(|id| client.send(&subscribe(id, &same)));
                ids.iter().for_each(|_| drop(client.expect("subscribed")));
            }
            client
        };
        // The answer to its close comes when everything was given up.
        assert_linear_after(server, subscribed, Client::close);
        await_subscriptions(server, 1);
    });
}

/// Filters that mean the same are one, whoever asks and however they are written.
#[test]
fn the_same_filter_from_a_thousand_connections_is_held_once() {
    const CONNECTIONS: usize = 1_000;
    let sources: Vec<String> =
        repeat_n("source-", 900).zip(0..).map(|(s, n)| format!("{s}{n}")).collect();
    let filter = json!({"sources": sources, "labels": {"a": {"regex": "^(x|y)+$"}}});
    let reversed: Vec<&String> = sources.iter().rev().collect();
    let filters = [&filter, &json!({"sources": reversed, "labels": {"a": {"regex": "^(x|y)+$"}}})];
    // A connection with a subscription, and far less than the 20 KiB of a filter each.
    Row::with(&SETTINGS).connections(4 * CONNECTIONS as u64).run(|server| {
        let mut raws = super::upgraded(server, CONNECTIONS);
        for (n, raw) in raws.iter_mut().enumerate() {
            raw.send(&subscribe("s", filters[n % 2]));
            assert_eq!(raw.message()["type"], "subscribed");
        }
        let mut event = events::created(1, "P0");
        event["incident"]["source"] = json!("source-7");
        event["incident"]["labels"] = json!({"a": "xyx"});
        let seq = server.publish(&event).seq;
        raws.iter_mut().for_each(|raw| assert_eq!(raw.message()["seq"], seq));
        drop(raws);
        await_subscriptions(server, 1);
    });
}

#[track_caller]
fn await_subscriptions(server: &Server, count: usize) {
    eventually("subscriptions end with their connections", || {
        let active = server.metrics().sum("websocket_active_subscriptions");
        (active == count as f64).then_some(())
    });
}

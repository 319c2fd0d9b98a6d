//! Which events a subscription brings.

use std::collections::HashMap;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Client, Server, events};

/// The events of the table, by the name under which its rows expect them.
fn corpus() -> Vec<(&'static str, Value)> {
    let mut api_incident = events::created(1, "P0");
    api_incident["incident"]["source"] = json!("api");
    api_incident["incident"]["affected_resources"] = json!(["db", "cache"]);
    api_incident["incident"]["labels"] = json!({"team": "sre", "env": "prod"});
    let mut batch_incident = events::incident(2, "P2");
    batch_incident["state"] = json!("Investigating");
    batch_incident["source"] = json!("batch");
    batch_incident["labels"] = json!({"team": "sre", "env": "test"});
    let updated = json!({
        "event_type": "incident_updated", "incident": batch_incident, "previous_state": "Triaged",
    });
    let mut alert = events::alert(3, "P1");
    alert["alert"]["source"] = json!("api");
    alert["alert"]["affected_services"] = json!(["db"]);
    let escalated = json!({
        "event_type": "escalated", "incident_id": events::id(2), "from_severity": "P2",
        "to_severity": "P1", "reason": "no answer",
    });
    let told_context = json!({
        "event": events::comment(98, "with context"),
        "context": {"severity": "P0", "state": "Triaged", "source": "api", "labels": {"team": "web"}},
    });
    vec![
        ("created", api_incident),
        ("updated", updated),
        ("alert", alert),
        ("comment", events::comment(1, "its incident is known")),
        ("stranger", events::comment(99, "its incident is not")),
        ("told", told_context),
        ("escalated", escalated),
        ("later", events::comment(2, "its incident was escalated")),
        ("system", events::system("no attributes at all")),
    ]
}

/// A filter and the names of the events that match it.
fn rows() -> Vec<(Value, &'static str)> {
    vec![
        (json!({}), "created updated alert comment stranger told escalated later system"),
        (json!({"event_types": ["comment_added"]}), "comment stranger told later"),
        (
            json!({"event_types": ["comment_added", "escalated"]}),
            "comment stranger told escalated later",
        ),
        (json!({"severities": ["P0"]}), "created comment told"),
        (json!({"severities": ["P0", "P1"]}), "created alert comment told escalated later"),
        (json!({"severities": ["P2"]}), "updated"),
        (json!({"severities": ["P4"]}), ""),
        (json!({"states": ["Detected"]}), "created comment"),
        (json!({"states": ["Investigating", "Triaged"]}), "updated told escalated later"),
        (json!({"sources": ["api"]}), "created alert comment told"),
        (json!({"sources": ["batch", "nobody"]}), "updated escalated later"),
        (json!({"affected_resources": ["db"]}), "created alert comment"),
        (json!({"affected_resources": ["cache", "queue"]}), "created comment"),
        (json!({"labels": {"team": "sre"}}), "created updated comment escalated later"),
        (json!({"labels": {"team": "sre", "env": "test"}}), "updated escalated later"),
        (json!({"labels": {"team": "sre", "env": "none"}}), ""),
        (json!({"incident_ids": [events::id(2)]}), "updated escalated later"),
        (json!({"incident_ids": [events::id(1), events::id(99)]}), "created comment stranger"),
        (json!({"severities": ["P0"], "event_types": ["comment_added"]}), "comment told"),
        (json!({"severities": ["P0"], "sources": ["batch"]}), ""),
        (json!({"sources": ["api"], "affected_resources": ["db"], "severities": ["P1"]}), "alert"),
        (json!({"sources": [{"glob": "a*"}]}), "created alert comment told"),
        (
            json!({"sources": [{"regex": "^(api|batch)$"}]}),
            "created updated alert comment told escalated later",
        ),
        (json!({"labels": {"env": {"exists": true}}}), "created updated comment escalated later"),
        (
            json!({"labels": {"team": ["web", {"prefix": "s"}], "env": {"glob": "*t"}}}),
            "updated escalated later",
        ),
        (json!({"min_priority": "high"}), "created alert escalated"),
        (json!({"text": {"regex": "."}}), "created updated alert"),
        (
            json!({"any_of": [{"severities": ["P2"]}, {"event_types": ["system_event"]}]}),
            "updated system",
        ),
        (json!({"none_of": [{"severities": ["P0", "P1", "P2"]}]}), "stranger system"),
    ]
}

/// Low like the lowest, so that it comes after everything that was published before it.
fn last() -> Value {
    json!({
        "event_type": "playbook_action_executed", "incident_id": events::id(500),
        "playbook_id": "p", "action_name": "the last event", "success": true, "message": "",
    })
}

/// Reads up to [`last`], which the client must have subscribed to.
#[track_caller]
fn seqs_up_to_last(client: &mut Client) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let message = client.expect_event();
        if message["event"]["action_name"] == "the last event" {
            return seqs;
        }
        seqs.push(message["seq"].as_u64().expect("a seq"));
    }
}

fn wants_last(client: &mut Client) {
    let only_that = json!({"event_types": ["playbook_action_executed"]});
    client.subscribe("last", &only_that);
}

#[test]
fn values_are_alternatives_and_fields_must_all_match() {
    let server = Server::start();
    let mut clients: Vec<_> = rows().iter().map(|(filter, _)| server.subscriber(filter)).collect();
    clients.iter_mut().for_each(wants_last);
    let (names, published): (Vec<_>, Vec<_>) = corpus().into_iter().unzip();
    let receipts = server.publish_all(&published);
    let names: HashMap<u64, &str> = receipts.iter().map(|receipt| receipt.seq).zip(names).collect();
    server.publish(&last());
    for ((filter, expected), mut client) in rows().into_iter().zip(clients) {
        let mut seqs = seqs_up_to_last(&mut client);
        // Priorities overtake each other; what came is the question here.
        seqs.sort_unstable();
        let came: Vec<&str> = seqs.iter().map(|seq| names[seq]).collect();
        assert_eq!(came.join(" "), expected, "{filter}");
    }
}

#[test]
fn an_event_that_several_subscriptions_match_comes_once() {
    let server = Server::start();
    let mut client = server.connect();
    for (id, filters) in [
        ("everything", json!({})),
        ("severity", json!({"severities": ["P0"]})),
        ("type", json!({"event_types": ["incident_created"]})),
        ("again", json!({"severities": ["P0"]})),
    ] {
        client.subscribe(id, &filters);
    }
    wants_last(&mut client);
    let seq = server.publish(&events::created(1, "P0")).seq;
    server.publish(&last());
    assert_eq!(seqs_up_to_last(&mut client), [seq]);
}

#[test]
fn an_ended_subscription_brings_nothing_and_the_others_go_on() {
    let server = Server::start();
    let mut client = server.connect();
    client.subscribe("incidents", &json!({"event_types": ["incident_created"]}));
    client.subscribe("comments", &json!({"event_types": ["comment_added"]}));
    wants_last(&mut client);
    client.unsubscribe("incidents");
    server.publish(&events::created(1, "P0"));
    let comment = server.publish(&events::comment(1, "still here")).seq;
    server.publish(&last());
    assert_eq!(seqs_up_to_last(&mut client), [comment]);
}

#[test]
fn a_replaced_filter_decides_from_its_confirmation_on() {
    let server = Server::start();
    let mut client = server.subscriber(&json!({"severities": ["P0"]}));
    wants_last(&mut client);
    let before = server.publish(&events::created(1, "P0")).seq;
    assert_eq!(client.expect_event()["seq"], before);
    client.subscribe("only", &json!({"severities": ["P3"]}));
    server.publish(&events::created(2, "P0"));
    let after = server.publish(&events::created(3, "P3")).seq;
    server.publish(&last());
    assert_eq!(seqs_up_to_last(&mut client), [after]);
}

#[test]
fn replacing_a_filter_neither_loses_nor_doubles_what_both_match() {
    const REPLACEMENTS: usize = 40;
    let server = Server::with(&["limits.subscription_changes_burst=1000"]);
    let mut client = server.subscriber(&json!({}));
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            (0..10 * REPLACEMENTS)
                .map(|number| server.publish(&events::system(&number.to_string())).seq)
                .collect::<Vec<_>>()
        });
        let filters = [json!({"event_types": ["system_event"]}), json!({})];
        let mut came = Vec::new();
        for filter in filters.iter().cycle().take(REPLACEMENTS) {
            client
                .send(&json!({"type": "subscribe", "subscription_id": "only", "filters": filter}));
            loop {
                let message = client.receive();
                if message["type"] == "subscribed" {
                    break;
                }
                came.push(message["seq"].as_u64().expect("an event"));
            }
        }
        let published = publisher.join().expect("all are published");
        while came.len() < published.len() {
            came.push(client.expect_event()["seq"].as_u64().expect("a seq"));
        }
        assert_eq!(came, published);
        client.expect_nothing();
    });
}

//! What operators see of connections and do to them, over real sockets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{Client, Program, Raw, Server, UPGRADE, events, eventually};

const CONNECTIONS: &str = "/api/v1/connections";

/// The connections on a page.
#[track_caller]
fn listed(server: &Server, query: &str) -> Vec<Value> {
    let page = server.get(&format!("{CONNECTIONS}?{query}")).assert_status(200).json();
    page["connections"].as_array().expect("a list").clone()
}

/// A client and its session's id.
#[track_caller]
fn join(server: &Server) -> (Client, String) {
    let mut client = Client::connect(&server.stream_url);
    let welcome = client.expect("welcome");
    (client, welcome["session_id"].as_str().expect("an id").to_owned())
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Publishes until events were shed; gives the seq of the last.
#[track_caller]
fn flood(server: &Server, quick: &mut Client) -> u64 {
    const ROUNDS_MAX: u32 = 2_000;
    let mut newest = 0;
    for round in 0..ROUNDS_MAX {
        newest = server.publish(&events::large("low", 10_000)).seq;
        quick.expect_event();
        if round.is_multiple_of(10) {
            newest = server.publish(&events::created(round, "P2")).seq;
            quick.expect_event();
        }
        if server.metrics().sum("alarmcast_events_shed_total") >= 20.0 {
            break;
        }
    }
    newest
}

/// Reads until so many events came or were told as lost: the seqs that came, and how many were
/// lost, by priority.
#[track_caller]
fn account(slow: &mut Raw, events: u64) -> (BTreeMap<String, Vec<u64>>, BTreeMap<String, u64>) {
    let (mut came, mut told) = (BTreeMap::<String, Vec<u64>>::new(), BTreeMap::new());
    let mut accounted = 0;
    while accounted < events {
        let message = slow.message();
        if message["type"] == "event" {
            let priority = message["priority"].as_str().expect("a priority");
            came.entry(priority.to_owned()).or_default().push(number(&message["seq"]));
            accounted += 1;
        } else if message["type"] == "dropped" {
            for (priority, count) in message["counts"].as_object().expect("counts") {
                *told.entry(priority.clone()).or_insert(0) += number(count);
                accounted += number(count);
            }
        }
    }
    (came, told)
}

#[test]
fn a_slow_client_is_shown_as_it_accounts_for_itself() {
    let server = Server::with(&["limits.outbox_messages_max=32"]);
    let mut slow = Raw::connect_with_little_room(server.stream_addr()).upgrade_by_name();
    slow.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {"severities": []}}));
    assert_eq!(slow.message()["type"], "subscribed");
    let (mut quick, quick_id) = join(&server);
    quick.subscribe("q", &json!({}));
    let newest = flood(&server, &mut quick);
    let page = server.get(&format!("{CONNECTIONS}?sort=lag")).assert_status(200).json();
    assert_eq!((&page["newest_seq"], &page["next_cursor"]), (&json!(newest), &json!(null)));
    let (shown, other) = (&page["connections"][0], &page["connections"][1]);
    assert_eq!(other["session_id"], quick_id, "{page}");
    assert_eq!(
        (&other["state"], &other["lag"], &other["lost"]),
        (&json!("open"), &json!(0), &json!(0))
    );
    assert_eq!((&shown["state"], &shown["extended"]), (&json!("congested"), &json!(true)));
    assert_eq!((&shown["address"], &shown["proxy"]), (&json!("127.0.0.1"), &json!(null)));
    assert!(number(&shown["in_flight"]["messages"]) > 0, "{shown}");
    let position = number(&shown["position"]);
    assert_eq!(number(&shown["lag"]), newest - position);
    let lanes = shown["lanes"].as_object().expect("lanes");
    let bytes: u64 = lanes.values().map(|lane| number(&lane["bytes"])).sum();
    assert_eq!(bytes, number(&shown["waiting"]["bytes"]));
    assert_eq!(bytes as f64, server.metrics().sum("alarmcast_outbox_bytes"));

    let (came, told) = account(&mut slow, newest);
    let losses = shown["losses"]["slow_consumer"].as_object().expect("losses");
    assert_eq!(losses.len(), 3);
    for (priority, count) in losses {
        assert_eq!(number(count), told[priority], "{priority}: {told:?}");
    }
    assert_eq!(number(&shown["lost"]), told.values().sum::<u64>());
    for (priority, seqs) in &came {
        // What waited came last, and all of it is beyond the position.
        let waiting = number(&lanes[priority]["messages"]) as usize;
        assert!(waiting <= seqs.len(), "{priority}");
        let waited = &seqs[seqs.len() - waiting..];
        assert!(waited.iter().all(|seq| *seq > position), "{priority}: {waited:?}");
    }
    let path = format!("{CONNECTIONS}/{}", shown["session_id"].as_str().expect("an id"));
    eventually("it has caught up", || {
        let shown = server.get(&path).assert_status(200).json();
        let is_done =
            shown["state"] == "open" && shown["lag"] == 0 && shown["waiting"]["messages"] == 0;
        is_done.then_some(())
    });
}

#[test]
fn pages_name_each_of_five_hundred_once_while_others_come_and_go() {
    let server = Server::start();
    let staying: Vec<(Client, String)> = (0..500).map(|_| join(&server)).collect();
    let mut others: Vec<(Client, String)> = (0..20).map(|_| join(&server)).collect();
    let mut seen = Vec::new();
    let mut cursor = None;
    for round in 0.. {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = server.get(&format!("{CONNECTIONS}?limit=37{after}")).assert_status(200).json();
        for connection in page["connections"].as_array().expect("a list") {
            seen.push(connection["session_id"].as_str().expect("an id").to_owned());
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        if round % 2 == 0 {
            others.pop().expect("more than rounds").0.close();
        } else {
            others.push(join(&server));
        }
    }
    let unique: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "nobody twice");
    let missing = staying.iter().filter(|(_, id)| !unique.contains(id)).count();
    assert_eq!(missing, 0, "of {}", seen.len());
}

#[test]
fn a_close_reaches_its_client_with_the_code_and_the_position_and_nobody_else() {
    let server = Server::start();
    let (mut other, _) = join(&server);
    other.subscribe("o", &json!({}));
    for (number, code, invites) in [(1, 1008, false), (2, 4001, true), (3, 4503, false)] {
        let (mut client, id) = join(&server);
        client.subscribe("s", &json!({"min_priority": "normal"}));
        let receipt = server.publish(&events::created(number, "P2"));
        client.expect_event();
        other.expect_event();
        let path = format!("{CONNECTIONS}/{id}");
        let shown = eventually("the delivery is done", || {
            let shown = server.get(&path).assert_status(200).json();
            (shown["position"] == receipt.seq && shown["in_flight"]["messages"] == 0)
                .then_some(shown)
        });
        let subscription = &shown["subscriptions"][0];
        assert_eq!(
            (&subscription["subscription_id"], &subscription["state"]),
            (&json!("s"), &json!("live"))
        );
        assert_eq!(subscription["filters"]["min_priority"], "normal");
        let query = if code == 1008 { String::new() } else { format!("?code={code}") };
        let answer = server.delete(&format!("{path}{query}")).assert_status(200).json();
        let expected =
            json!({"session_id": id, "outcome": "closing", "code": code, "after": receipt.seq});
        assert_eq!(answer, expected);
        let closed = client.read_to_close();
        assert_eq!(closed.code, code);
        let closing = closed.messages.last().expect("closing");
        assert_eq!(closing["resume"]["after"], receipt.seq, "{closing}");
        assert_eq!(closing.get("retry_after_ms").is_some(), invites, "{closing}");
        eventually("it is gone", || (server.get(&path).status == 404).then_some(()));
        assert_eq!(server.delete(&path).status, 404);
    }
    other.expect_nothing();
    let errors = server.metrics();
    assert_eq!(errors.sum_with("websocket_connection_errors_total", "reason", "operator"), 3.0);
}

#[test]
fn one_behind_a_proxy_is_found_by_either_address_and_one_that_says_nothing_by_its_state() {
    let server = Server::with(&["stream.trusted_proxies=127.0.0.2"]);
    let mut client = Raw::connect_from([127, 0, 0, 2], server.stream_addr());
    let request = UPGRADE.replacen("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n", 1);
    client.write(request.as_bytes());
    client.read_upgrade();
    let silent = Raw::connect(server.stream_addr());
    for query in ["address=192.0.2.0/24", "address=127.0.0.2", "state=open"] {
        let found = listed(&server, query);
        assert_eq!(found.len(), 1, "{query}: {found:?}");
        assert_eq!(
            (&found[0]["address"], &found[0]["proxy"]),
            (&json!("192.0.2.7"), &json!("127.0.0.2"))
        );
        assert_eq!(found[0]["extended"], false);
    }
    let waiting =
        eventually("the silent one is accepted", || listed(&server, "state=handshake").pop());
    assert_eq!((&waiting["position"], &waiting["encoding"]), (&json!(null), &json!(null)));
    let path = format!("{CONNECTIONS}/{}", waiting["session_id"].as_str().expect("an id"));
    assert_eq!(server.delete(&path).assert_status(200).json()["outcome"], "refused");
    let mut silent = silent;
    assert!(silent.read_to_end().starts_with("HTTP/1.1 503 "));
}

#[test]
fn the_command_line_lists_shows_and_closes() {
    let server = Server::start();
    let (mut client, id) = join(&server);
    client.subscribe("pager", &json!({"severities": ["P0"]}));
    let (_other, other_id) = join(&server);
    let run = |args: &[&str]| {
        let mut program = Program::alarmcast(
            &[&["connections"], args, &["--control", &server.control_url]].concat(),
        );
        let succeeded = program.wait().success();
        (succeeded, program.remaining_lines(), program.stderr())
    };
    let (succeeded, lines, said) = run(&["list", "--sort", "age"]);
    assert!(succeeded && lines.len() == 3 && lines[0].starts_with("SESSION"), "{lines:?} {said}");
    assert!(lines[1].starts_with(&id) && lines[2].starts_with(&other_id), "{lines:?}");
    let (_, lines, _) = run(&["list", "--limit", "1"]);
    assert!(lines.len() == 3 && lines[2].contains("--limit"), "{lines:?}");
    let (_, lines, _) = run(&["list", "--json", "--address", "127.0.0.0/8", "--state", "open"]);
    let ids: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["session_id"].clone())
        .collect();
    assert_eq!(ids, [id.as_str(), &other_id]);
    let (_, lines, _) = run(&["show", &id]);
    let text = lines.join("\n");
    assert!(text.contains("subscription  pager  live\n"), "{text}");
    assert!(text.contains("severities: [\"P0\"]"), "{text}");
    let (succeeded, lines, said) = run(&["close", &id, "--reconnect"]);
    assert!(succeeded && lines[0].starts_with("closing with 4001;"), "{lines:?} {said}");
    assert_eq!(client.read_to_close().code, 4001);
    let stranger = "019ca8e1-9f40-7000-8000-0000000000aa";
    for (args, says) in [
        (&["show", stranger][..], "NOT_FOUND: there is no connection"),
        (&["close", "1"], "is no session_id: it is the UUID"),
        (&["list", "--address", "here"], "address: a range is written as"),
    ] {
        let (succeeded, _, said) = run(args);
        assert!(!succeeded && said.contains(says), "{args:?}: {said}");
    }
}

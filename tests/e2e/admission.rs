//! Limits by address, on all shards together, and of handshakes, for each shard.

use std::io::Read;

use serde_json::json;

use crate::support::{Raw, Server, UPGRADE, events, eventually};

const GREEDY: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

#[track_caller]
fn knock(server: &Server, address: [u8; 4]) -> (Raw, u16, String) {
    let mut raw = Raw::connect_from(address, server.stream_addr());
    raw.write(UPGRADE.as_bytes());
    let (status, answer) = raw.answer();
    (raw, status, answer)
}

#[track_caller]
fn refused(server: &Server, reason: &str) -> f64 {
    server.metrics().sum_with("websocket_connection_errors_total", "reason", reason)
}

/// An address at its limit is answered before it has sent anything.
#[track_caller]
fn refusal_of(server: &Server, address: [u8; 4]) -> String {
    let (status, answer) = Raw::connect_from(address, server.stream_addr()).answer();
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(answer.contains(r#"{"code":"TOO_MANY_REQUESTS","message":""#), "{answer}");
    answer
}

#[test]
fn an_address_gets_so_many_connections_and_others_get_theirs() {
    const PLACES: usize = 10;
    let server = Server::with(&[&format!("limits.connections_per_address_max={PLACES}")]);
    // The kernel spreads them over both shards; the limit is of both together.
    let mut inside: Vec<Raw> = (0..PLACES)
        .map(|_| {
            let (raw, status, answer) = knock(&server, GREEDY);
            assert_eq!(status, 101, "{answer}");
            raw
        })
        .collect();
    for _ in 0..PLACES {
        assert!(refusal_of(&server, GREEDY).contains("as many connections as it may"));
    }
    assert_eq!(refused(&server, "address_connections"), PLACES as f64);
    assert_eq!(knock(&server, OTHER).1, 101);
    // Any kind of end gives the place back.
    inside.pop().expect("a connection").reset();
    drop(inside.pop());
    inside.pop().expect("a connection").end_sending();
    eventually("the places of those that left are free", || {
        (server.metrics().sum("alarmcast_shard_sockets") <= (PLACES - 3) as f64).then_some(())
    });
    inside.extend((0..3).map(|_| {
        let (raw, status, answer) = knock(&server, GREEDY);
        assert_eq!(status, 101, "{answer}");
        raw
    }));
    refusal_of(&server, GREEDY);
}

#[test]
fn connections_that_never_shake_hands_count_as_well() {
    let server = Server::with(&["limits.connections_per_address_max=3"]);
    let silent: Vec<Raw> =
        (0..3).map(|_| Raw::connect_from(GREEDY, server.stream_addr())).collect();
    server.await_metric("alarmcast_shard_sockets", 3.0);
    refusal_of(&server, GREEDY);
    assert_eq!(knock(&server, OTHER).1, 101);
    drop(silent);
}

#[test]
fn an_address_that_connects_too_often_is_told_to_wait() {
    let server = Server::with(&[
        // So seldom, and so many at once, that no machine is too slow to be caught.
        "limits.connects_per_address_per_second=1",
        "limits.connects_per_address_burst=40",
    ]);
    let mut refusals = 0;
    for _ in 0..200 {
        let (_, status, answer) = knock(&server, GREEDY);
        if status == 429 {
            assert!(answer.contains("connects too often"), "{answer}");
            refusals += 1;
            break;
        }
    }
    assert_eq!(refusals, 1, "of 200 connections at once");
    assert!(refused(&server, "address_rate") >= 1.0);
    assert_eq!(knock(&server, OTHER).1, 101);
    eventually("the address may connect again", || {
        let mut raw = Raw::connect_from(GREEDY, server.stream_addr());
        raw.write(UPGRADE.as_bytes());
        (raw.answer().0 == 101).then_some(())
    });
}

#[test]
fn a_flood_from_one_address_is_turned_away_while_others_connect() {
    let server = Server::with(&["limits.connections_per_address_max=1"]);
    let (_held, status, _) = knock(&server, GREEDY);
    assert_eq!(status, 101);
    let mut bystander = server.connect();
    // Nobody reads the answers: more than may be told at once are closed without a word.
    let mut flood: Vec<Raw> =
        (0..400).map(|_| Raw::connect_from(GREEDY, server.stream_addr())).collect();
    assert_eq!(knock(&server, OTHER).1, 101);
    bystander.expect_nothing();
    eventually("each of them is counted", || {
        (refused(&server, "address_connections") == 400.0).then_some(())
    });
    for raw in &mut flood {
        // An answer and an end, an end, or a reset; but an end.
        let mut stream = raw.stream();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    drop(flood);
    server.await_metric("alarmcast_shard_sockets", 2.0);
}

#[test]
fn handshakes_beyond_what_a_shard_works_on_are_refused_and_who_is_open_is_served() {
    const KNOCKING: usize = 12;
    let server = Server::with(&["limits.handshakes_per_shard_max=2"]);
    let mut open = server.subscriber(&json!({}));
    let mut silent: Vec<Raw> = (0..KNOCKING).map(|_| Raw::connect(server.stream_addr())).collect();
    // Nobody has said anything: who has an answer was refused.
    let has_answer = |raw: &Raw| {
        raw.stream().set_nonblocking(true).expect("a socket option");
        let is_there = raw.stream().peek(&mut [0]).is_ok();
        raw.stream().set_nonblocking(false).expect("a socket option");
        is_there
    };
    let let_in = eventually("each shard works on two at most, and the others are told", || {
        let pending = server.metrics().sum("alarmcast_handshakes_pending") as usize;
        let told = silent.iter().filter(|raw| has_answer(raw)).count();
        (pending + told == KNOCKING).then_some(pending)
    });
    assert!((2..=4).contains(&let_in), "{let_in}");
    assert_eq!(refused(&server, "handshakes_pending"), (KNOCKING - let_in) as f64);
    let seq = server.publish(&events::system("meanwhile")).seq;
    assert_eq!(open.expect_event()["seq"], seq);
    for raw in &mut silent {
        let is_refused = has_answer(raw);
        if !is_refused {
            raw.write(UPGRADE.as_bytes());
        }
        let (status, head) = raw.answer();
        assert_eq!(status, if is_refused { 503 } else { 101 }, "{head}");
        assert!(!is_refused || head.contains("\r\nRetry-After: "), "{head}");
    }
    server.await_metric("alarmcast_handshakes_pending", 0.0);
}

#[test]
fn handshakes_beyond_a_shards_rate_are_refused_and_soon_pass() {
    let settings =
        ["limits.handshakes_per_shard_per_second=1", "limits.handshakes_per_shard_burst=2"];
    let server = Server::with(&settings);
    let mut refused = 0;
    for _ in 0..8 {
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(UPGRADE.as_bytes());
        refused += usize::from(raw.answer().0 == 503);
    }
    assert!(refused > 0, "more than two shards take at once");
    eventually("the next one passes", || {
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(UPGRADE.as_bytes());
        (raw.answer().0 == 101).then_some(())
    });
}

//! Very many at once: who never read, who all come back, who come and go, and who come from
//! everywhere.

use std::collections::BTreeSet;
use std::env;
use std::thread;

use serde_json::json;

use super::guard::{Row, resident_kib};
use super::{await_errors, upgraded};
use crate::support::{Client, Raw, Server, UPGRADE, events};

/// Publishes so many small events of every priority; gives each one's seq.
#[track_caller]
fn flood(server: &Server, count: usize) -> BTreeSet<u64> {
    let event = |number: usize| match number % 20 {
        0 => events::created(number as u32, "P0"),
        1..5 => events::created(number as u32, "P3"),
        _ => events::system(&format!("number {number}")),
    };
    let receipts = server.publish_all(&(0..count).map(event).collect::<Vec<_>>());
    receipts.into_iter().map(|receipt| receipt.seq).collect()
}

#[track_caller]
fn take(client: &mut Client, seqs: &BTreeSet<u64>) {
    let mut missing = seqs.clone();
    while !missing.is_empty() {
        let seq = client.expect_event()["seq"].as_u64().expect("a seq");
        assert!(missing.remove(&seq), "{seq} twice, or never published");
    }
}

/// What each may cost beside what its lanes refer to, which all share: an outbox of references,
/// and what was gathered for its send.
const STALLED_KIB: u64 = 24;

#[test]
fn a_thousand_who_never_read_take_bounded_memory_and_nothing_from_those_who_do() {
    const STALLED: usize = 1_000;
    const GOOD: usize = 10;
    const BATCH: usize = 50;
    let settings = [
        "history.bytes_max=1048576",
        "limits.outbox_messages_max=200",
        "limits.write_timeout_secs=3600",
        "session.heartbeat_interval_secs=3600",
        "session.idle_timeout_secs=7200",
    ];
    let room = STALLED as u64 * STALLED_KIB;
    Row::with(&settings).holds_kib(16 * 1024 + room).run(|server| {
        let connect = |_| {
            let mut raw = Raw::connect_with_little_room(server.stream_addr()).upgrade_by_name();
            raw.subscribe(&json!({}));
            raw
        };
        let stalled: Vec<Raw> = (0..STALLED).map(connect).collect();
        let mut good: Vec<_> = (0..GOOD).map(|_| server.subscriber(&json!({}))).collect();
        let mut batches = |count: usize| {
            for _ in 0..count {
                let seqs = flood(server, BATCH);
                good.iter_mut().for_each(|client| take(client, &seqs));
            }
            resident_kib(server)
        };
        // Until every lane is at its watermark, and then as much again.
        let filled = batches(8);
        let shed = |server: &Server| server.metrics().sum("alarmcast_events_shed_total");
        assert!(shed(server) > 0.0, "nobody is behind");
        let later = batches(8);
        assert!(later < filled + filled / 10 + 4 * 1024, "{filled} KiB became {later} KiB");
        let metrics = server.metrics();
        let held = metrics.sum("alarmcast_shard_sockets");
        assert_eq!(held, (1 + STALLED + GOOD) as f64, "{}", metrics.text);
        good.into_iter().for_each(Client::close);
        drop(stalled);
    });
}

/// All of them lost their connection at once, and want what they missed.
#[test]
fn five_hundred_who_come_back_at_once_get_what_they_missed_while_others_go_on() {
    const THREADS: usize = 10;
    const EACH: usize = 50;
    const MISSED: usize = 100;
    Row::new().holds_kib(48 * 1024).run(|server| {
        let health = server.get("/health").json();
        let after = health["seq"].as_u64().expect("a seq");
        let missed: Vec<u64> = flood(server, MISSED).into_iter().collect();
        let mut live = server.subscriber(&json!({}));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let (epoch, missed) = (&health["epoch"], &missed);
                scope.spawn(move || {
                    let mut clients: Vec<_> = (0..EACH).map(|_| server.connect()).collect();
                    for client in &mut clients {
                        client.send(&json!({
                            "type": "subscribe", "subscription_id": "s", "filters": {},
                            "resume": {"epoch": epoch, "after": after},
                        }));
                    }
                    for mut client in clients {
                        assert_eq!(client.expect("subscribed")["resumed"], true);
                        for seq in missed {
                            assert_eq!(client.expect_event()["seq"], *seq, "missed");
                        }
                        await_caught_up(&mut client);
                        client.close();
                    }
                });
            }
            for _ in 0..20 {
                let seqs = flood(server, 5);
                take(&mut live, &seqs);
            }
        });
        let caught_up =
            server.metrics().sum_with("alarmcast_catch_ups_total", "outcome", "caught_up");
        assert_eq!(caught_up, (THREADS * EACH) as f64);
        live.close();
    });
}

/// Past what is live meanwhile.
#[track_caller]
fn await_caught_up(client: &mut Client) {
    while client.receive()["type"] != "caught_up" {}
}

/// Slots are used again at once: nobody may get what was meant for the one before, whose
/// completions may still be on their way.
///
/// `ALARMCAST_TEST_CONNECTS=100000` for as many as the table of rows has.
#[test]
fn connects_by_the_thousand_under_load_show_no_cross_talk() {
    const THREADS: u32 = 4;
    let connects =
        env::var("ALARMCAST_TEST_CONNECTS").map_or(1_000, |text| text.parse().expect("a number"));
    let rounds: u32 = connects / THREADS;
    Row::with(&["history.bytes_max=1048576"]).holds_kib(8 * 1024).run(|server| {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for round in 0..rounds {
                        come_and_go(server, thread * rounds + round);
                    }
                });
            }
        });
        let metrics = server.metrics();
        let opened = metrics.sum_with("websocket_connection_churn_total", "event", "opened");
        assert!(opened >= f64::from(THREADS * rounds), "{opened}");
    });
}

/// Leaves in one of four ways, sometimes amid a large event.
#[track_caller]
fn come_and_go(server: &Server, number: u32) {
    // The first numbers are known to the bystander.
    let number = number + 1_000;
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    raw.subscribe(&json!({"incident_ids": [events::id(number)]}));
    let mine = events::comment(number, &format!("for {number}"));
    let filler = events::comment(number, &"x".repeat(30_000));
    server.publish_all(&[mine, events::comment(number + 1, "for another"), filler]);
    assert_eq!(raw.message()["event"]["comment"], format!("for {number}"));
    match number % 4 {
        0 => raw.reset(),
        1 => raw.end_sending(),
        2 => assert_eq!(raw.message()["event"]["incident_id"], events::id(number)),
        _ => {}
    }
}

/// A cap by address is none to one who has 127.0.0.0/8: the cap of all is.
#[test]
fn as_many_addresses_as_one_likes_get_no_more_than_there_is_and_leave_room_for_the_known() {
    const PLACES: usize = 60;
    let settings = ["limits.connections_max=61", "limits.connections_per_address_max=20"];
    Row::with(&settings).connections(300).run(|server| {
        let from = |number: usize| [127, 1, (number / 250) as u8, (number % 250) as u8 + 1];
        let mut inside = Vec::new();
        for number in 0..300 {
            let mut raw = Raw::connect_from(from(number), server.stream_addr());
            raw.write(&forwarded(number));
            let (status, answer) = raw.answer();
            match status {
                101 => inside.push(raw),
                status => assert_eq!(status, 503, "{answer}"),
            }
        }
        assert_eq!(inside.len(), PLACES);
        await_errors(server, "too_many_connections", 300 - PLACES);
        // Who has twenty may not have one more, whatever it calls itself, though there is room again.
        drop(inside);
        server.await_metric("alarmcast_shard_sockets", 1.0);
        let mut held = upgraded(server, 19);
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(&forwarded(7));
        assert_eq!(raw.answer().0, 429);
        held.iter_mut().for_each(|raw| super::assert_answering("one of twenty", raw));
    });
}

/// A request that says it comes from somewhere else.
fn forwarded(number: usize) -> Vec<u8> {
    let header = format!("X-Forwarded-For: 192.0.2.{}\r\nUpgrade:", number % 250);
    UPGRADE.replacen("Upgrade:", &header, 1).into_bytes()
}

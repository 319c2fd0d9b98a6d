//! Clocks that jump, and time that passes while the server is stopped.

use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::guard::Row;
use super::{await_errors, upgraded};
use crate::support::{Client, Raw, Server, events, let_pass, tools};

/// Clients that answer pings until they have got so many events; these, and the clients.
#[track_caller]
fn readers(server: &Server, count: usize, events: usize) -> Vec<JoinHandle<(Vec<Value>, Client)>> {
    let clients: Vec<Client> = (0..count).map(|_| server.subscriber(&json!({}))).collect();
    let read = |mut client: Client| {
        thread::spawn(move || ((0..events).map(|_| client.expect_event()).collect(), client))
    };
    clients.into_iter().map(read).collect()
}

/// Stopped for much longer than a ping may go unanswered.
#[test]
fn a_server_that_was_stopped_takes_nobody_for_dead() {
    const COUNT: usize = 60;
    let settings = ["session.heartbeat_interval_secs=1", "session.idle_timeout_secs=3"];
    Row::with(&settings).connections(COUNT as u64).run(|server| {
        let readers = readers(server, COUNT, 2);
        let first = server.publish(&events::system("before")).seq;
        server.program.signal("STOP");
        let_pass(Duration::from_secs(6));
        server.program.signal("CONT");
        // Longer than the server holds back its judgement.
        let_pass(Duration::from_secs(8));
        let second = server.publish(&events::system("after")).seq;
        for reader in readers {
            let (events, client) = reader.join().expect("it was not taken for dead");
            assert_eq!((&events[0]["seq"], &events[1]["seq"]), (&json!(first), &json!(second)));
            client.close();
        }
        let metrics = server.metrics();
        for reason in ["heartbeat_missed", "idle_timeout", "reset"] {
            let count = metrics.sum_with("websocket_connection_errors_total", "reason", reason);
            assert_eq!(count, 0.0, "{reason}");
        }
        assert_eq!(metrics.sum("alarmcast_shard_stalls_total"), 0.0);
    });
}

/// The wall clock labels events, and that is all it does.
#[test]
fn a_wall_clock_that_jumps_by_hours_changes_neither_order_nor_deadlines() {
    const OFFSETS: [i64; 5] = [0, 3_600, -3_600, 7_200, 0];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("offset");
    let set_offset = |seconds: i64| {
        let next = folder.path().join("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("writable");
        fs::rename(&next, &path).expect("the same folder");
    };
    set_offset(0);
    let library = tools::faketime();
    let settings = ["session.heartbeat_interval_secs=1"];
    Row::with(&settings)
        .command(|command| {
            command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &path);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
        })
        .connections(20)
        .run(|server| {
            let readers = readers(server, 10, OFFSETS.len());
            let cut = upgraded(server, 5);
            cut.iter().for_each(Raw::cut_cable);
            let mut seqs = Vec::new();
            for offset in OFFSETS {
                set_offset(offset);
                seqs.push(server.publish(&events::system("labelled")).seq);
                let_pass(Duration::from_millis(600));
            }
            await_errors(server, "heartbeat_missed", cut.len());
            for reader in readers {
                let (events, client) = reader.join().expect("it was not taken for dead");
                assert!(events.iter().map(|event| &event["seq"]).eq(&seqs), "{events:?}");
                assert_labels(&events, &OFFSETS);
                client.close();
            }
            drop(cut);
        });
}

/// The server's clock did jump, as its labels show.
#[track_caller]
fn assert_labels(events: &[Value], offsets: &[i64]) {
    let time = |event: &Value| -> jiff::Timestamp {
        event["timestamp"].as_str().and_then(|text| text.parse().ok()).expect("a time")
    };
    for (place, pair) in events.windows(2).enumerate() {
        let jumped = time(&pair[1]).as_second() - time(&pair[0]).as_second();
        let expected = offsets[place + 1] - offsets[place];
        assert!((expected..expected + 600).contains(&jumped), "{jumped} for {expected}");
    }
}

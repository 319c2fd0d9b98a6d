//! Peers that are there no more, or as good as that: nothing tells so but the time that passes.

use std::thread;

use serde_json::{Value, json};

use super::guard::Row;
use super::{await_errors, narrow, upgraded};
use crate::support::{Raw, Server, events, eventually};

/// More than the kernels hold of it, and less than the backlog may be.
#[track_caller]
fn fill(server: &Server) {
    for _ in 0..10 {
        let batch: Vec<Value> = (0..20).map(|_| events::large("fill", 10_000)).collect();
        server.publish_all(&batch);
    }
}

fn backlog(server: &Server) -> f64 {
    server.metrics().sum("alarmcast_outbox_bytes")
}

#[test]
fn windows_that_stay_shut_are_given_up_though_nothing_is_acknowledged() {
    const EACH: usize = 20;
    let settings = ["limits.write_timeout_secs=2"];
    Row::with(&settings).holds_kib(16 * 1024).run(|server| {
        let shut = narrow(server, EACH);
        let silent = narrow(server, EACH);
        silent.iter().for_each(Raw::cut_cable);
        fill(server);
        await_errors(server, "write_timeout", 2 * EACH);
        server.await_metric("alarmcast_shard_sockets", 1.0);
        assert_eq!(backlog(server), 0.0);
        drop((shut, silent));
    });
}

/// Idle ones, and ones that are in the middle of an event.
#[test]
fn a_cut_cable_is_found_by_the_ping_and_freed() {
    const EACH: usize = 50;
    let settings = ["session.heartbeat_interval_secs=1"];
    Row::with(&settings).connections(2 * EACH as u64).holds_kib(16 * 1024).run(|server| {
        let idle = upgraded(server, EACH);
        let busy = narrow(server, EACH);
        idle.iter().chain(&busy).for_each(Raw::cut_cable);
        fill(server);
        await_errors(server, "heartbeat_missed", 2 * EACH);
        server.await_metric("alarmcast_shard_sockets", 1.0);
        assert_eq!(backlog(server), 0.0);
        drop((idle, busy));
    });
}

/// The same length of silence, but the pongs come: nobody is taken for dead.
#[test]
fn whoever_answers_pings_outlives_those_who_are_cut_off() {
    let settings = ["session.heartbeat_interval_secs=1"];
    Row::with(&settings).connections(40).run(|server| {
        let cut = upgraded(server, 20);
        cut.iter().for_each(Raw::cut_cable);
        let answering: Vec<_> = (0..20).map(|_| server.subscriber(&json!({}))).collect();
        let readers: Vec<_> = answering
            .into_iter()
            .map(|mut client| thread::spawn(move || (client.expect_event(), client)))
            .collect();
        await_errors(server, "heartbeat_missed", 20);
        eventually("those that are cut off are freed", || {
            (server.metrics().sum("alarmcast_shard_sockets") == 21.0).then_some(())
        });
        let seq = server.publish(&events::system("to the living")).seq;
        for reader in readers {
            let (event, client) = reader.join().expect("it was not taken for dead");
            assert_eq!(event["seq"], seq);
            client.close();
        }
        drop(cut);
    });
}

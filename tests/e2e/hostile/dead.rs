//! Peers that are there no more, or as good as that: nothing tells so but the time that passes.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
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

/// Bytes that the kernel holds for peers of the server, also for sockets that belong to no
/// process any more and only wait for room at their peer (/proc/net/tcp, proc(5)).
fn kernel_bytes_to_peers(server: SocketAddr) -> u64 {
    let IpAddr::V4(ip) = server.ip() else { panic!("the tests are on IPv4") };
    let server = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), server.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let sending = |row: &str| {
        let mut words = row.split_whitespace().skip(1);
        let is_of_server = words.next() == Some(server.as_str());
        let queues = words.nth(2).filter(|_| is_of_server)?;
        u64::from_str_radix(queues.split_once(':')?.0, 16).ok()
    };
    table.lines().filter_map(sending).sum()
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
        eventually("the kernel holds something for them", || {
            (kernel_bytes_to_peers(server.stream_addr()) > 0).then_some(())
        });
        await_errors(server, "write_timeout", 2 * EACH);
        server.await_metric("alarmcast_shard_sockets", 1.0);
        let held = kernel_bytes_to_peers(server.stream_addr());
        assert_eq!(held, 0, "the kernel holds what nobody reads");
        assert_eq!(backlog(server), 0.0);
        drop((shut, silent));
    });
}

/// Told to go, it does not answer in time: it has not come so far yet.
#[test]
fn who_reads_slowly_and_is_closed_gets_what_the_kernel_holds_then() {
    Row::with(&[]).holds_kib(16 * 1024).run(|server| {
        let reader = narrow(server, 1).remove(0);
        fill(server);
        eventually("the kernel holds something for it", || {
            (kernel_bytes_to_peers(server.stream_addr()) > 0).then_some(())
        });
        let listed = server.get("/api/v1/connections?sort=backlog").json();
        let id = listed["connections"][0]["session_id"].as_str().expect("it is listed");
        server.delete(&format!("/api/v1/connections/{id}"));
        server.await_metric("alarmcast_shard_sockets", 1.0);
        let held = kernel_bytes_to_peers(server.stream_addr());
        assert!(held > 0, "the kernel still holds something for it");
        let mut read = Vec::new();
        reader.stream().read_to_end(&mut read).expect("an end that is no reset");
        assert!(read.len() as u64 >= held, "{} bytes of {held}", read.len());
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

//! What the server needs and does not get: descriptors, room in its rings, buffers.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::guard::{Row, processor_time};
use crate::support::{Raw, Server, UPGRADE, expected_driver, let_pass};

/// RLIMIT_NOFILE of the running server, the soft one.
#[track_caller]
fn limit_descriptors(server: &Server, count: u64) {
    let (pid, limit) = (server.program.id().to_string(), format!("--nofile={count}:"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.expect("util-linux has prlimit").success());
}

/// The lowest that is not open: with that as its limit the server gets no other.
#[track_caller]
fn lowest_free_descriptor(server: &Server) -> u64 {
    let path = format!("/proc/{}/fd", server.program.id());
    let names = fs::read_dir(path).expect("the server runs").flatten();
    let open: BTreeSet<u64> =
        names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("there are more")
}

/// On io_uring the shards need none to accept; the control plane does on either.
#[test]
fn without_descriptors_accepting_costs_next_to_nothing_and_recovers_with_the_first() {
    const WAITING: usize = 40;
    const WHILE: Duration = Duration::from_secs(2);
    Row::new().connections(WAITING as u64).log_bytes(2_000).run(|server| {
        limit_descriptors(server, lowest_free_descriptor(server));
        let knock = |_| {
            let mut raw = Raw::connect(server.stream_addr());
            raw.write(UPGRADE.as_bytes());
            raw
        };
        let mut waiting: Vec<Raw> = (0..WAITING).map(knock).collect();
        let control = server.control_url.strip_prefix("http://").expect("a URL");
        let knocking = TcpStream::connect(control).expect("the server listens");
        match expected_driver() {
            "epoll" => server.program.await_stderr("accepting connections failed"),
            _ => waiting.iter_mut().for_each(Raw::read_upgrade),
        }
        let before = processor_time(server);
        let_pass(WHILE);
        let spent = processor_time(server) - before;
        assert!(spent < WHILE / 20, "{spent:?} of {WHILE:?}");
        limit_descriptors(server, 1_024);
        if expected_driver() == "epoll" {
            waiting.iter_mut().for_each(Raw::read_upgrade);
        }
        drop(knocking);
        server.get("/health/live").assert_status(200);
    });
}

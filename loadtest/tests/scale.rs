//! The real server at scale: every subscriber gets every event, and an orderly end.
//!
//! Meant for `cargo test -p alarmcast-loadtest --release`. The server is `ALARMCAST_BIN`, else
//! cargo builds it with the same profile; its driver is `ALARMCAST_TEST_DRIVER`, else `uring`.

mod program;
mod server;

use std::env;
use std::fs;
use std::sync::{Mutex, PoisonError};

use alarmcast_loadtest::fanout::READY_FOR_DRAIN;
use alarmcast_loadtest::outcome::{Drain, Outcome};
use nix::sys::resource::{Resource, getrlimit};
use program::{arguments, run};
use server::Server;

/// One crowd at a time.
static MACHINE: Mutex<()> = Mutex::new(());

/// What a crowd is sent.
struct Flood {
    events: u32,
    per_second: f64,
}

const FLOOD: Flood = Flood { events: 20, per_second: 4.0 };

/// By which the server's resident memory grows for an idle connection with a subscription, at
/// most: what it holds, about 300 bytes (counted in the server's tests), and what the allocator
/// keeps of the arrival of all of them, which scatters. Not the kernel's part.
const IDLE_BYTES_MAX: f64 = 640.0;

#[test]
fn ten_thousand_subscribers_get_every_publish_and_an_orderly_end() {
    const CONNECTIONS: u32 = 10_000;
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(&driver(), 2, descriptors_max());
    let (code, outcome) = fanout(&args(&server, CONNECTIONS, &FLOOD), || server.terminate());
    assert_everything(code, &outcome, CONNECTIONS, &FLOOD, server);
    let each = outcome.server.unwrap_or_default().rss_bytes_per_connection;
    println!("{each:.0} resident bytes for each idle connection");
    assert!(each > 0.0 && each <= IDLE_BYTES_MAX, "{each} bytes for each idle connection");
}

/// On epoll this is not run: there each connection takes one of the process's descriptors, and
/// their limit is a bound. On io_uring sockets live in the rings' own tables, one for each
/// shard, and only a shard's table is bound by the limit.
#[test]
fn more_connections_than_descriptors_on_io_uring() {
    if driver() == "epoll" {
        return;
    }
    let descriptors = descriptors_max();
    let connections = u32::try_from(descriptors).expect("a limit was set") + 500;
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start("uring", 2, descriptors);
    let mut open_while_held = None;
    let (code, outcome) = fanout(&args(&server, connections, &FLOOD), || {
        open_while_held = Some(open_descriptors(server.id()));
        server.terminate();
    });
    assert_everything(code, &outcome, connections, &FLOOD, server);
    let open = open_while_held.expect("the load tester was ready for the drain");
    assert!(open < 100, "{open} descriptors are open for {connections} connections");
}

/// Five times as many as a process may usually have descriptors: eight rings' tables hold them. Not
/// on epoll, for the same reason as above.
#[test]
fn a_hundred_thousand_subscribers_of_one_process_get_critical_events_and_an_orderly_end() {
    const CONNECTIONS: u32 = 100_000;
    const FLOOD: Flood = Flood { events: 3, per_second: 0.2 };
    if driver() == "epoll" {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    // A client has 5 s to answer the end that it is told, and all share a machine that may be small.
    let settings = ["server.drain_window_secs=25", "server.drain_timeout_secs=60"];
    let server = Server::start_with("uring", 8, descriptors_max(), &settings);
    let critical = ["--priority", "critical", "--filters", r#"{"min_priority":"critical"}"#];
    let args = [args(&server, CONNECTIONS, &FLOOD), arguments(critical)].concat();
    let (code, outcome) = fanout(&args, || server.terminate());
    assert_everything(code, &outcome, CONNECTIONS, &FLOOD, server);
    let each = outcome.server.unwrap_or_default().rss_bytes_per_connection;
    println!("{each:.0} resident bytes for each idle connection");
    assert!(each > 0.0 && each <= IDLE_BYTES_MAX, "{each} bytes for each idle connection");
}

fn driver() -> String {
    env::var("ALARMCAST_TEST_DRIVER").unwrap_or_else(|_| "uring".to_owned())
}

/// What the server is limited to: this machine's limit, where it is not larger than most.
fn descriptors_max() -> u64 {
    const USUAL: u64 = 20_000;
    getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(soft, _)| soft.min(USUAL))
}

fn args(server: &Server, connections: u32, flood: &Flood) -> Vec<String> {
    arguments([
        "--url",
        &server.stream,
        "--control",
        &server.control,
        "--server-pid",
        &server.id().to_string(),
        "--connections",
        &connections.to_string(),
        "--events",
        &flood.events.to_string(),
        "--rate",
        &flood.per_second.to_string(),
        "--quiet",
        "20",
        "--expect-drain",
    ])
}

/// Open descriptors of a process.
fn open_descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).expect("the server runs").count()
}

/// Each connection got each event, and then `closing`, 1001 and a clean end; the server
/// ended well.
fn assert_everything(
    code: Option<i32>,
    outcome: &Outcome,
    connections: u32,
    flood: &Flood,
    server: Server,
) {
    let all = u64::from(connections);
    let (status, log) = server.wait();
    assert_eq!(outcome.complaints, [""; 0], "{outcome:#?}\n{log}");
    assert_eq!(code, Some(0));
    assert_eq!(outcome.connections.subscribed, all);
    assert_eq!(outcome.publishing.accepted, flood.events);
    assert_eq!(outcome.deliveries.delivered, all * u64::from(flood.events));
    let Some(Drain { endings, .. }) = &outcome.drain else { panic!("no drain was watched") };
    assert_eq!((endings.told, endings.answered, endings.clean), (all, all, all));
    assert_eq!(endings.close_codes.get(&1001), Some(&all));
    assert_eq!(status.code(), Some(0), "{log}");
    println!(
        "{all} connections at {:.0}/s; p99 {} µs; {:.2} µs of server CPU per delivery",
        outcome.connections.per_second,
        outcome.latency_us.p99,
        outcome.server.unwrap_or_default().cpu_us_per_delivery,
    );
}

/// Runs `fanout` with `args`, and `at_drain` once it is ready for it.
fn fanout(args: &[String], mut at_drain: impl FnMut()) -> (Option<i32>, Outcome) {
    run("fanout", args, |line| {
        if line == READY_FOR_DRAIN {
            at_drain();
        }
    })
}

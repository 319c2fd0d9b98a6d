//! Slow subscribers among fast ones, under a flood: nothing is lost untold, low goes first, and
//! critical events overtake.
//!
//! A debug build publishes too slowly for a million events: `cargo test -p alarmcast-loadtest
//! --release --test slow` has so many.

mod program;
mod server;

use std::sync::{Mutex, PoisonError};

use alarmcast_loadtest::slow::outcome::SlowOutcome;
use program::{arguments, run};
use server::Server;

const EVENTS: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// Fewer than may wait for a connection: they wait until the flood is over.
const CRITICALS: u64 = 100;
const FAST: u64 = 4;
const SLOW: usize = 2;
/// TCP_NOTSENT_LOWAT and one send of the server.
const UNSENT_BYTES_MAX: u64 = (8 + 32) * 1024;

static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn slow_subscribers_on_io_uring_are_told_exactly_what_they_miss() {
    told_exactly("uring");
}

#[test]
fn slow_subscribers_on_epoll_are_told_exactly_what_they_miss() {
    told_exactly("epoll");
}

fn told_exactly(driver: &str) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    // One shard: once the fast ones have a critical event, it is queued for the slow ones too.
    let server = Server::start(driver, 1, 1_000);
    let (code, outcome): (_, SlowOutcome) = run("slow", &args(&server), |_| {});
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(outcome.complaints, [""; 0], "{outcome:#?}\n{log}");
    assert_eq!((code, status.code()), (Some(0), Some(0)), "{log}");
    assert_eq!(outcome.fast.delivered, FAST * outcome.fast.published);
    assert_eq!(outcome.slow.len(), SLOW);
    for slow in &outcome.slow {
        assert_eq!(slow.published.sum(), EVENTS);
        assert_eq!(slow.delivered.sum() + slow.dropped.sum(), EVENTS);
        assert_eq!((slow.delivered.critical, slow.dropped.critical), (CRITICALS, 0));
        assert!(slow.dropped.low > 0 && slow.notices > 0, "nobody was slow: {outcome:#?}");
        assert_eq!(slow.behind.criticals, CRITICALS);
        assert!(slow.behind.unsent_bytes_max <= UNSENT_BYTES_MAX, "{outcome:#?}");
    }
}

fn args(server: &Server) -> Vec<String> {
    arguments([
        "--url",
        &server.stream,
        "--control",
        &server.control,
        "--server-pid",
        &server.id().to_string(),
        "--events",
        &EVENTS.to_string(),
        "--criticals",
        &CRITICALS.to_string(),
        "--fast",
        &FAST.to_string(),
        "--slow",
        &SLOW.to_string(),
        "--quiet",
        "30",
    ])
}

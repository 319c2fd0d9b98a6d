//! All are cut off at once and come back: none of them, and none of those who stayed, misses
//! anything. How long it takes is not asserted: that depends on the machine.

mod program;
mod server;

use alarmcast_loadtest::storm::StormOutcome;
use program::{arguments, run};
use server::Server;

const CONNECTIONS: u32 = 400;

#[test]
fn whoever_is_cut_off_with_all_others_comes_back_on_io_uring() {
    all_come_back("uring");
}

#[test]
fn whoever_is_cut_off_with_all_others_comes_back_on_epoll() {
    all_come_back("epoll");
}

fn all_come_back(driver: &str) {
    let server = Server::start(driver, 2, 4_000);
    let connections = CONNECTIONS.to_string();
    let args = [
        "--url",
        &server.stream,
        "--control",
        &server.control,
        "--connections",
        &connections,
        "--live",
        "40",
        "--rate",
        "20",
        "--before",
        "2",
        "--server-pid",
        &server.id().to_string(),
    ];
    let (_, outcome): (_, StormOutcome) = run("storm", &arguments(args), |_| {});
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!((outcome.holes, outcome.duplicates), (0, 0), "{outcome:#?}");
    assert_eq!((outcome.behind, outcome.lost, outcome.dropped), (0, 0, 0), "{outcome:#?}");
    let deliveries = [outcome.before, outcome.during, outcome.after].map(|span| span.deliveries);
    assert_eq!(deliveries.iter().sum::<u64>(), 40 * u64::from(outcome.published), "{outcome:#?}");
    assert!(outcome.published > 0 && outcome.back_seconds > 0.0, "{outcome:#?}");
}

//! Subscribers that never read, beside some that do: those are held, and these get everything. What
//! they cost is not asserted: that depends on the machine.

mod program;
mod server;

use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::stalled::StalledOutcome;
use program::{arguments, run};
use server::Server;

const STALLED: u32 = 20;

#[test]
fn who_never_reads_is_held_and_shed_on_io_uring() {
    let (overflows, shed) = held_beside_others("uring", &[]);
    assert!(overflows == 0 && shed > 0, "{overflows} overflows, {shed} shed");
}

#[test]
fn who_never_reads_is_held_and_shed_on_epoll() {
    let (overflows, shed) = held_beside_others("epoll", &[]);
    assert!(overflows == 0 && shed > 0, "{overflows} overflows, {shed} shed");
}

#[test]
fn without_a_subprotocol_who_never_reads_falls_back_to_history_on_io_uring() {
    let seen = held_beside_others("uring", &["--no-subprotocol".to_owned()]);
    assert_eq!(seen, (u64::from(STALLED), 0));
}

#[test]
fn without_a_subprotocol_who_never_reads_falls_back_to_history_on_epoll() {
    let seen = held_beside_others("epoll", &["--no-subprotocol".to_owned()]);
    assert_eq!(seen, (u64::from(STALLED), 0));
}

#[test]
fn a_second_server_takes_the_floods_without_who_never_reads_who_is_connected_once() {
    let (server, twin) = (Server::start("uring", 1, 1_000), Server::start("uring", 1, 1_000));
    let mut args = beside(&server, 2);
    let twin_pid = twin.id().to_string();
    args.extend(arguments(["--twin-url", &twin.stream]));
    args.extend(arguments(["--twin-control", &twin.control, "--twin-pid", &twin_pid]));
    let (_, outcome): (_, StalledOutcome) = run("stalled", &args, |_| {});
    // Each server had its floods, the first one also the one that fills, and only it has shed.
    let published = [&server, &twin].map(|it| sum(&it.control, "websocket_events_broadcast_total"));
    let shed = [&server, &twin].map(|it| sum(&it.control, "alarmcast_events_shed_total"));
    [server, twin].into_iter().for_each(|server| {
        server.terminate();
        assert_eq!(server.wait().0.code(), Some(0));
    });
    assert_eq!(published, [4 * 1_500, 3 * 1_500], "{outcome:#?}");
    assert!(shed[0] > 0 && shed[1] == 0, "{shed:?} shed");
    assert_eq!((outcome.descriptors, outcome.rounds.len()), (0, 2), "{outcome:#?}");
    for round in &outcome.rounds {
        assert!(round.placeholders.is_none() && round.memory.held >= STALLED, "{outcome:#?}");
        round.runs().for_each(|(_, run)| assert_eq!(run.deliveries.delivered, 7_500));
    }
    let p99 = |run: &Outcome| run.latency_us.p99 as f64;
    let ratios = outcome.rounds.iter().map(|round| p99(&round.with) / p99(&round.without));
    let by_round = outcome.p99_ratio_by_round;
    let by_event = &outcome.by_event;
    assert_eq!([by_event.without.events, by_event.with.events], [1_500; 2], "{outcome:#?}");
    assert!(by_event.p99_ratio > 0.0, "{outcome:#?}");
    assert!((by_round.powi(2) / ratios.product::<f64>() - 1.0).abs() < 1e-6, "{outcome:#?}");
}

/// Gives how many lanes fell back to history, and how many events were shed.
fn held_beside_others(driver: &str, more: &[String]) -> (u64, u64) {
    let server = Server::start(driver, 1, 1_000);
    let mut args = beside(&server, 1);
    args.extend_from_slice(more);
    let (_, outcome): (_, StalledOutcome) = run("stalled", &args, |_| {});
    let counted = ["alarmcast_overflows_total", "alarmcast_events_shed_total"]
        .map(|name| sum(&server.control, name));
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    // An io_uring has its connections in a table of its own, in the server as in the load tester.
    let descriptors = if driver == "epoll" { u64::from(STALLED) } else { 0 };
    assert_eq!(outcome.descriptors, descriptors, "{outcome:#?}");
    let round = &outcome.rounds[0];
    assert_eq!(round.placeholders.is_some(), descriptors > 0, "{outcome:#?}");
    for (_, run) in round.runs() {
        assert_eq!((run.deliveries.delivered, run.deliveries.missing), (7_500, 0), "{outcome:#?}");
    }
    assert!(round.memory.held >= STALLED, "{outcome:#?}");
    counted.into()
}

/// Arguments for floods of so many rounds.
fn beside(server: &Server, rounds: u32) -> Vec<String> {
    let [stalled, pid, rounds] = [STALLED, server.id(), rounds].map(|it| it.to_string());
    arguments([
        "--url",
        &server.stream,
        "--control",
        &server.control,
        "--connections",
        "5",
        "--stalled",
        &stalled,
        "--events",
        "1500",
        "--rate",
        "500",
        "--rounds",
        &rounds,
        "--server-pid",
        &pid,
    ])
}

/// Of a counter, over all its labels.
fn sum(control: &str, name: &str) -> u64 {
    let url = format!("{control}/metrics");
    let mut response = ureq::get(&url).call().expect("the server answers");
    let text = response.body_mut().read_to_string().expect("metrics are text");
    let values = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once(' '));
    values.map(|(_, value)| value.parse::<u64>().expect("a counter")).sum()
}

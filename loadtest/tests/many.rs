//! Many filters and two priorities against the real server: what each connection is due is
//! accounted for. Costs and latencies are for release builds, and for people to read.

mod program;
mod server;

use alarmcast_loadtest::filtered::FilteredOutcome;
use alarmcast_loadtest::filters::Kind;
use alarmcast_loadtest::outcome::Outcome;
use program::{arguments, run};
use server::Server;

const CONNECTIONS: u64 = 60;

/// Arguments for a server, followed by others.
fn args<const N: usize>(server: &Server, others: [&str; N]) -> Vec<String> {
    let id = server.id().to_string();
    let connections = CONNECTIONS.to_string();
    let mut args = arguments([
        "--url",
        &server.stream,
        "--control",
        &server.control,
        "--server-pid",
        &id,
        "--connections",
        &connections,
        "--quiet",
        "20",
    ]);
    args.extend(arguments(others));
    args
}

fn end(server: Server) {
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn each_connection_gets_the_events_of_its_class_whatever_the_number_of_filters() {
    each_gets_its_events(&["--rounds", "1"]);
}

#[test]
fn each_class_gets_its_turn() {
    each_gets_its_events(&["--rounds", "1", "--in-turn"]);
}

fn each_gets_its_events(others: &[&str]) {
    const EVENTS: u64 = 30;
    const CLASSES: u64 = 6;
    let server = Server::start("auto", 2, 1_000);
    // Two processes: connections are numbered over both.
    let mut args =
        args(&server, ["--events", "30", "--rate", "200", "--classes", "6", "--processes", "2"]);
    args.extend(others.iter().map(|&other| other.to_owned()));
    let (code, outcome): (_, FilteredOutcome) = run("filtered", &args, |_| {});
    assert_eq!((code, &outcome.complaints[..]), (Some(0), &[][..]), "{outcome:#?}");
    assert_eq!(outcome.runs.len(), Kind::ALL.len());
    for run in &outcome.runs {
        let deliveries = &run.outcome.deliveries;
        let due = EVENTS * CONNECTIONS / CLASSES;
        assert_eq!((deliveries.expected, deliveries.delivered), (due, due), "{run:#?}");
    }
    end(server);
}

#[test]
fn critical_events_among_low_ones_are_accounted_for_by_priority() {
    let server = Server::start("auto", 2, 1_000);
    let others =
        ["--events", "3000", "--rate", "100000", "--criticals", "20", "--critical-rate", "100"];
    let (code, outcome): (_, Outcome) = run("priorities", &args(&server, others), |_| {});
    assert_eq!((code, &outcome.complaints[..]), (Some(0), &[][..]), "{outcome:#?}");
    let priorities = outcome.priorities.expect("there were two");
    let (critical, low) = priorities.lanes.critical.zip(priorities.lanes.low).expect("both");
    assert_eq!((critical.publishing.accepted, low.publishing.accepted), (20, 3_000));
    assert_eq!((critical.delivered, critical.dropped), (20 * CONNECTIONS, 0));
    assert_eq!(low.delivered + low.dropped, 3_000 * CONNECTIONS);
    end(server);
}

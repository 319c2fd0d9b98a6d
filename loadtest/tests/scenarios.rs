//! Idle connections, connections that come and go, and all priorities in both encodings, against
//! the real server: what is counted, not how long it took.

mod program;
mod server;

use std::process::Command;

use alarmcast_loadtest::churn::ChurnOutcome;
use alarmcast_loadtest::idle::IdleOutcome;
use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::priority::Priority;
use alarmcast_loadtest::results;
use program::{arguments, run};
use serde::de::DeserializeOwned;
use server::Server;

const CONNECTIONS: u64 = 40;

/// Runs a scenario, in which nothing may be wrong.
fn outcome<T: DeserializeOwned + std::fmt::Debug>(
    server: &Server,
    scenario: &str,
    others: &[&str],
) -> T {
    let (id, connections) = (server.id().to_string(), CONNECTIONS.to_string());
    let mut args = arguments(["--url", &server.stream, "--control", &server.control]);
    args.extend(arguments(["--server-pid", &id, "--connections", &connections]));
    args.extend(others.iter().map(|&other| other.to_owned()));
    let (code, outcome) = run(scenario, &args, |_| {});
    assert_eq!(code, Some(0), "{outcome:#?}");
    outcome
}

fn end(server: Server) {
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn idle_connections_are_held_with_all_their_subscriptions() {
    let server = Server::start("auto", 1, 1_000);
    let others = ["--hold", "1", "--encoding", "msgpack", "--subscriptions", "5"];
    let idle: IdleOutcome = outcome(&server, "idle", &others);
    let connections = &idle.fanout.connections;
    assert_eq!((connections.subscribed, connections.lost), (CONNECTIONS, 0), "{idle:#?}");
    assert_eq!(idle.fanout.deliveries.delivered, 0);
    let measured = idle.fanout.server.expect("its process is known");
    assert!(measured.rss_bytes_idle > 0 && idle.kernel_held.slab_bytes > 0, "{idle:#?}");
    // Both ends of all, whatever else is on this machine.
    assert!(idle.kernel_connected.tcp_sockets >= 2 * CONNECTIONS, "{idle:#?}");
    let metrics = ureq::get(format!("{}/metrics", server.control)).call().expect("it answers");
    let metrics = metrics.into_body().read_to_string().expect("metrics are text");
    let churned = |what: &str| {
        let name = format!("websocket_subscription_churn_total{{{what}}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok())
    };
    assert_eq!(churned("event=\"added\""), Some(5 * CONNECTIONS), "{metrics}");
    end(server);
}

#[test]
fn who_stays_gets_everything_while_others_come_and_go() {
    let server = Server::start("auto", 2, 1_000);
    let others = ["--events", "100", "--rate", "50", "--visits", "40", "--stay", "200"];
    let churn: ChurnOutcome = outcome(&server, "churn", &others);
    assert_eq!(churn.fanout.deliveries.delivered, 100 * CONNECTIONS, "{churn:#?}");
    let visits = &churn.visits;
    assert_eq!((visits.due, visits.subscribed, visits.orderly), (80, 80, 80), "{churn:#?}");
    assert!(visits.connect_us.max > 0 && visits.per_second > 0.0, "{churn:#?}");
    assert!(visits.deliveries > 0, "visitors were subscribed to everything: {churn:#?}");
    end(server);
}

#[test]
fn all_priorities_are_accounted_for_in_both_encodings_whoever_shares_a_filter() {
    let server = Server::start("auto", 2, 1_000);
    let others = ["--events", "400", "--rate", "400", "--critical-rate", "30"];
    let mixed: Outcome = outcome(&server, "mixed", &others);
    let lanes = mixed.priorities.expect("there were four").lanes;
    for (priority, published) in
        [(Priority::Critical, 30), (Priority::High, 5), (Priority::Normal, 5), (Priority::Low, 400)]
    {
        let lane = lanes[priority].as_ref().expect("it was published");
        assert_eq!((lane.publishing.accepted, lane.unaccounted), (published, 0), "{lane:#?}");
        let all = u64::from(published) * CONNECTIONS;
        assert_eq!(lane.delivered + lane.dropped, all, "{lane:#?}");
        assert!(lane.due_us.max > 0, "{lane:#?}");
    }
    end(server);
}

#[test]
fn a_fan_out_in_message_pack_is_warmed_up() {
    let server = Server::start("auto", 2, 1_000);
    let others = [
        "--events",
        "200",
        "--rate",
        "100",
        "--encoding",
        "msgpack",
        "--warm-up",
        "1",
        "--settle",
        "1",
    ];
    let fanout: Outcome = outcome(&server, "fanout", &others);
    let deliveries = &fanout.deliveries;
    assert_eq!((deliveries.delivered, deliveries.missing), (200 * CONNECTIONS, 0), "{fanout:#?}");
    assert_eq!((deliveries.foreign, deliveries.duplicates), (0, 0), "{fanout:#?}");
    end(server);
}

#[test]
fn a_scenario_is_run_from_its_file_with_some_keys_set() {
    let server = Server::start("auto", 1, 1_000);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let output = folder.path().join("mixed");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/mixed.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_alarmcast-loadtest"));
    command.args(["run", file]);
    for (key, value) in [
        ("url", &*server.stream),
        ("control", &server.control),
        ("connections", "30"),
        ("events", "90"),
        ("warm-up", "0"),
        ("settle", "0"),
        ("output", &output.display().to_string()),
    ] {
        command.arg(format!("--set={key}={value}"));
    }
    let ran = command.output().expect("the load tester starts");
    assert!(ran.status.success(), "{ran:?}");
    let (file, series) = results::read(&output).expect("a result was written");
    assert_eq!(file.result["connections"]["subscribed"], 30);
    assert!(file.about.from_file.expect("it was").contains(&"--sharing=50".to_owned()));
    let mut names: Vec<_> = series.iter().map(|series| &*series.name).collect();
    names.retain(|name| !name.ends_with("-from-request"));
    assert_eq!(names, ["critical", "high", "normal", "low"]);
    end(server);
}

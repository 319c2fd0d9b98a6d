//! What runs against the real server leave on disk.

mod program;
mod server;

use std::path::Path;

use alarmcast_loadtest::outcome::Outcome;
use alarmcast_loadtest::results::{self, ResultFile};
use alarmcast_loadtest::series::Series;
use program::{arguments, run};
use server::Server;

const CONNECTIONS: u64 = 20;

/// Runs a scenario with its result in a folder; what was printed and what was written.
fn written(
    server: &Server,
    scenario: &str,
    folder: &Path,
    others: &[&str],
) -> (Outcome, ResultFile, Vec<Series>) {
    let (id, connections) = (server.id().to_string(), CONNECTIONS.to_string());
    let mut args = arguments(["--url", &server.stream, "--control", &server.control]);
    args.extend(arguments(["--server-pid", &id, "--connections", &connections]));
    args.extend(arguments(["--output", &folder.display().to_string(), "--label", "this one"]));
    args.extend(others.iter().map(|&other| other.to_owned()));
    let (code, printed): (_, Outcome) = run(scenario, &args, |_| {});
    assert_eq!((code, &printed.complaints[..]), (Some(0), &[][..]), "{printed:#?}");
    let (file, series) = results::read(folder).expect("a result was written");
    (printed, file, series)
}

#[test]
fn a_result_says_how_it_came_about_and_has_the_latencies_that_were_printed() {
    let server = Server::start("auto", 1, 1_000);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("fanout");
    let others = ["--events", "40", "--rate", "400"];
    let (printed, file, series) = written(&server, "fanout", &path, &others);
    assert_eq!(serde_json::to_value(&printed).expect("an outcome is JSON"), file.result);
    let about = &file.about;
    assert_eq!((&*about.scenario, about.label.as_deref()), ("fanout", Some("this one")));
    assert!(about.command.iter().any(|argument| argument == "--output"), "{about:?}");
    assert_eq!(about.versions.server.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let [low] = &series[..] else { panic!("{series:?}") };
    assert_eq!((&*low.name, low.histogram.len()), ("low", 40 * CONNECTIONS));
    assert_eq!(low.histogram.value_at_quantile(0.99), printed.latency_us.p99);
    assert_eq!(low.histogram.max(), printed.latency_us.max);
    let distribution = std::fs::read_to_string(path.join("low.hgrm")).expect("it is there");
    let total = format!("Total count    = {:12}]", 40 * CONNECTIONS);
    assert!(distribution.contains(&total), "{distribution}");

    let path = folder.path().join("priorities");
    let others = ["--events", "40", "--rate", "400", "--criticals", "5", "--critical-rate", "100"];
    let (printed, _, series) = written(&server, "priorities", &path, &others);
    let names: Vec<_> = series.iter().map(|series| &*series.name).collect();
    assert_eq!(names, ["critical", "critical-from-request", "low", "low-from-request"]);
    let critical = printed.priorities.expect("there were two").critical;
    assert_eq!(series[0].histogram.len(), critical.delivered);
    assert_eq!(series[0].histogram.value_at_quantile(0.5), critical.due_us.p50);
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

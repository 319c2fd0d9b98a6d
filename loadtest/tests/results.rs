//! What runs against the real server leave on disk.

mod program;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// `alarmcast-loadtest report`, which tells the files that it wrote.
fn report_of(runs: &[PathBuf], report: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_alarmcast-loadtest"))
        .arg("report")
        .args(runs)
        .arg("--output")
        .arg(report)
        .output()
        .expect("the load tester starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).expect("paths are text");
    assert!(told.lines().all(|path| Path::new(path).exists()), "{told}");
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
    let critical =
        printed.priorities.and_then(|priorities| priorities.lanes.critical).expect("one");
    assert_eq!(series[0].histogram.len(), critical.delivered);
    assert_eq!(series[0].histogram.value_at_quantile(0.5), critical.due_us.p50);

    let report = folder.path().join("report");
    let runs = ["fanout", "priorities"].map(|name| folder.path().join(name));
    report_of(&runs, &report);
    for name in ["latency", "cost"] {
        let svg = std::fs::read_to_string(report.join(name).with_extension("svg"));
        assert!(svg.expect("it was drawn").contains("<polyline"), "{name}");
        let png = std::fs::read(report.join(name).with_extension("png"));
        assert!(png.expect("it was drawn").starts_with(b"\x89PNG"), "{name}");
    }
    let document = std::fs::read_to_string(report.join("report.md")).expect("it was written");
    for row in
        ["| fanout | this one |", "| priorities | critical | 100 |", "| fanout | low | 800 |"]
    {
        assert!(document.contains(row), "{row} is not in {document}");
    }
    server.terminate();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

//! `alarmcast doctor` about the machine on which it runs.

use std::fs;

use serde_json::Value;

use crate::{run, text};

fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["doctor", "--json"], arguments].concat());
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

fn find<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["check"] == check).expect("the check")
}

fn now<'a>(report: &'a Value, check: &str) -> &'a str {
    find(report, check)["now"].as_str().expect("it is known")
}

/// The first number of the line, which the kernel writes for this process; the program has
/// inherited its limits.
fn open_files_max() -> String {
    let limits = fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()).expect("a limit").to_owned()
}

#[test]
fn it_names_this_machines_real_limits() {
    let (_, report) = json(&["--connections", "1000", "--shards", "1"]);
    let nofile = now(&report, "RLIMIT_NOFILE");
    assert!(nofile.starts_with(&format!("{} for ", open_files_max())), "{nofile}");
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("a range");
    let ports = range.split_whitespace().collect::<Vec<_>>().join(" to ");
    let found = now(&report, "net.ipv4.ip_local_port_range");
    assert!(found.starts_with(&format!("{ports}: ")), "{found}, not {ports}");
    let backlog = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a backlog");
    assert_eq!(now(&report, "net.core.somaxconn"), backlog.trim());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    assert_eq!(now(&report, "kernel"), release.trim());
    if let Ok(driver) = std::env::var("ALARMCAST_TEST_DRIVER") {
        assert_eq!(report["driver"], driver.as_str(), "the probe is of this process");
        let is_refused = find(&report, "io_uring")["severity"] == "advice";
        assert_eq!(is_refused, driver == "epoll", "{report}");
    }
}

#[test]
fn its_exit_code_follows_the_target() {
    let (code, report) = json(&["--connections", "10", "--shards", "1"]);
    assert_eq!((code, &report["is_possible"]), (Some(0), &Value::Bool(true)), "{report}");
    let server = ["--connections", "10", "--set", "limits.connections_max=9"];
    let (code, report) = json(&server);
    assert_eq!((code, &report["is_possible"]), (Some(1), &Value::Bool(false)));
    let first = &report["findings"][0];
    assert_eq!((&first["severity"], &first["now"]), (&"problem".into(), &"9".into()), "{first}");
    assert!(first["change"].as_str().is_some_and(|change| change.contains("connections_max=10")));
    let output = run(&[&["doctor"], &server[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("problem  limits.connections_max: 9"), "{said}");
    assert!(said.contains("something prevents 10 connections"), "{said}");
}

#[test]
fn without_a_number_it_judges_for_the_configured_maximum() {
    let (_, report) = json(&["--set", "limits.connections_max=1234"]);
    assert_eq!(report["connections"], 1234);
    for wrong in [&["doctor", "--connections", "0"][..], &["doctor", "--json", "--settings"]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn settings_are_lines_for_a_script() {
    // More than any process may open: there is something to change on every machine.
    let output = run(&["doctor", "--settings", "--connections", "10000000", "--shards", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.lines().any(|line| line.starts_with("sysctl fs.nr_open ")), "{said}");
    assert!(
        said.lines().all(|l| l.starts_with("sysctl ") || l.starts_with("limit nofile ")),
        "{said}"
    );
}

//! The choice of driver, with io_uring allowed as it is here, and with io_uring refused.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde_json::json;

use crate::support::{Program, Server, driver_argument, events, expected_driver};

const ON_FREE_PORTS: [&str; 5] =
    ["serve", "--stream-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"];

/// Starts the program where every system call of io_uring fails with EPERM, as container
/// runtimes have it. A filter holds for a thread and for what that starts, so a thread of its
/// own keeps it from the other tests.
fn start_without_io_uring(args: &[&str]) -> Program {
    thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            refuse_io_uring();
            Program::alarmcast(args)
        });
        filtered.join().expect("the program starts")
    })
}

fn refuse_io_uring() {
    const EPERM: u32 = 1;
    const SETUP_ENTER_REGISTER: [i64; 3] = [425, 426, 427];
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a supported machine");
    let rules: BTreeMap<_, _> =
        SETUP_ENTER_REGISTER.into_iter().map(|call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch);
    let program = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
    seccompiler::apply_filter(&program).expect("seccomp is allowed");
}

#[test]
fn the_driver_under_test_is_announced_and_a_metric_says_so() {
    let server = Server::start();
    let version = env!("CARGO_PKG_VERSION");
    let banner = format!("alarmcast {version} · driver {} · 2 shards", expected_driver());
    assert_eq!(server.banner, banner);
    let metrics = server.metrics();
    let labels = metrics.labels("alarmcast_driver_info");
    let name = if expected_driver() == "epoll" { "epoll" } else { "uring" };
    assert_eq!(labels["driver"], name);
    // By name, epoll is a choice and no fallback.
    let is_fallback = expected_driver() == "epoll" && driver_argument() == "auto";
    assert_eq!(labels["fallback_reason"].is_empty(), !is_fallback, "{labels:?}");
}

#[test]
fn where_io_uring_is_refused_auto_runs_on_epoll_with_one_warning_and_a_metric() {
    let args = [&ON_FREE_PORTS[..], &["--driver", "auto", "--shards", "2"]].concat();
    let mut server = Server::announced(start_without_io_uring(&args));
    assert!(server.banner.contains(" driver epoll "), "{}", server.banner);
    let metrics = server.metrics();
    let labels = metrics.labels("alarmcast_driver_info");
    assert_eq!(labels["driver"], "epoll");
    assert!(labels["fallback_reason"].contains("not permitted"), "{labels:?}");
    let mut client = server.subscriber(&json!({}));
    let seq = server.publish(&events::created(1, "P0")).seq;
    assert_eq!(client.expect_event()["seq"], seq);
    server.terminate();
    assert_eq!(client.read_to_close().code, 1001);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.program.stderr();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("io_uring") && warnings[0].contains("epoll"), "{log}");
}

#[test]
fn where_io_uring_is_refused_asking_for_it_fails_and_says_what_to_do() {
    let args = [&ON_FREE_PORTS[..], &["--driver", "uring"]].concat();
    let mut program = start_without_io_uring(&args);
    assert_eq!(program.wait().code(), Some(1));
    program.await_stderr("io_uring is not available");
    program.await_stderr("--driver epoll");
    assert!(program.remaining_lines().is_empty(), "nothing is announced");
}

#[test]
fn epoll_by_name_warns_of_nothing() {
    let args = [&ON_FREE_PORTS[..], &["--driver", "epoll", "--shards", "1"]].concat();
    let mut server = Server::announced(Program::alarmcast(&args));
    assert!(server.banner.ends_with("· driver epoll · 1 shard"), "{}", server.banner);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let log = server.program.stderr();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

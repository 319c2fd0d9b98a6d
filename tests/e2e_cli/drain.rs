//! `alarmcast drain`.

use std::process::Stdio;

use crate::{run, serve, serve_logging_to, tail, text};

#[test]
fn drain_waits_for_the_end_and_the_clients_come_back_when_they_are_told_to() {
    let mut server = serve("127.0.0.1:0");
    let mut tails = [(); 3].map(|()| tail(&["--url", &server.stream]));
    tails.iter_mut().for_each(|tail| tail.wait_for_status("watching"));
    let output = run(&["drain", "--control", &server.control, "--window", "1", "--wait"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let told = "3 connections are told to leave over 1 s, and cut off after 6 s";
    assert!(said.contains(told), "{said}");
    assert!(said.ends_with("the server has ended\n"), "{said}");
    assert!(server.child.wait().expect("ended").success(), "a drained server ends with 0");
    for tail in &mut tails {
        tail.wait_for_status("closed with 1001: the server is shutting down; next attempt in ");
    }
}

#[test]
fn drain_says_at_once_what_it_began_and_a_second_one_changes_nothing() {
    let mut server = serve("127.0.0.1:0");
    let mut tails = [(); 2].map(|()| tail(&["--url", &server.stream]));
    tails.iter_mut().for_each(|tail| tail.wait_for_status("watching"));
    for window in ["900s", "1"] {
        let output = run(&["drain", "--control", &server.control, "--window", window]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.contains(" over 900 s, and cut off after 905 s"), "{said}");
    }
    assert!(server.child.try_wait().expect("a child").is_none(), "one is still there");
    let refused = run(&["drain", "--window", "1h"]);
    assert!(text(&refused.stderr).contains("such as 30 or 30s"), "{}", text(&refused.stderr));
}

#[test]
fn a_server_whose_log_nobody_reads_any_more_serves_on_and_drains() {
    let logging = ["--log-format", "json", "--set", "log.level=debug"];
    for arguments in [&logging[..], &logging[..2], &["--log-format", "text"]] {
        let mut server = serve_logging_to(Stdio::piped(), "127.0.0.1:0", arguments);
        drop(server.child.stderr.take());
        let mut tail = tail(&["--url", &server.stream]);
        tail.wait_for_status("watching");
        assert!(server.publish("still there").status.success());
        assert_eq!(tail.event()["event"]["message"], "still there");
        server.terminate();
    }
}

//! What a real server exposes is what Prometheus' own checker calls clean.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::{run, serve, tail, text};

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let server = serve("127.0.0.1:0");
    let mut tail = tail(&["--url", &server.stream, "--count", "1"]);
    tail.wait_for_status("watching");
    let title = ["--title", "Checkout is down", "--severity", "P0"];
    let published =
        run(&[&["publish", "incident", "--control", &server.control], &title[..]].concat());
    assert!(published.status.success(), "{}", text(&published.stderr));
    tail.event();

    let url = format!("{}/metrics", server.control);
    let scraped = ureq::get(&url).call().expect("scraped").body_mut().read_to_string();
    let scraped = scraped.expect("text");
    assert!(scraped.contains("\nwebsocket_events_delivered_total 1\n"), "{scraped}");
    assert!(
        scraped.contains("\nalarmcast_delivery_latency_seconds_count{priority=\"critical\"} 1\n")
    );

    let promtool = std::env::var_os("ALARMCAST_TEST_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool of Debian's prometheus is needed: {error}"));
    child.stdin.take().expect("piped").write_all(scraped.as_bytes()).expect("taken");
    let checked = child.wait_with_output().expect("ended");
    let said = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

//! Web pages: which may connect. A browser names the page's origin and asks nobody.

use crate::support::{Raw, Server, UPGRADE, eventually};

/// The answer to an upgrade for this host with these lines for `Origin`.
#[track_caller]
fn answer(server: &Server, host: &str, origins: &[&str]) -> (u16, String) {
    let lines: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
    let request = UPGRADE.replacen("Host: localhost\r\n", &format!("Host: {host}\r\n{lines}"), 1);
    let mut raw = Raw::connect(server.stream_addr());
    raw.write(request.as_bytes());
    raw.answer()
}

/// Status by host and origin.
#[track_caller]
fn assert_statuses(server: &Server, rows: &[(&str, &[&str], u16)]) {
    for (host, origins, expected) in rows {
        let (status, answer) = answer(server, host, origins);
        assert_eq!(status, *expected, "{origins:?} at {host}: {answer}");
        if status == 403 {
            assert!(answer.contains(r#"{"code":"FORBIDDEN","message":""#), "{answer}");
        }
    }
}

#[test]
fn only_pages_of_the_own_host_and_what_is_no_browser_connect_by_default() {
    let server = Server::start();
    assert_statuses(
        &server,
        &[
            ("ops:8080", &[], 101),
            ("ops:8080", &["http://ops:8080"], 101),
            ("ops:8080", &["http://OPS:8080"], 101),
            ("ops", &["https://ops"], 101),
            ("ops", &["http://ops:80"], 101),
            ("ops:8080", &["http://ops"], 403),
            ("ops:8080", &["http://evil.example"], 403),
            ("ops:8080", &["http://ops.evil.example:8080"], 403),
            ("ops:8080", &["null"], 403),
            ("ops:8080", &["ops:8080"], 403),
            ("ops:8080", &["http://ops:8080", "http://ops:8080"], 403),
        ],
    );
    for (reason, count) in
        [("origin_foreign", 3.0), ("origin_null", 1.0), ("origin_malformed", 2.0)]
    {
        eventually("each refusal is counted by its reason", || {
            let metrics = server.metrics();
            let refused = metrics.sum_with("websocket_connection_errors_total", "reason", reason);
            (refused == count).then_some(())
        });
    }
    server.await_metric("alarmcast_shard_sockets", 0.0);
}

#[test]
fn listed_pages_connect_exactly_as_they_are_listed() {
    let server = Server::with(&[
        "stream.allowed_origins=https://dashboard.example.com, http://localhost:3000, null",
    ]);
    assert_statuses(
        &server,
        &[
            ("ops", &["https://dashboard.example.com"], 101),
            ("ops", &["https://dashboard.example.com:443"], 101),
            ("ops", &["http://localhost:3000"], 101),
            ("ops", &["null"], 101),
            ("ops", &["https://ops"], 101),
            ("ops", &["http://dashboard.example.com"], 403),
            ("ops", &["https://dashboard.example.com:8443"], 403),
            ("ops", &["https://a.dashboard.example.com"], 403),
            ("ops", &["http://localhost"], 403),
        ],
    );
}

#[test]
fn a_star_admits_every_page_that_has_an_origin() {
    let server = Server::with(&["stream.allowed_origins=*"]);
    assert_statuses(
        &server,
        &[
            ("ops", &["https://anything.example"], 101),
            ("ops", &["null"], 403),
            ("ops", &["nonsense"], 403),
        ],
    );
}

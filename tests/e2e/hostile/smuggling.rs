//! Requests that two readers could understand differently: what one takes for a body or a
//! header, the other may take for a second request.

use super::guard::Row;
use super::{HEAD_END, assert_failed, assert_one_answer, changed, with_headers};
use crate::support::{Raw, UPGRADE};

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let upgrade = "Upgrade: websocket";
    let mut rows = vec![
        ("a header over several lines", changed(upgrade, &format!("X: a\r\n b\r\n{upgrade}"))),
        ("the same with a tab", changed(upgrade, &format!("X: a\r\n\tb\r\n{upgrade}"))),
        ("the first header folded", changed("Host:", " Host:")),
        ("a bare LF", changed("localhost\r\n", "localhost\n")),
        ("LF everywhere", UPGRADE.replace("\r\n", "\n").into_bytes()),
        ("a bare CR", changed("localhost", "local\rhost")),
        ("CR CR LF", changed("localhost\r\n", "localhost\r\r\n")),
        ("an end of LF LF", changed(HEAD_END, "\n\n")),
        ("NUL in a value", changed("localhost", "local\0host")),
        ("NUL in a name", changed("Host:", "Ho\0st:")),
        ("NUL in the target", changed("/ws", "/w\0s")),
        ("DEL in a value", changed("localhost", "local\x7fhost")),
        ("an escape in a value", changed("localhost", "local\x1bhost")),
        ("a space before the colon", changed("Upgrade:", "Upgrade :")),
        ("a tab before the colon", changed("Host:", "Host\t:")),
        ("no colon", changed("Host: localhost", "Host localhost")),
        ("no name", changed("Host:", ":")),
        ("a space in a name", changed("Host:", "Ho st:")),
        ("a userinfo in Host", changed("localhost", "a@localhost")),
        ("two spaces in the first line", changed(" HTTP/1.1", "  HTTP/1.1 x")),
        ("no target", changed("GET /ws HTTP", "GET HTTP")),
        ("an asterisk as the target", changed("/ws", "*")),
        ("a target without a path", changed("/ws", "ws")),
    ];
    let mut body = |name, lines: &str, body: &str| {
        rows.push((name, [with_headers(lines), body.as_bytes().to_vec()].concat()));
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    body("a body", "Content-Length: 5\r\n", "hello");
    body("an empty body", "Content-Length: 0\r\n", "");
    body("chunks", chunked, "5\r\nhello\r\n0\r\n\r\n");
    body("a length and chunks", &format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n");
    body("chunks and a length", &format!("{chunked}Content-Length: 5\r\n"), "0\r\n\r\n");
    body("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!");
    body("a negative length", "Content-Length: -1\r\n", "");
    body("an encoding of none", "Transfer-Encoding: identity\r\n", "");
    body("a hidden encoding", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n");
    rows
}

/// In one segment with it, and in the one behind it.
#[test]
fn a_malformed_request_is_refused_and_a_second_one_is_never_answered() {
    Row::new().run(|server| {
        for (name, request) in malformed() {
            let mut raw = Raw::connect(server.stream_addr());
            raw.write(&[&request, UPGRADE.as_bytes()].concat());
            assert_one_answer(name, &raw.read_to_end(), "400");

            let mut raw = Raw::connect(server.stream_addr());
            raw.stream().set_nodelay(true).expect("a socket option");
            raw.write(&request);
            raw.write(UPGRADE.as_bytes());
            assert_one_answer(name, &raw.read_to_end(), "400");
        }
    });
}

/// The same where the first was in order, but for another path or version.
#[test]
fn a_second_request_behind_a_refused_one_is_never_answered() {
    Row::new().run(|server| {
        for (first, status) in [
            (changed("/ws", "/elsewhere"), "404"),
            (changed("Version: 13", "Version: 8"), "426"),
            (changed("GET", "HEAD"), "405"),
        ] {
            let mut raw = Raw::connect(server.stream_addr());
            raw.write(&[&first, UPGRADE.as_bytes()].concat());
            assert_one_answer(status, &raw.read_to_end(), status);
        }
    });
}

/// After an upgrade there is no HTTP any more.
#[test]
fn a_second_request_behind_an_accepted_one_is_a_frame_that_breaks_the_rules() {
    Row::new().run(|server| {
        let mut raw = Raw::connect(server.stream_addr());
        raw.write(UPGRADE.repeat(2).as_bytes());
        raw.read_upgrade();
        assert_failed("a second request", &mut raw, 1002);
    });
}

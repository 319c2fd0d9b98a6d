//! What the operating system and the operator may say to the server at any time.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::guard::Row;
use crate::support::{Raw, Server, events};

#[test]
fn sighup_reloads_what_it_can_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("alarmcast.toml");
    let write = |text: &str| fs::write(&path, text).expect("writable");
    write("[log]\nlevel = \"error\"\n");
    let with_file = |command: &mut Command| {
        command.env("ALARMCAST_CONFIG", &path);
    };
    Row::new().command(with_file).log_bytes(4_000).run(|server| {
        let hang_up = |text: &str, answer: &str| {
            write(text);
            server.program.signal("HUP");
            server.program.await_stderr(answer);
        };
        hang_up("[log]\nlevel = \"info\"\n", "log.level is changed");
        hang_up("[log]\nlevel = \"info\"\n[limits]\nconnections_max = \"many\"\n", "not reloaded");
        server.program.await_stderr("`limits.connections_max`");
        hang_up("[log]\nlevel = \"off", "not reloaded");
        hang_up(
            "[log]\nlevel = \"warn\"\n[stream]\npath = \"/elsewhere\"\n",
            "changed only by a restart",
        );
        server.program.await_stderr("stream.path");
        // Still at the old path, as the row goes on to check.
        assert_eq!(
            server.program.stderr().matches("is changed").count(),
            1,
            "to `warn` in silence"
        );
    });
}

/// Of one who does not read at all: the time for the drain ends it.
#[test]
fn sigterm_during_a_replay_to_one_who_does_not_read_ends_in_time() {
    let mut server = Server::with(&["server.drain_timeout_secs=1", "server.drain_window_secs=0"]);
    server.publish_all(&vec![events::large("past", 10_000); 200]);
    let epoch = server.get("/health").json()["epoch"].clone();
    let mut raw = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    raw.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": epoch, "after": 0},
    }));
    assert_eq!(raw.message()["resumed"], true);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    drop(raw);
}

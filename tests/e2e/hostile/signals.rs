//! What the operating system and the operator may say to the server at any time.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::guard::Row;
use crate::support::{Raw, Sent, Server, events};

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

/// A client that is getting a long past when the server is told to end, and reads on slowly.
#[test]
fn sigterm_during_a_replay_ends_it_at_a_position_to_go_on_from() {
    const EVENTS: usize = 3_000;
    let mut server = Server::start();
    for _ in 0..EVENTS / 100 {
        let batch: Vec<Value> = (0..100).map(|_| events::large("past", 1_000)).collect();
        server.publish_all(&batch);
    }
    let epoch = server.get("/health").json()["epoch"].clone();
    let mut raw = Raw::connect_with_little_room(server.stream_addr()).upgrade_by_name();
    raw.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": epoch, "after": 0},
    }));
    assert_eq!(raw.message()["resumed"], true);
    assert_eq!(raw.message()["seq"], 1);
    server.terminate();
    server.program.await_stderr("draining");
    let mut newest = 1;
    let closing = loop {
        let message = raw.message();
        if message["type"] == "closing" {
            break message;
        }
        assert_eq!(message["seq"], newest + 1, "up to there without a gap");
        newest += 1;
    };
    assert!(newest < EVENTS as u64, "all of it was sent: the replay was over");
    assert_eq!(closing["code"], 1001);
    assert!(closing["retry_after_ms"].is_u64(), "{closing}");
    assert!(matches!(raw.next(), Sent::Close(1001)));
    drop(raw);
    assert_eq!(server.wait().code(), Some(0));
}

/// The same, of one who does not read at all: the time for the drain ends it.
#[test]
fn sigterm_during_a_replay_to_one_who_does_not_read_ends_in_time() {
    let mut server = Server::with(&["server.drain_timeout_secs=1"]);
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

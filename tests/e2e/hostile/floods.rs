//! Too much of what is allowed: each flood ends with its own connection, and those beside it
//! are served meanwhile.

use std::io::Write;
use std::thread;

use serde_json::json;

use super::guard::Row;
use super::{await_errors, frame};
use crate::support::{Raw, Sent, Server, events};

const FLOODS: usize = 4;

/// Reads on to the end; how many frames came before `closing`, which must have this code.
#[track_caller]
fn read_to_close(raw: &mut Raw, code: u16) -> usize {
    let mut frames = 0;
    loop {
        match raw.next() {
            Sent::Message(closing) if closing["type"] == "closing" => {
                assert_eq!(closing["code"], code, "{closing}");
            }
            Sent::Close(sent) => assert_eq!(sent, code),
            Sent::End => return frames,
            _ => frames += 1,
        }
    }
}

/// Somebody on each shard gets every event while `FLOODS` connections send `bytes`.
#[track_caller]
fn flood(server: &Server, bytes: &[u8]) {
    let mut others: Vec<_> =
        (0..4).map(|_| server.subscriber(&json!({"sources": ["tests"]}))).collect();
    thread::scope(|scope| {
        for _ in 0..FLOODS {
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            let mut writer = raw.stream().try_clone().expect("a descriptor");
            scope.spawn(move || {
                // The server ends the connection before it has taken all.
                let _ = writer.write_all(bytes);
            });
            scope.spawn(move || {
                let answered = read_to_close(&mut raw, 4029);
                assert!(answered < 10_000, "{answered}");
            });
        }
        for n in 0..50 {
            let seq = server.publish(&events::created(n, "P0")).seq;
            others.iter_mut().for_each(|other| assert_eq!(other.expect_event()["seq"], seq));
        }
    });
    others.into_iter().for_each(crate::support::Client::close);
}

#[test]
fn bursts_of_300_000_tiny_messages_end_with_4029_while_others_are_served() {
    Row::new().holds_kib(1024).run(|server| {
        flood(server, &frame(0x81, b"{}").repeat(300_000));
        await_errors(server, "too_many_messages", FLOODS);
    });
}

#[test]
fn floods_of_pings_and_pongs_end_with_4029_while_others_are_served() {
    Row::new().holds_kib(1024).run(|server| {
        flood(server, &frame(0x89, b"?").repeat(300_000));
        flood(server, &frame(0x8a, b"").repeat(300_000));
        await_errors(server, "too_many_frames", 2 * FLOODS);
    });
}

/// Their pongs cannot be sent: a few wait, the others are given up.
#[test]
fn pings_from_many_who_never_read_take_little_memory_and_end() {
    const CONNECTIONS: usize = 200;
    // So seldom that no machine is too slow to be caught.
    let settings = ["limits.frames_per_second=1", "limits.messages_per_second=1"];
    Row::with(&settings).connections(16 * CONNECTIONS as u64).run(|server| {
        let pings = frame(0x89, &[b'?'; 125]).repeat(4_000);
        let mut silent: Vec<Raw> = (0..CONNECTIONS)
            .map(|_| Raw::connect_with_little_room(server.stream_addr()).upgrade())
            .collect();
        silent.iter_mut().for_each(|raw| raw.write(&pings));
        await_errors(server, "too_many_frames", CONNECTIONS);
        let waiting = server.metrics().sum("alarmcast_outbox_bytes");
        assert!(waiting < (CONNECTIONS * 16 * 1024) as f64, "{waiting}");
    });
}

//! Clients that send too much or too slowly, on real sockets: what they are told, how they end,
//! and that nobody else notices.

use serde_json::json;

use crate::support::{Raw, Sent, Server, events, eventually, text_frame};

const ERRORS: &str = "websocket_connection_errors_total";

/// A masked frame with a mask of zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// What came before `closing`, by how many pongs and messages, and how it ended.
#[track_caller]
fn assert_ends_with(raw: &mut Raw, code: u16) -> (usize, usize) {
    let (mut pongs, mut messages) = (0, 0);
    loop {
        match raw.next() {
            Sent::Message(closing) if closing["type"] == "closing" => {
                assert_eq!(closing["code"], code, "{closing}");
                assert!(closing["resume"]["epoch"].is_string(), "{closing}");
                let comes_back = [1013, 4029].contains(&code);
                assert_eq!(closing["retry_after_ms"].is_u64(), comes_back, "{closing}");
                break;
            }
            Sent::Message(_) => messages += 1,
            Sent::Pong => pongs += 1,
            other => panic!("{other:?}"),
        }
    }
    let close = raw.next();
    assert!(matches!(close, Sent::Close(sent) if sent == code), "{close:?}");
    assert!(matches!(raw.next(), Sent::End));
    (pongs, messages)
}

#[track_caller]
fn await_error(server: &Server, reason: &str) {
    eventually(reason, || {
        (server.metrics().sum_with(ERRORS, "reason", reason) == 1.0).then_some(())
    });
}

/// Writes a flood while its answers are read, so that neither side waits for the other.
fn flood(server: &Server, bytes: &[u8]) -> (usize, usize) {
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    let mut writer = raw.stream().try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The server may end the connection before it has taken all.
            let _ = std::io::Write::write_all(&mut writer, bytes);
        });
        assert_ends_with(&mut raw, 4029)
    })
}

#[test]
fn a_burst_of_300_000_tiny_messages_ends_with_4029_and_is_answered_in_part() {
    let server = Server::start();
    let mut bystander = server.subscriber(&json!({}));
    let (pongs, messages) = flood(&server, &frame(0x81, b"{}").repeat(300_000));
    assert_eq!(pongs, 0);
    // The burst and as many refusals, and what the rate allows meanwhile.
    assert!((400..2_000).contains(&messages), "{messages}");
    await_error(&server, "too_many_messages");
    let metrics = server.metrics();
    assert!(metrics.sum("websocket_messages_received_total") < 3_000.0);
    let seq = server.publish(&events::created(1, "P0")).seq;
    assert_eq!(bystander.expect_event()["seq"], seq);
    bystander.close();
}

#[test]
fn a_flood_of_pings_ends_with_4029() {
    let server = Server::start();
    let (pongs, messages) = flood(&server, &frame(0x89, b"?").repeat(300_000));
    assert_eq!(messages, 0);
    assert!((1..10_000).contains(&pongs), "{pongs}");
    await_error(&server, "too_many_frames");
}

#[test]
fn a_flood_of_pings_from_one_who_never_reads_ends_as_well() {
    let server = Server::start();
    let mut raw = Raw::connect_with_little_room(server.stream_addr()).upgrade();
    raw.write(&frame(0x89, &[b'?'; 125]).repeat(4_000));
    await_error(&server, "too_many_frames");
    let waiting = server.metrics().sum("alarmcast_outbox_bytes");
    assert!(waiting < 64.0 * 1024.0, "{waiting}");
    assert_eq!(server.metrics().sum_with(ERRORS, "reason", "slow_consumer"), 0.0);
}

#[test]
fn too_many_bytes_end_with_4029() {
    let server = Server::with(&["limits.bytes_per_second=1000", "limits.bytes_burst=100000"]);
    let large = text_frame(&json!({"type": "ping", "timestamp": "x".repeat(40_000)}));
    let (_, pongs) = flood(&server, &large.repeat(4));
    assert_eq!(pongs, 2, "as many as fit");
    await_error(&server, "too_many_bytes");
}

#[test]
fn a_normal_client_with_large_messages_is_not_limited() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..100 {
        client.send(&json!({"type": "ping", "timestamp": "x".repeat(60_000)}));
        client.expect("pong");
    }
    client.close();
}

#[test]
fn a_message_that_is_not_completed_ends_with_1008_although_the_client_goes_on() {
    let server = Server::with(&[
        "limits.message_timeout_secs=1",
        "limits.frames_per_second=1000000",
        "limits.frames_burst=1000000",
    ]);
    let mut raw = Raw::connect(server.stream_addr()).upgrade();
    raw.write(&frame(0x01, b"{"));
    let closing = loop {
        raw.write(&frame(0x89, b""));
        match raw.next() {
            Sent::Pong => {}
            Sent::Message(closing) => break closing,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&closing["type"], &closing["code"]), (&json!("closing"), &json!(1008)));
    assert!(matches!(raw.next(), Sent::Close(1008)));
    await_error(&server, "message_timeout");
}

#[test]
fn incomplete_messages_that_take_too_much_memory_together_end_with_1013() {
    let server = Server::with(&["limits.partial_messages_bytes_max=1048576"]);
    let message = text_frame(&json!({"type": "ping", "timestamp": "x".repeat(60_000)}));
    let (begun, rest) = message.split_at(55_000);
    let mut clients: Vec<Raw> = (0..60)
        .map(|_| {
            let mut raw = Raw::connect(server.stream_addr()).upgrade();
            raw.write(begun);
            raw
        })
        .collect();
    // 60 of them take 3.3 MB.
    let closed = eventually("enough of them are closed", || {
        let closed = server.metrics().sum_with(ERRORS, "reason", "partial_messages_budget");
        (closed >= 41.0).then_some(closed)
    });
    assert!(closed < 50.0, "{closed}");
    let mut counted = 0.0;
    for raw in &mut clients {
        // Those that were closed throw it away.
        raw.write(rest);
        let told = raw.message();
        match told["type"].as_str() {
            Some("pong") => {}
            _ => {
                assert_eq!((&told["type"], &told["code"]), (&json!("closing"), &json!(1013)));
                counted += 1.0;
            }
        }
    }
    assert!(counted >= closed);
}

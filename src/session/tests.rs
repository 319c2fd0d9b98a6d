use std::time::Duration;

use super::*;

const TIMING: Timing = Timing {
    handshake: Duration::from_secs(10),
    heartbeat_interval: Duration::from_secs(30),
    heartbeat_timeout: Duration::from_secs(20),
    idle: Duration::from_secs(300),
    message: Duration::from_secs(20),
    write: Duration::from_secs(15),
    close: Duration::from_secs(5),
    end: Duration::from_secs(1),
};
const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn accepted() -> Session {
    Session::new(Limits { message_bytes_max: 1024, fragments_max: 8 }, at(0), &TIMING)
}

fn open() -> Session {
    let mut session = accepted();
    assert_eq!(feed(&mut session, REQUEST), ["upgrade"]);
    session
}

/// A masked frame with a mask of zero, so that the payload stays readable.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// What `bytes` amount to, in words; opens the session when it asks for that.
fn feed(session: &mut Session, bytes: &[u8]) -> Vec<String> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut seen = Vec::new();
    while let Some(next) = session.poll_input(&mut input, &mut 0) {
        let is_upgrade = matches!(next, Input::Upgrade(_));
        seen.push(match next {
            Input::Proxied(client) => format!("proxied {client:?}"),
            Input::NotProxied(refusal) => format!("not proxied {}", refusal.status),
            Input::Upgrade(_) => "upgrade".to_owned(),
            Input::Refused(refusal) => format!("refused {}", refusal.status),
            Input::Text(text) => format!("text {text}"),
            Input::Binary(bytes) => format!("binary {}", bytes.len()),
            Input::Ping(payload) => format!("ping {}", payload.len()),
            Input::PeerCloses { code } => format!("peer closes {code:?}"),
            Input::PeerClosed => "peer closed".to_owned(),
            Input::Violation(violation) => format!("violation {}", violation.code),
            Input::Nothing => continue,
        });
        if is_upgrade {
            session.open(at(0), &TIMING);
        }
    }
    assert!(input.is_empty(), "everything is used up");
    seen
}

fn timeouts(session: &mut Session, now: Instant) -> Vec<Timeout> {
    std::iter::from_fn(|| session.handle_timeout(now, &TIMING)).collect()
}

/// A message of many connections, and then silence: none of it is kept meanwhile.
#[test]
fn a_message_that_came_in_pieces_is_freed_with_its_last_piece() {
    let mut session = open();
    let message = masked(0x81, &[b'x'; 100]);
    for pieces in [message.split_at(2), message.split_at(50)] {
        assert!(feed(&mut session, pieces.0).is_empty() && !session.decoder.is_idle());
        assert_eq!(feed(&mut session, pieces.1).len(), 1);
        assert!(session.decoder.is_idle());
    }
    session.begin_close(at(1), &TIMING);
    let ping = masked(0x89, b"p");
    assert!(feed(&mut session, &ping[..6]).is_empty());
    assert!(feed(&mut session, &ping[6..]).is_empty() && session.decoder.is_idle());
}

#[test]
fn frames_behind_the_handshake_in_one_segment_are_not_lost() {
    let mut session = accepted();
    let segment = [REQUEST, &masked(0x81, b"first"), &masked(0x81, b"second")].concat();
    assert_eq!(feed(&mut session, &segment), ["upgrade", "text first", "text second"]);
}

#[test]
fn a_proxys_header_comes_before_the_handshake_and_shares_its_deadline() {
    let limits = Limits { message_bytes_max: 1024, fragments_max: 8 };
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x07\x0a\0\0\x01\x12\x34\0\x50";
    let mut session = Session::behind_proxy(limits, at(0), &TIMING);
    let segment = [header, REQUEST, &masked(0x81, b"first")].concat();
    let seen = feed(&mut session, &segment);
    assert_eq!(seen, ["proxied Some(10.0.0.7)", "upgrade", "text first"]);
    let mut session = Session::behind_proxy(limits, at(0), &TIMING);
    assert!(feed(&mut session, &header[..20]).is_empty() && session.is_handshaking());
    assert_eq!(timeouts(&mut session, at(10)), [Timeout::Handshake]);
    let mut session = Session::behind_proxy(limits, at(0), &TIMING);
    assert_eq!(feed(&mut session, REQUEST), ["not proxied 400"]);
    assert!(session.is_ended() && feed(&mut session, REQUEST).is_empty());
}

#[test]
fn the_handshake_deadline_is_absolute() {
    let mut session = accepted();
    for second in 1..10 {
        assert!(feed(&mut session, &REQUEST[second..=second]).is_empty());
        session.handle_received(at(second as u64), &TIMING);
        assert_eq!(timeouts(&mut session, at(second as u64)), []);
    }
    assert_eq!(timeouts(&mut session, at(10)), [Timeout::Handshake]);
}

#[test]
fn a_refused_handshake_ends_the_session() {
    let mut session = accepted();
    assert_eq!(feed(&mut session, b"PUT /ws HTTP/1.1\r\nHost: here\r\n\r\n"), ["refused 405"]);
    assert!(session.is_ended());
    assert!(feed(&mut session, REQUEST).is_empty(), "a second request is not answered");
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn a_quiet_peer_is_pinged_and_given_up_when_it_stays_quiet() {
    let mut session = open();
    assert_eq!(session.next_deadline(), Some(at(30)));
    assert_eq!(timeouts(&mut session, at(29)), []);
    assert_eq!(timeouts(&mut session, at(30)), [Timeout::Ping]);
    assert_eq!(timeouts(&mut session, at(49)), []);
    assert_eq!(timeouts(&mut session, at(50)), [Timeout::HeartbeatMissed]);
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn a_pong_keeps_the_connection_for_ever() {
    let mut session = open();
    for minute in 1..60 {
        let now = at(minute * 60);
        assert_eq!(timeouts(&mut session, now), [Timeout::Ping]);
        assert!(feed(&mut session, &masked(0x8A, b"")).is_empty());
        session.handle_received(now, &TIMING);
    }
}

#[test]
fn a_server_that_was_stopped_does_not_take_its_peers_for_dead() {
    let mut session = open();
    // Stopped at second 10, continued at 100: the ping goes out late, and its answer has the
    // whole time from then on.
    assert_eq!(timeouts(&mut session, at(100)), [Timeout::Ping]);
    assert_eq!(timeouts(&mut session, at(119)), []);
}

#[test]
fn without_a_heartbeat_the_idle_timeout_finds_dead_peers() {
    let timing = Timing { heartbeat_interval: Duration::ZERO, ..TIMING };
    let limits = Limits { message_bytes_max: 1024, fragments_max: 8 };
    let mut session = Session::new(limits, at(0), &timing);
    let mut request = REQUEST.to_vec();
    assert!(matches!(session.poll_input(&mut &mut request[..], &mut 0), Some(Input::Upgrade(_))));
    session.open(at(0), &timing);
    assert_eq!(session.next_deadline(), Some(at(300)));
    assert_eq!(session.handle_timeout(at(300), &timing), Some(Timeout::Idle));
}

#[test]
fn a_send_without_progress_times_out_and_progress_pushes_that_forward() {
    let mut session = open();
    session.handle_send_progress(at(1), &TIMING);
    assert_eq!(session.next_deadline(), Some(at(16)));
    session.handle_send_progress(at(10), &TIMING);
    assert_eq!(timeouts(&mut session, at(16)), []);
    assert_eq!(timeouts(&mut session, at(25)), [Timeout::Write]);
    session.handle_send_progress(at(26), &TIMING);
    session.handle_send_done();
    assert_eq!(session.next_deadline(), Some(at(30)), "only the heartbeat is left");
}

#[test]
fn the_peers_close_is_told_with_its_code_and_ends_the_session() {
    let mut session = open();
    let close = masked(0x88, &[0x03, 0xE8, b'b', b'y', b'e']);
    let segment = [masked(0x81, b"last"), close, masked(0x81, b"too late")].concat();
    assert_eq!(feed(&mut session, &segment), ["text last", "peer closes Some(1000)"]);
    assert!(session.is_ended());
}

#[test]
fn after_our_close_only_the_peers_counts() {
    let mut session = open();
    session.begin_close(at(40), &TIMING);
    assert!(!session.is_open());
    assert!(feed(&mut session, &masked(0x81, b"ignored")).is_empty());
    session.handle_received(at(44), &TIMING);
    assert_eq!(session.next_deadline(), Some(at(45)), "chatter does not push the deadline");
    assert_eq!(feed(&mut session, &masked(0x88, b"")), ["peer closed"]);
    assert!(session.is_ended());
}

#[test]
fn a_peer_that_does_not_answer_our_close_is_given_up() {
    let mut session = open();
    session.begin_close(at(40), &TIMING);
    assert_eq!(timeouts(&mut session, at(44)), []);
    assert_eq!(timeouts(&mut session, at(45)), [Timeout::Close]);
}

#[test]
fn a_peer_that_still_takes_what_waits_before_our_close_is_not_given_up() {
    let mut session = open();
    session.begin_close(at(40), &TIMING);
    for second in [44, 48, 52] {
        assert_eq!(timeouts(&mut session, at(second)), []);
        session.handle_send_progress(at(second), &TIMING);
    }
    assert_eq!(timeouts(&mut session, at(56)), []);
    assert_eq!(timeouts(&mut session, at(57)), [Timeout::Close]);
}

#[test]
fn a_violation_ends_the_session_and_what_follows_is_thrown_away() {
    let mut session = open();
    let segment = [&[0x81, 0x01, b'x'][..], &masked(0x81, b"unread")].concat();
    assert_eq!(feed(&mut session, &segment), ["violation 1002"]);
    assert!(feed(&mut session, &masked(0x81, b"unread")).is_empty());
}

/// Everything that is used up, told to the session as the shard does.
fn receive(session: &mut Session, bytes: &[u8], now: Instant) -> Vec<String> {
    session.handle_received(now, &TIMING);
    let seen = feed(session, bytes);
    session.handle_input_used(now, &TIMING);
    seen
}

#[test]
fn a_message_that_trickles_is_given_up_at_its_deadline_although_bytes_keep_coming() {
    let mut session = open();
    let message = masked(0x81, &[b'x'; 100]);
    for (second, byte) in (1..20).zip(&message) {
        assert!(receive(&mut session, &[*byte], at(second)).is_empty());
        assert_eq!(timeouts(&mut session, at(second)), []);
    }
    assert_eq!(session.next_deadline(), Some(at(21)), "20 s from its first byte");
    assert_eq!(timeouts(&mut session, at(21)), [Timeout::Message]);
    assert!(session.is_ended());
    assert_eq!(session.stored_bytes(), 0);
}

#[test]
fn fragments_and_pings_between_them_do_not_move_the_deadline() {
    let mut session = open();
    assert!(receive(&mut session, &masked(0x01, b"begun"), at(1)).is_empty());
    for second in 2..21 {
        let more = match second % 3 {
            0 => [masked(0x89, b""), masked(0x00, b"x")].concat(),
            _ => masked(0x89, b""),
        };
        assert_eq!(receive(&mut session, &more, at(second)), ["ping 0"]);
        assert_eq!(timeouts(&mut session, at(second)), []);
    }
    assert_eq!(timeouts(&mut session, at(21)), [Timeout::Message]);
}

#[test]
fn a_message_that_is_completed_leaves_no_deadline_and_the_next_has_its_own() {
    let mut session = open();
    let message = masked(0x81, b"in two pieces");
    let (head, tail) = message.split_at(9);
    assert!(receive(&mut session, head, at(1)).is_empty());
    assert_eq!(session.next_deadline(), Some(at(21)));
    // Its end, and the next one's beginning.
    let seen = receive(&mut session, &[tail, head].concat(), at(15));
    assert_eq!(seen, ["text in two pieces"]);
    assert_eq!(session.next_deadline(), Some(at(35)));
    assert_eq!(receive(&mut session, tail, at(34)), ["text in two pieces"]);
    assert_eq!(session.next_deadline(), Some(at(64)), "the heartbeat");
    assert_eq!(session.stored_bytes(), 0);
}

#[test]
fn an_end_frees_what_is_incomplete() {
    let mut session = open();
    assert!(receive(&mut session, &masked(0x02, &[7; 100]), at(1)).is_empty());
    assert!(session.stored_bytes() >= 100);
    session.begin_close(at(2), &TIMING);
    assert_eq!(session.next_deadline(), Some(at(7)), "only that of the close");
    session.begin_end(at(3), &TIMING);
    assert_eq!(session.stored_bytes(), 0);
    assert!(receive(&mut session, &masked(0x00, &[7; 100]), at(3)).is_empty());
    assert_eq!(session.stored_bytes(), 0);
}

#[test]
fn every_frame_is_counted_once_however_it_is_cut() {
    let frames = [
        masked(0x81, b"whole"),
        masked(0x01, b"a"),
        masked(0x89, b"ping"),
        masked(0x00, b""),
        masked(0x80, b"b"),
        masked(0x8A, b""),
    ];
    for size in 1..20 {
        let mut session = open();
        let mut counted = 0;
        for piece in frames.concat().chunks_mut(size) {
            let mut input = piece;
            while session.poll_input(&mut input, &mut counted).is_some() {}
        }
        assert_eq!(counted, 6, "pieces of {size}");
    }
}

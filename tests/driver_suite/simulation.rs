//! What only the simulator does: faults from a seed, time that passes by itself.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use alarmcast::base::buffers::SendBuf;
use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::io::sim::{Faults, SimNet};
use alarmcast::io::{Driver, Kind, Op, Outcome, Token};

use crate::world::roomy;

fn token(kind: Kind, slot: u32) -> Token {
    Token::new(kind, Key { slot, generation: 1 })
}

/// Eight clients write, a driver echoes whatever it receives until every connection has
/// ended; what happened, in order.
fn story(seed: u64, faults: Faults) -> String {
    let net = SimNet::new(seed, faults);
    let mut driver = net.driver(&roomy());
    let mut clients: Vec<_> = (0..8).map(|_| net.connect(driver.listener())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write(&vec![number as u8; 1_000 * (number + 1)]).unwrap();
        client.half_close();
    }
    let mut story = String::new();
    let mut staged: Vec<(Token, Op)> =
        (0..8).map(|slot| (token(Kind::Accept, slot), Op::Accept)).collect();
    // Operations in flight and connections closed, as the completions tell.
    let (mut in_flight, mut closed) = (0, 0);
    for _ in 0..100_000 {
        if closed == 8 {
            assert_eq!(in_flight, 0, "seed {seed}");
            return story;
        }
        let mut refused = Vec::new();
        for (token, op) in staged.drain(..) {
            match driver.push(token, op) {
                Ok(()) => in_flight += 1,
                Err(op) => refused.push((token, op)),
            }
        }
        staged = refused;
        let mut completions = Vec::new();
        let deadline = net.clock().now() + Duration::from_millis(1);
        driver.submit_and_wait(Some(deadline), &mut completions).unwrap();
        for completion in completions {
            let at = net.clock().now().as_nanos();
            writeln!(story, "{at} {:?} {:?}", completion.token, completion.outcome).unwrap();
            let is_last = !matches!(completion.outcome, Outcome::Received { more: true, .. });
            in_flight -= usize::from(is_last);
            closed += usize::from(matches!(completion.outcome, Outcome::Closed));
            staged.extend(next(completion.token, completion.outcome));
        }
    }
    panic!("seed {seed}: no end\n{story}");
}

/// What a simple shard does next. A token's slot is the socket.
fn next(done: Token, outcome: Outcome) -> Option<(Token, Op)> {
    let slot = done.key().slot;
    let socket = alarmcast::io::Socket(slot);
    let again = (token(Kind::Recv, slot), Op::Recv(socket));
    let shutdown =
        (token(Kind::Shutdown, slot), Op::Shutdown(socket, alarmcast::io::Shutdown::Both));
    match outcome {
        Outcome::Accepted { socket, .. } => Some((token(Kind::Recv, socket.0), Op::Recv(socket))),
        Outcome::Received { more, .. } => (!more).then_some(again),
        Outcome::ReceivedEnd => {
            let last = SendBuf::gathered(b"all received".to_vec());
            Some((token(Kind::Send, slot), Op::Send(socket, last)))
        }
        Outcome::Sent { buf, .. } if !buf.is_done() => {
            Some((token(Kind::Send, slot), Op::Send(socket, buf)))
        }
        Outcome::Sent { .. } => Some(shutdown),
        Outcome::ShutDown => Some((token(Kind::Close, slot), Op::Close(socket))),
        Outcome::Closed => None,
        Outcome::Failed { error, .. } => match (done.kind(), error.raw_os_error()) {
            (Kind::Accept, Some(libc::EMFILE)) => Some((done, Op::Accept)),
            (Kind::Recv, Some(libc::ENOBUFS)) => Some(again),
            (Kind::Recv, Some(libc::ECONNRESET)) | (Kind::Send, Some(libc::EPIPE)) => {
                Some(shutdown)
            }
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another() {
    let rough = || Faults { resets: 20, ..Faults::rough() };
    let first = story(7, rough());
    assert_eq!(first, story(7, rough()));
    assert_ne!(first, story(8, rough()));
}

#[test]
fn every_connection_comes_to_an_end_whatever_goes_wrong() {
    for seed in 0..60 {
        story(seed, Faults { resets: 50, ..Faults::rough() });
    }
}

#[test]
fn time_passes_to_the_next_arrival_but_not_beyond_the_deadline_and_not_when_woken() {
    let delay_max = Duration::from_secs(3);
    let net = SimNet::new(3, Faults { delay_max, ..Faults::none() });
    let mut driver = net.driver(&roomy());
    let mut client = net.connect(driver.listener());
    let mut completions = Vec::new();
    driver.push(token(Kind::Accept, 0), Op::Accept).unwrap();
    driver.submit_and_wait(None, &mut completions).unwrap();
    let Some(Outcome::Accepted { socket, .. }) = completions.pop().map(|done| done.outcome) else {
        panic!("not accepted");
    };
    assert_eq!(net.clock().now(), Instant::from_nanos(0), "a connect takes no time");
    client.write(b"later").unwrap();
    driver.push(token(Kind::Recv, 0), Op::Recv(socket)).unwrap();
    let soon = net.clock().now() + Duration::from_nanos(10);
    driver.submit_and_wait(Some(soon), &mut completions).unwrap();
    assert_eq!((net.clock().now(), completions.len()), (soon, 0));
    let waker = driver.waker();
    waker.park();
    waker.wake();
    driver.submit_and_wait(None, &mut completions).unwrap();
    assert_eq!((net.clock().now(), completions.len()), (soon, 0));
    driver.submit_and_wait(None, &mut completions).unwrap();
    assert!(matches!(completions[0].outcome, Outcome::Received { more: true, .. }));
    let arrival = net.clock().now();
    assert!(arrival > soon && arrival <= Instant::default() + delay_max);
    completions.clear();
    driver.submit_and_wait(None, &mut completions).unwrap();
    assert_eq!((net.clock().now(), completions.len()), (arrival, 0), "nothing is to come");
}

#[test]
fn a_reader_that_does_not_read_exerts_backpressure() {
    let net = SimNet::new(4, Faults { socket_buffer_bytes: 100, ..Faults::none() });
    let mut driver = net.driver(&roomy());
    let mut client = net.connect(driver.listener());
    let mut completions = Vec::new();
    driver.push(token(Kind::Accept, 0), Op::Accept).unwrap();
    driver.submit_and_wait(None, &mut completions).unwrap();
    let Some(Outcome::Accepted { socket, .. }) = completions.pop().map(|done| done.outcome) else {
        panic!("not accepted");
    };
    let send = |buf| Op::Send(socket, buf);
    driver.push(token(Kind::Send, 0), send(SendBuf::gathered(vec![1; 150]))).unwrap();
    driver.submit_and_wait(None, &mut completions).unwrap();
    let Some(Outcome::Sent { buf, count: 100 }) = completions.pop().map(|done| done.outcome) else {
        panic!("not cut to the room");
    };
    driver.push(token(Kind::Send, 0), send(buf)).unwrap();
    driver.submit_and_wait(None, &mut completions).unwrap();
    assert!(completions.is_empty(), "no room");
    assert_eq!(client.read(&mut [0; 60]).unwrap(), 60);
    driver.submit_and_wait(None, &mut completions).unwrap();
    assert!(matches!(completions[0].outcome, Outcome::Sent { count: 50, .. }));
    drop(driver);
    let mut rest = [0; 200];
    assert_eq!(client.read(&mut rest).unwrap(), 90);
    assert!(client.is_closed());
    assert_eq!(client.write(b"x").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

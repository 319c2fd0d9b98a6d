use std::fs;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use alarmcast::base::buffers::SendBuf;
use alarmcast::io::{Driver, Op, Outcome, Shutdown, Socket, Token};
use bytes::Bytes;

use crate::harness::{Client, Harness};
use crate::world::{World, errno, pattern, read_some, roomy};

crate::on_every_driver!(
    a_slow_reader_gets_every_byte_through_short_sends,
    sends_one_after_the_other_keep_their_order,
    a_shutdown_ends_a_blocked_send_and_gives_its_buffer_back,
    a_reset_ends_a_blocked_send_and_leaves_nothing_to_the_kernel,
    a_cancelled_send_gives_its_buffer_back,
    bytes_that_the_kernel_took_before_a_shutdown_still_arrive,
    ending_our_direction_leaves_the_peers_open,
    dropping_the_driver_with_everything_in_flight_frees_every_buffer,
);

fn a_slow_reader_gets_every_byte_through_short_sends<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let sent = pattern(12_000_000);
    let mut send = world.send(socket, sent.clone());
    let (mut received, mut sends) = (Vec::new(), 0);
    loop {
        let outcome = world.outcome_while(send, |_| {
            received.extend(read_some(&mut client, 300_000).expect("not ended"));
        });
        let Outcome::Sent { buf, count } = outcome else { panic!("{outcome:?}") };
        assert!(count > 0);
        sends += 1;
        if buf.is_done() {
            break;
        }
        send = world.push(Op::Send(socket, buf));
    }
    world.close(socket, &[]);
    while let Some(bytes) = read_some(&mut client, 300_000) {
        if bytes.is_empty() {
            world.turn();
        }
        received.extend(bytes);
    }
    assert!(sends > 1, "no send was short");
    assert!(received == sent, "bytes differ");
}

fn sends_one_after_the_other_keep_their_order<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for length in [1, 10, 4_096, 3, 20_000, 1] {
        let bytes = pattern(length);
        sent.extend_from_slice(&bytes);
        let mut send = world.send(socket, bytes);
        loop {
            match world.outcome(send) {
                Outcome::Sent { buf, .. } if buf.is_done() => break,
                Outcome::Sent { buf, .. } => send = world.push(Op::Send(socket, buf)),
                other => panic!("{other:?}"),
            }
        }
    }
    while received.len() < sent.len() {
        world.turn();
        received.extend(read_some(&mut client, 100_000).expect("not ended"));
    }
    assert!(received == sent, "bytes differ");
}

/// Sends until the peer's window and our buffers are full; the last send is in flight.
fn blocked_send<H: Harness>(world: &mut World<H>, socket: Socket, frame: &Rc<Bytes>) -> Token {
    let mut send = world.push(Op::Send(socket, SendBuf::shared(Rc::clone(frame))));
    let mut idle_turns = 0;
    while idle_turns < 5 {
        if world.turn() == 0 {
            idle_turns += 1;
        }
        for completion in world.drain() {
            assert_eq!(completion.token, send);
            let Outcome::Sent { mut buf, .. } = completion.outcome else { panic!("not sent") };
            if buf.is_done() {
                buf = SendBuf::shared(Rc::clone(frame));
            }
            send = world.push(Op::Send(socket, buf));
            idle_turns = 0;
        }
    }
    send
}

fn a_shutdown_ends_a_blocked_send_and_gives_its_buffer_back<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, _client) = world.connection();
    let frame = Rc::new(Bytes::from(pattern(1_000_000)));
    let recv = world.push(Op::Recv(socket));
    let send = blocked_send(&mut world, socket, &frame);
    let shutdown = world.push(Op::Shutdown(socket, Shutdown::Both));
    let ended = world.outcome(send);
    match &ended {
        Outcome::Failed { error, buf: Some(buf) } => {
            assert!(matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)));
            assert!(!buf.is_done());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(world.outcome(shutdown), Outcome::ShutDown));
    assert!(matches!(world.outcome(recv), Outcome::ReceivedEnd));
    drop(ended);
    assert_eq!(Rc::strong_count(&frame), 1);
    let close = world.push(Op::Close(socket));
    assert!(matches!(world.outcome(close), Outcome::Closed));
}

fn a_reset_ends_a_blocked_send_and_leaves_nothing_to_the_kernel<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    // Others may have had either port before. As long as it is connected, the kernel has this one.
    let server = client.server_addr();
    assert!(server.is_none_or(|server| kernel_has_a_socket(server, client.addr())));
    let frame = Rc::new(Bytes::from(pattern(1_000_000)));
    let recv = world.push(Op::Recv(socket));
    let send = blocked_send(&mut world, socket, &frame);
    let reset = world.push(Op::Shutdown(socket, Shutdown::Reset));
    let ended = world.outcome(send);
    assert!(matches!(ended, Outcome::Failed { buf: Some(_), .. }), "{ended:?}");
    drop(ended);
    assert_eq!(Rc::strong_count(&frame), 1);
    assert!(matches!(world.outcome(reset), Outcome::ShutDown));
    let ended = world.outcome(recv);
    assert!(matches!(ended, Outcome::ReceivedEnd | Outcome::Failed { .. }), "{ended:?}");
    let close = world.push(Op::Close(socket));
    assert!(matches!(world.outcome(close), Outcome::Closed));
    let outlasts = server.is_some_and(|server| kernel_has_a_socket(server, client.addr()));
    assert!(!outlasts, "unsent bytes outlast the close");
    let mut buffer = [0; 4096];
    let error = loop {
        match client.read(&mut buffer) {
            Ok(0) => panic!("the stream seems whole"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Whether the kernel has a socket of this machine's that is connected so, also one that belongs to
/// no process any more (/proc/net/tcp, proc(5)).
fn kernel_has_a_socket(own: SocketAddr, peer: SocketAddr) -> bool {
    let both = format!(" {} {} ", in_table(own), in_table(peer));
    fs::read_to_string("/proc/net/tcp").unwrap().contains(&both)
}

fn in_table(addr: SocketAddr) -> String {
    let SocketAddr::V4(addr) = addr else { panic!("{addr} is in another table") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port())
}

fn a_cancelled_send_gives_its_buffer_back<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, _client) = world.connection();
    let frame = Rc::new(Bytes::from(pattern(1_000_000)));
    let send = blocked_send(&mut world, socket, &frame);
    assert_eq!(Rc::strong_count(&frame), 2, "the driver holds it");
    world.harness.driver().cancel(send);
    let ended = world.outcome(send);
    assert_eq!(errno(&ended), Some(libc::ECANCELED), "{ended:?}");
    drop(ended);
    assert_eq!(Rc::strong_count(&frame), 1);
    world.close(socket, &[]);
}

fn bytes_that_the_kernel_took_before_a_shutdown_still_arrive<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let send = world.send(socket, b"goodbye".to_vec());
    let shutdown = world.push(Op::Shutdown(socket, Shutdown::Both));
    let mut sent = 0;
    if let Outcome::Sent { count, .. } = world.outcome(send) {
        sent = count;
    }
    assert!(sent > 0);
    assert!(matches!(world.outcome(shutdown), Outcome::ShutDown));
    let mut received = Vec::new();
    while let Some(bytes) = read_some(&mut client, 100) {
        received.extend(bytes);
        world.turn();
    }
    assert_eq!(received, b"goodbye"[..sent]);
}

fn ending_our_direction_leaves_the_peers_open<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let recv = world.push(Op::Recv(socket));
    let shutdown = world.push(Op::Shutdown(socket, Shutdown::Write));
    assert!(matches!(world.outcome(shutdown), Outcome::ShutDown));
    while read_some(&mut client, 100).is_some() {
        world.turn();
    }
    client.write(b"late").unwrap();
    match world.outcome(recv) {
        Outcome::Received { bytes, .. } => assert_eq!(&bytes[..1], b"l"),
        other => panic!("{other:?}"),
    }
    world.close(socket, &[recv]);
}

fn dropping_the_driver_with_everything_in_flight_frees_every_buffer<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let frame = Rc::new(Bytes::from(pattern(1_000_000)));
    let (first, mut client) = world.connection();
    let (second, _other) = world.connection();
    let recv = world.push(Op::Recv(first));
    client.write(b"held beyond the driver").unwrap();
    let Outcome::Received { bytes, .. } = world.outcome(recv) else { panic!("not received") };
    blocked_send(&mut world, second, &frame);
    world.push(Op::Recv(second));
    world.push(Op::Accept);
    world.turn();
    // Staged, and never seen by the kernel before the end.
    world.push(Op::Send(first, SendBuf::shared(Rc::clone(&frame))));
    world.push(Op::Accept);
    world.push(Op::Shutdown(second, Shutdown::Both));
    assert_eq!(Rc::strong_count(&frame), 3);
    drop(world);
    assert_eq!(Rc::strong_count(&frame), 1);
    assert_eq!(&bytes[..], b"held beyond the driver");
}

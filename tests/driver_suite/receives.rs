use alarmcast::base::slab::Key;
use alarmcast::io::{Driver, DriverConfig, Kind, Op, Outcome, Token};

use crate::harness::{Client, Harness};
use crate::world::{World, errno, pattern, read_some, roomy, write_some};

crate::on_every_driver!(
    bytes_arrive_in_order_whatever_their_sizes,
    a_half_close_ends_the_receive_and_leaves_the_way_back_open,
    a_reset_fails_what_is_in_flight_on_its_socket_only,
    a_cancelled_receive_ends_and_the_next_one_misses_nothing,
    a_cancellation_of_an_unknown_token_is_ignored,
    exhausted_buffers_end_a_receive_and_lose_nothing,
    a_completion_of_an_earlier_generation_carries_the_earlier_token,
);

fn bytes_arrive_in_order_whatever_their_sizes<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let sent = pattern(700_000);
    let sizes = [1, 2, 3, 1_000, 2_047, 2_048, 2_049, 7, 65_537, 300_000, 16];
    let mut sizes = sizes.into_iter().cycle();
    let mut recv = world.push(Op::Recv(socket));
    let (mut written, mut received) = (0, Vec::new());
    while received.len() < sent.len() {
        let next = (written + sizes.next().unwrap()).min(sent.len());
        let outcome = world.outcome_while(recv, |_| {
            written += write_some(&mut client, &sent[written..next.max(written)]);
        });
        match outcome {
            Outcome::Received { bytes, more } => {
                received.extend_from_slice(&bytes);
                if !more {
                    recv = world.push(Op::Recv(socket));
                }
            }
            other if errno(&other) == Some(libc::ENOBUFS) => recv = world.push(Op::Recv(socket)),
            other => panic!("{other:?}"),
        }
    }
    assert!(received == sent, "bytes differ");
}

fn a_half_close_ends_the_receive_and_leaves_the_way_back_open<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    assert_eq!(client.write(b"last words").unwrap(), 10);
    client.half_close();
    assert_eq!(world.receive(socket, 10), b"last words");
    let recv = world.push(Op::Recv(socket));
    assert!(matches!(world.outcome(recv), Outcome::ReceivedEnd));
    let send = world.send(socket, b"answer".to_vec());
    assert!(matches!(world.outcome(send), Outcome::Sent { count: 6, .. }));
    let mut answer = Vec::new();
    while answer.len() < 6 {
        world.turn();
        answer.extend(read_some(&mut client, 100).expect("not ended"));
    }
    assert_eq!(answer, b"answer");
    world.close(socket, &[]);
    while read_some(&mut client, 1).is_some() {
        world.turn();
    }
}

fn a_reset_fails_what_is_in_flight_on_its_socket_only<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (broken, client) = world.connection();
    let (sound, mut other) = world.connection();
    let lost = world.push(Op::Recv(broken));
    let kept = world.push(Op::Recv(sound));
    world.turn();
    client.reset();
    let failure = world.outcome(lost);
    assert!(matches!(errno(&failure), Some(libc::ECONNRESET | libc::EPIPE)), "{failure:?}");
    let send = world.send(broken, vec![1]);
    let failure = world.outcome(send);
    assert!(matches!(errno(&failure), Some(libc::ECONNRESET | libc::EPIPE)), "{failure:?}");
    assert!(world.is_in_flight(kept));
    other.write(b"still here").unwrap();
    assert!(matches!(world.outcome(kept), Outcome::Received { .. }));
    world.close(broken, &[]);
}

fn a_cancelled_receive_ends_and_the_next_one_misses_nothing<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    for round in 0..20_u8 {
        let recv = world.push(Op::Recv(socket));
        if round % 2 == 0 {
            world.turn(); // Else it is cancelled while staged.
        }
        world.harness.driver().cancel(recv);
        assert_eq!(errno(&world.outcome(recv)), Some(libc::ECANCELED));
        let sent = vec![round; 5_000];
        let mut written = 0;
        while written < sent.len() {
            written += write_some(&mut client, &sent[written..]);
        }
        assert!(world.receive(socket, 5_000) == sent, "round {round}");
    }
}

fn a_cancellation_of_an_unknown_token_is_ignored<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let recv = world.push(Op::Recv(socket));
    let stranger = Token::new(Kind::Recv, Key { slot: recv.key().slot, generation: 77_777 });
    world.harness.driver().cancel(stranger);
    world.turn();
    assert!(world.is_in_flight(recv));
    client.write(b"x").unwrap();
    assert!(matches!(world.outcome(recv), Outcome::Received { .. }));
    let send = world.send(socket, vec![1]);
    assert!(matches!(world.outcome(send), Outcome::Sent { .. }));
    world.harness.driver().cancel(send);
    world.turn();
    assert!(world.drain().is_empty(), "a send that has ended cannot be cancelled");
}

fn exhausted_buffers_end_a_receive_and_lose_nothing<H: Harness>() {
    let config = DriverConfig { recv_buffers: 4, recv_buffer_bytes: 64, ..roomy() };
    let mut world = World::<H>::new(config);
    let (socket, mut client) = world.connection();
    let sent = pattern(5_000);
    let mut written = 0;
    let (mut received, mut held) = (Vec::new(), Vec::new());
    let mut recv = world.push(Op::Recv(socket));
    let mut exhaustions = 0;
    while received.len() < sent.len() {
        let outcome = world.outcome_while(recv, |_| {
            written += write_some(&mut client, &sent[written..]);
        });
        match outcome {
            Outcome::Received { bytes, more } => {
                received.extend_from_slice(&bytes);
                held.push(bytes);
                assert!(held.len() <= 4, "more buffers than there are");
                if !more {
                    recv = world.push(Op::Recv(socket));
                }
            }
            failure => {
                assert_eq!(errno(&failure), Some(libc::ENOBUFS), "{failure:?}");
                exhaustions += 1;
                held.clear();
                recv = world.push(Op::Recv(socket));
            }
        }
    }
    assert!(received == sent, "bytes differ");
    assert!(exhaustions > 0);
}

fn a_completion_of_an_earlier_generation_carries_the_earlier_token<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let token = |generation| Token::new(Kind::Recv, Key { slot: 5, generation });
    let (old, old_client) = world.connection();
    let (new, mut new_client) = world.connection();
    world.push_as(token(1), Op::Recv(old));
    world.turn();
    // The shard's slot 5 is given to another connection before the old receive has ended.
    world.push_as(token(2), Op::Recv(new));
    drop(old_client);
    new_client.write(b"new").unwrap();
    assert!(matches!(world.outcome(token(1)), Outcome::ReceivedEnd));
    match world.outcome(token(2)) {
        Outcome::Received { bytes, .. } => assert_eq!(&bytes[..], b"new"),
        other => panic!("{other:?}"),
    }
    world.harness.driver().cancel(token(1));
    world.turn();
    assert!(world.is_in_flight(token(2)), "the stale token cancels nobody");
}

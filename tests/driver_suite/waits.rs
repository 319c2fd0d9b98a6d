use std::time::Duration;

use alarmcast::io::{Driver, Op, Outcome};

use crate::harness::{Client, Harness};
use crate::world::{World, read_some, roomy};

crate::on_every_driver!(
    a_wait_returns_at_its_deadline_with_nothing,
    a_deadline_in_the_past_returns_what_is_ready,
    a_wake_before_the_wait_ends_it,
    many_wakes_end_one_wait_and_the_next_wake_the_next,
    nothing_reaches_the_peer_before_the_wait,
);

fn a_wait_returns_at_its_deadline_with_nothing<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    world.push(Op::Accept);
    let recv = world.push(Op::Recv(socket));
    client.write(b"drained before").unwrap();
    assert!(matches!(world.outcome(recv), Outcome::Received { .. }));
    let enters = world.harness.stats().enters;
    let deadline = world.now() + Duration::from_millis(30);
    while world.now() < deadline {
        assert_eq!(world.turn_until(Some(deadline)), 0);
    }
    assert!(world.harness.stats().enters - enters < 10, "an idle driver is spinning");
}

fn a_deadline_in_the_past_returns_what_is_ready<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    client.write(b"ready").unwrap();
    let recv = world.push(Op::Recv(socket));
    let past = world.now();
    while world.is_in_flight(recv) {
        world.turn_until(Some(past));
        if let Some(completion) = world.drain().pop() {
            assert!(matches!(completion.outcome, Outcome::Received { .. }));
            return;
        }
    }
    panic!("the receive ended without data");
}

fn a_wake_before_the_wait_ends_it<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    world.push(Op::Accept);
    let waker = world.harness.driver().waker();
    for _ in 0..20 {
        waker.park();
        waker.wake();
        assert_eq!(world.turn_until(None), 0, "woken, with nothing else");
        waker.unpark();
    }
}

fn many_wakes_end_one_wait_and_the_next_wake_the_next<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    world.push(Op::Accept);
    let waker = world.harness.driver().waker();
    for _ in 0..100 {
        waker.park(); // Parked anew, so that each wake notifies.
        waker.clone().wake();
    }
    assert_eq!(world.turn_until(None), 0);
    waker.park();
    waker.wake();
    assert_eq!(world.turn_until(None), 0);
    waker.unpark();
    waker.wake();
    let deadline = world.now() + Duration::from_millis(5);
    while world.now() < deadline {
        assert_eq!(world.turn_until(Some(deadline)), 0, "a running shard is not woken");
    }
}

fn nothing_reaches_the_peer_before_the_wait<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (socket, mut client) = world.connection();
    let send = world.send(socket, b"staged".to_vec());
    assert_eq!(read_some(&mut client, 10), Some(Vec::new()));
    assert!(matches!(world.outcome(send), Outcome::Sent { count: 6, .. }));
    let mut received = Vec::new();
    while received.len() < 6 {
        world.turn();
        received.extend(read_some(&mut client, 10).expect("not ended"));
    }
    assert_eq!(received, b"staged");
}

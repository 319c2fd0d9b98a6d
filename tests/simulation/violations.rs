//! Peers that break the rules are told so, and what they still send does not undo it.

use std::time::Duration;

use serde_json::json;

use crate::client::{End, TEXT, frame};
use crate::events;
use crate::world::Plan;

#[test]
fn a_violation_is_answered_with_its_code_and_the_end_of_our_direction() {
    let unmasked = b"\x81\x05plain".to_vec();
    let reserved = vec![0xF1, 0x80, 0, 0, 0, 0];
    let too_big = [&[0x82, 0xFF][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (seed, (bytes, code)) in
        [(unmasked, 1002), (reserved, 1002), (frame(TEXT, b"\xff"), 1007), (too_big, 1009)]
            .into_iter()
            .enumerate()
    {
        let mut world = Plan::new(seed as u64).build();
        let mut client = world.join();
        client.answers_close = false;
        client.send_raw(&bytes);
        world.settle(&mut [&mut client]);
        assert_eq!(client.close_code(), Some(code));
        assert_eq!(client.closing_code(), Some(u64::from(code)));
        assert_eq!(client.end, Some(End::Closed));
        assert_eq!(world.stats.protocol_errors.get(), 1);
        world.end(Duration::from_millis(1300), &mut [&mut client]);
    }
}

#[test]
fn what_the_peer_goes_on_sending_is_thrown_away_and_resets_nothing() {
    let mut world = Plan::new(10).build();
    let mut client = world.join();
    client.answers_close = false;
    client.read_bytes = 0;
    client.send_raw(b"\x81\x05plain");
    for _ in 0..10 {
        client.send_raw(&[0xAA; 3000]);
        world.settle(&mut [&mut client]);
    }
    client.read_bytes = usize::MAX;
    world.settle(&mut [&mut client]);
    assert_eq!((client.close_code(), client.end), (Some(1002), Some(End::Closed)));
    assert_eq!(world.stats.protocol_errors.get(), 1);
    world.end(Duration::from_millis(1300), &mut [&mut client]);
}

#[test]
fn events_stop_at_the_violation() {
    let mut world = Plan::new(11).build();
    let mut client = world.join_subscribed(json!({}));
    client.send_raw(b"\x81\x05plain");
    world.settle(&mut [&mut client]);
    world.publish(events::of_bytes(10));
    world.settle(&mut [&mut client]);
    assert!(client.seqs().is_empty());
    assert_eq!(world.stats.subscriptions_active.get(), 0);
}

#[test]
fn a_peer_that_vanishes_counts_as_reset_and_one_that_closes_does_not() {
    let mut world = Plan::new(12).build();
    let (mut closing, mut vanishing, mut resetting) = (world.join(), world.join(), world.join());
    closing.close(1000);
    vanishing.abandon();
    resetting.reset();
    world.end(Duration::from_secs(2), &mut [&mut closing, &mut vanishing, &mut resetting]);
    assert_eq!(world.stats.connections_reset.get(), 2);
    assert_eq!(world.stats.connections_closed.get(), 3);
}

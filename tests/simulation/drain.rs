//! The orderly end, and the other one.

use std::time::Duration;

use alarmcast::event::Priority;
use serde_json::json;

use crate::client::request;
use crate::events;
use crate::world::Plan;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_was_published_before_the_drain_arrives_then_closing_then_1001() {
    let mut plan = Plan::new(1);
    plan.faults.socket_buffer_bytes = 2048;
    plan.settings.turn_deliveries_max = 3;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    let seqs: Vec<u64> = (0..40).map(|_| world.publish(events::of(Priority::Low, "api"))).collect();
    world.drain(secs(30));
    for _ in 0..10 {
        world.settle(&mut [&mut client]);
    }
    assert_eq!(client.seqs(), seqs);
    assert_eq!((client.closing_code(), client.close_code()), (Some(1001), Some(1001)));
    client.abandon();
    world.end(secs(1), &mut []);
    assert!(!world.is_running, "the shard ends with its last connection");
}

#[test]
fn an_empty_shard_ends_at_once() {
    let mut world = Plan::new(2).build();
    world.turn();
    assert!(world.is_running);
    world.drain(secs(30));
    world.turn();
    assert!(!world.is_running);
}

#[test]
fn handshakes_under_way_and_connections_that_come_late_get_503() {
    let mut world = Plan::new(3).build();
    let mut staying = world.join();
    staying.answers_close = false;
    let mut shaking = world.connect();
    shaking.send_raw(b"GET /ws HTTP/1.1\r\n");
    world.settle(&mut [&mut staying, &mut shaking]);
    world.drain(secs(30));
    world.settle(&mut [&mut staying, &mut shaking]);
    let mut late = world.connect();
    late.send_raw(request("/ws").as_bytes());
    world.settle(&mut [&mut staying, &mut shaking, &mut late]);
    for client in [&mut shaking, &mut late] {
        assert_eq!(client.status(), Some(503));
        let head = client.head.as_deref().expect("an answer");
        assert!(head.contains("Retry-After: 5\r\n"), "{head}");
        assert!(client.body.contains("shutting down"), "{}", client.body);
    }
    assert!(world.is_running);
    world.end(secs(6), &mut [&mut staying, &mut shaking, &mut late]);
    assert!(!world.is_running);
}

#[test]
fn a_silent_peer_holds_the_end_up_to_the_deadline_only() {
    let mut plan = Plan::new(4);
    plan.settings.timing.close = secs(60);
    plan.settings.timing.write = secs(60);
    let mut world = plan.build();
    let mut silent = world.join();
    silent.answers_close = false;
    world.drain(secs(20));
    world.pass(secs(19), &mut [&mut silent]);
    assert!(world.is_running);
    world.pass(secs(2), &mut [&mut silent]);
    assert!(!world.is_running);
}

#[test]
fn a_forced_end_is_at_once() {
    let mut world = Plan::new(5).build();
    let mut client = world.join_subscribed(json!({}));
    world.publish(events::of(Priority::Low, "api"));
    world.handle.force();
    world.turn();
    assert!(!world.is_running);
    drop(world);
    client.pump();
    assert!(client.end.is_some());
}

#[test]
fn a_shard_that_sleeps_until_a_deadline_is_woken_by_the_drain() {
    let mut world = Plan::new(6).build();
    let mut client = world.join();
    world.drain(secs(30));
    let before = world.now();
    world.turn_freely();
    client.pump();
    world.turn_freely();
    client.pump();
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(world.now(), before);
}

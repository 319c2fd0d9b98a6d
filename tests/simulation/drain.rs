//! The orderly end, and the other one.

use std::time::Duration;

use alarmcast::event::Priority;
use serde_json::{Value, json};

use crate::client::{Client, request};
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
    assert_eq!((late.status(), shaking.status()), (Some(503), None), "when it has asked");
    world.pass(secs(1), &mut [&mut staying, &mut shaking, &mut late]);
    for client in [&mut shaking, &mut late] {
        assert_eq!(client.status(), Some(503));
        let head = client.head.as_deref().expect("an answer");
        assert!(head.contains("Retry-After: "), "{head}");
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
    for _ in 0..3 {
        world.turn_freely();
        client.pump();
    }
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(world.now(), before);
}

fn closing(client: &Client) -> Option<&Value> {
    client.messages().find(|message| message["type"] == "closing")
}

#[test]
fn over_a_window_each_leaves_at_a_moment_of_its_own_and_is_served_until_then() {
    const CLIENTS: usize = 10;
    let mut world = Plan::new(7).build();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| world.join_subscribed(json!({}))).collect();
    world.drain_over(secs(10), secs(30));
    let mut told = 0;
    for second in 0..CLIENTS as u64 {
        let (mut seq, mut others) = (0, clients.iter_mut().collect::<Vec<_>>());
        world.settle(&mut others);
        if world.is_running {
            // The first turn of each second finds one more whose moment has come.
            seq = world.publish(events::of(Priority::Normal, "api"));
            world.settle(&mut others);
        }
        told += 1;
        let gone = clients.iter().filter(|client| client.close_code() == Some(1001)).count();
        assert_eq!(gone, told, "in second {second}");
        for client in clients.iter().filter(|client| client.close_code().is_none()) {
            assert_eq!(client.seqs().last(), Some(&seq), "in second {second}");
        }
        world.pass(secs(1), &mut clients.iter_mut().collect::<Vec<_>>());
    }
    let mut pauses = std::collections::BTreeSet::new();
    for client in &clients {
        assert_eq!(client.closing_code(), Some(1001));
        let closing = closing(client).expect("everyone was told");
        let got = client.seqs().last().copied().unwrap_or_default();
        assert_eq!(closing["resume"], json!({"epoch": "sim", "after": got}), "its exact place");
        pauses.insert(closing["retry_after_ms"].as_u64().expect("an invitation"));
    }
    assert!(pauses.len() > CLIENTS / 2, "spread: {pauses:?}");
    world.end(secs(2), &mut clients.iter_mut().collect::<Vec<_>>());
    assert!(!world.is_running, "long before the deadline");
}

#[test]
fn whoever_left_before_its_moment_is_not_waited_for() {
    let mut world = Plan::new(8).build();
    let mut clients: Vec<Client> = (0..5).map(|_| world.join()).collect();
    world.drain_over(secs(1_000), secs(2_000));
    world.settle(&mut clients.iter_mut().collect::<Vec<_>>());
    clients.iter_mut().for_each(|client| client.close(1000));
    world.pass(secs(3), &mut clients.iter_mut().collect::<Vec<_>>());
    assert!(!world.is_running);
}

#[test]
fn newcomers_are_refused_from_the_first_moment_of_a_window_to_its_last() {
    let mut world = Plan::new(9).build();
    let mut staying: Vec<Client> = (0..2).map(|_| world.join()).collect();
    world.drain_over(secs(20), secs(30));
    for _ in 0..4 {
        let mut late = world.knock();
        staying.iter_mut().for_each(Client::pump);
        world.settle(&mut [&mut late]);
        assert_eq!(late.status(), Some(503));
        assert!(late.head.as_deref().is_some_and(|head| head.contains("Retry-After: ")));
        world.pass(secs(2), &mut staying.iter_mut().chain([&mut late]).collect::<Vec<_>>());
    }
    assert_eq!(staying.iter().filter(|client| client.close_code().is_some()).count(), 1);
    world.end(secs(15), &mut staying.iter_mut().collect::<Vec<_>>());
    assert!(!world.is_running);
}

/// It leaves with the place that it has reached, and what it got is all that comes before.
#[test]
fn one_that_still_catches_up_leaves_with_its_place() {
    const EVENTS: u64 = 400;
    let mut plan = Plan::new(10);
    plan.faults.socket_buffer_bytes = 1024;
    plan.settings.send_bytes_max = 1024;
    let mut world = plan.build();
    for _ in 0..EVENTS {
        world.publish(events::of(Priority::Normal, "api"));
        world.turn();
    }
    let mut client = world.join();
    client.read_bytes = 700;
    client.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": "sim", "after": 100},
    }));
    for _ in 0..20 {
        world.turn();
        client.pump();
    }
    world.drain_over(secs(5), secs(30));
    client.read_bytes = usize::MAX;
    world.settle(&mut [&mut client]);
    let told = closing(&client).expect("its moment has come")["resume"]["after"].clone();
    let seqs = client.seqs();
    let reached = *seqs.last().expect("some came");
    assert!(seqs.iter().copied().eq(101..=reached), "{seqs:?}");
    assert!(reached > 101 && reached < EVENTS, "on its way: {reached}");
    assert_eq!(told, json!(reached));
    world.end(secs(2), &mut [&mut client]);
    assert!(!world.is_running);
}

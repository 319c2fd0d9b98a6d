//! Who goes first: lanes, and how much goes into one send.

use std::time::Duration;

use alarmcast::event::Priority;
use serde_json::json;

use crate::client::{Received, TEXT, frame, request};
use crate::events;
use crate::world::Plan;

#[test]
fn a_critical_event_overtakes_the_low_ones_that_wait() {
    let mut plan = Plan::new(1);
    plan.faults.socket_buffer_bytes = 2048;
    plan.settings.send_bytes_max = 1024;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    client.read_bytes = 0;
    let low: Vec<u64> = (0..50).map(|_| world.publish(events::of(Priority::Low, "api"))).collect();
    world.settle(&mut []);
    let high = world.publish(events::of(Priority::High, "api"));
    let critical = world.publish(events::of(Priority::Critical, "api"));
    world.settle(&mut []);
    client.read_bytes = usize::MAX;
    for _ in 0..20 {
        world.settle(&mut [&mut client]);
    }
    let seqs = client.seqs();
    assert_eq!(seqs.len(), low.len() + 2);
    let place = |seq| seqs.iter().position(|seen| *seen == seq).expect("it came");
    // Ahead of it is only what was in the socket's buffer or in the one send in flight.
    let bytes = client.messages().nth(2).expect("an event").to_string().len();
    assert!(place(critical) <= (2048 + 1024) / bytes + 1, "critical at {}", place(critical));
    assert_eq!(place(high), place(critical) + 1);
    let low_seen: Vec<u64> = seqs.iter().copied().filter(|seq| low.contains(seq)).collect();
    assert_eq!(low_seen, low, "a lane keeps its order");
}

#[test]
fn replies_go_before_events_that_wait() {
    let mut plan = Plan::new(2);
    plan.faults.socket_buffer_bytes = 1024;
    plan.settings.send_bytes_max = 512;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    client.read_bytes = 0;
    for _ in 0..40 {
        world.publish(events::of(Priority::Critical, "api"));
    }
    world.settle(&mut []);
    client.send(&json!({"type": "ping", "timestamp": "mine"}));
    world.settle(&mut []);
    client.read_bytes = usize::MAX;
    for _ in 0..20 {
        world.settle(&mut [&mut client]);
    }
    let pong = client.messages().position(|message| message["type"] == "pong").expect("a pong");
    let after = client.messages().skip(pong + 1).filter(|message| message["type"] == "event");
    assert!(after.count() > 30, "the pong came at {pong}");
    assert_eq!(client.seqs().len(), 40);
}

#[test]
fn one_send_carries_no_more_than_its_limit_unless_one_frame_does() {
    let mut plan = Plan::new(3);
    // All of a send is taken at once, and nothing before the reader has read it.
    plan.faults.socket_buffer_bytes = 4096;
    plan.settings.send_bytes_max = 1000;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    let sent = |world: &crate::world::World<_>| {
        (world.stats.bytes_sent.get(), world.stats.messages_sent.get())
    };
    for size in [10, 10, 10, 10, 2000, 10, 10, 10] {
        world.publish(events::of_bytes(size));
    }
    let mut sends = Vec::new();
    let mut before = sent(&world);
    for _ in 0..40 {
        world.turn();
        let now = sent(&world);
        if now != before {
            sends.push((now.0 - before.0, now.1 - before.1));
        }
        before = now;
        client.pump();
    }
    assert_eq!(client.seqs().len(), 8);
    assert!(sends.iter().any(|(_, frames)| *frames > 1), "small ones go together: {sends:?}");
    let over: Vec<_> = sends.iter().filter(|(bytes, _)| *bytes > 1000).collect();
    assert!(matches!(over[..], [(_, 1)]), "the large one goes alone: {sends:?}");
}

#[test]
fn what_is_said_together_with_the_request_is_answered_after_the_upgrade() {
    let mut world = Plan::new(4).build();
    let mut client = world.connect();
    let subscribe = json!({"type": "subscribe", "subscription_id": "a", "filters": {}});
    let mut bytes = request("/ws").into_bytes();
    bytes.extend(frame(TEXT, subscribe.to_string().as_bytes()));
    client.send_raw(&bytes);
    world.settle(&mut [&mut client]);
    assert_eq!(client.status(), Some(101));
    let kinds: Vec<_> = client.messages().map(|message| message["type"].clone()).collect();
    assert_eq!(kinds, ["welcome", "subscribed"]);
}

#[test]
fn a_close_frame_together_with_the_request_does_not_cost_the_upgrade_its_answer() {
    let mut world = Plan::new(5).build();
    let mut client = world.connect();
    let mut bytes = request("/ws").into_bytes();
    bytes.extend(frame(crate::client::CLOSE, &1000_u16.to_be_bytes()));
    client.send_raw(&bytes);
    world.settle(&mut [&mut client]);
    assert_eq!(client.status(), Some(101));
    assert_eq!(client.received.last(), Some(&Received::Close(Some(1000))));
    drop(client);
    world.end(Duration::from_secs(5), &mut []);
}

#[test]
fn too_much_said_together_with_the_request_does_not_cost_the_upgrade_its_answer() {
    let mut plan = Plan::new(6);
    plan.settings.outbox.messages_max = 5;
    let mut world = plan.build();
    let mut client = world.connect();
    let mut bytes = request("/ws").into_bytes();
    for _ in 0..10 {
        bytes.extend(frame(crate::client::PING, b""));
    }
    client.send_raw(&bytes);
    world.settle(&mut [&mut client]);
    assert_eq!(client.status(), Some(101));
    assert_eq!(client.closing_code(), Some(4009));
    assert_eq!(client.close_code(), Some(4009));
}

#[test]
fn clients_that_ask_all_the_time_do_not_keep_the_others_waiting() {
    let mut plan = Plan::new(7);
    plan.settings.turn_sends_max = 8;
    let mut world = plan.build();
    let mut reader = world.join_subscribed(json!({}));
    let mut askers: Vec<_> = (0..24).map(|_| world.join()).collect();
    let mut ask = |world: &mut crate::world::World<_>| {
        for asker in &mut askers {
            asker.send_raw(&frame(crate::client::PING, b""));
        }
        world.turn();
    };
    (0..10).for_each(|_| ask(&mut world));
    let seq = world.publish(events::of(Priority::Normal, "api"));
    (0..10).for_each(|_| ask(&mut world));
    reader.pump();
    assert_eq!(reader.seqs(), [seq]);
}

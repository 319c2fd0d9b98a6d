//! Connections of both encodings side by side.

use std::time::Duration;

use alarmcast::event::Priority;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::events;
use crate::world::Plan;

#[test]
fn each_connection_gets_every_event_in_its_own_encoding_and_both_say_the_same() {
    let mut plan = Plan::new(1);
    plan.faults.socket_buffer_bytes = 2048;
    let mut world = plan.build();
    let mut text = [world.knock(), world.knock()];
    let mut packed = [world.connect(), world.connect(), world.connect()];
    for client in &mut packed {
        client.is_packed = true;
        client.send_raw(request("/ws?encoding=msgpack").as_bytes());
    }
    for _ in 0..2 {
        world.settle(&mut text.iter_mut().chain(&mut packed).collect::<Vec<_>>());
    }
    for client in text.iter_mut().chain(&mut packed) {
        client.subscribe("all", json!({}));
    }
    world.settle(&mut []);
    for priority in Priority::ALL.into_iter().cycle().take(200) {
        world.publish(events::of(priority, "api"));
        world.turn();
    }
    let mut all: Vec<&mut Client> = text.iter_mut().chain(&mut packed).collect();
    for _ in 0..20 {
        world.settle(&mut all);
    }
    let mut expected = None;
    for client in text.iter().chain(&packed) {
        let mut events: Vec<&Value> =
            client.messages().filter(|message| message["type"] == "event").collect();
        events.sort_by_key(|event| event["seq"].as_u64());
        assert_eq!(events.len(), 200);
        assert_eq!(*expected.get_or_insert_with(|| events.clone()), events);
    }
    drop((text, packed));
    world.end(Duration::from_secs(5), &mut []);
}

#[test]
fn a_slot_forgets_the_encoding_of_the_connection_before() {
    let mut world = Plan::new(2).build();
    for target in ["/ws?encoding=msgpack", "/ws", "/ws?encoding=msgpack", "/ws?encoding=json"] {
        let mut client = world.connect();
        client.is_packed = target.ends_with("msgpack");
        client.send_raw(request(target).as_bytes());
        world.settle(&mut [&mut client]);
        client.send(&json!({"type": "ping", "timestamp": "t"}));
        world.settle(&mut [&mut client]);
        assert_eq!(client.count("pong"), 1, "{target}");
        client.close(1000);
        world.end(Duration::from_secs(5), &mut [&mut client]);
    }
}

#[test]
fn an_event_is_stored_once_for_each_encoding_that_is_spoken_here() {
    const EVENTS: usize = 50;
    for (targets, encodings) in [
        (["/ws", "/ws", "/ws"], 1),
        (["/ws?encoding=msgpack"; 3], 1),
        (["/ws", "/ws?encoding=msgpack", "/ws"], 2),
    ] {
        let mut plan = Plan::new(3);
        plan.faults.socket_buffer_bytes = 1024;
        plan.settings.send_bytes_max = 512;
        let mut world = plan.build();
        let mut clients = targets.map(|target| {
            let mut client = world.connect();
            client.is_packed = target.ends_with("msgpack");
            client.send_raw(request(target).as_bytes());
            client
        });
        world.settle(&mut clients.iter_mut().collect::<Vec<_>>());
        clients.iter_mut().for_each(|client| client.subscribe("all", json!({})));
        world.settle(&mut clients.iter_mut().collect::<Vec<_>>());
        clients.iter_mut().for_each(|client| client.read_bytes = 0);
        assert_eq!(world.shard.frames_stored(), 0);
        for _ in 0..EVENTS {
            world.publish(events::of(Priority::Low, "api"));
        }
        world.turn();
        // A few may be on their way already.
        let stored = world.shard.frames_stored();
        let expected = EVENTS * encodings;
        assert!((expected - EVENTS / 5..=expected).contains(&stored), "{stored} of {expected}");
    }
}

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

//! Many who ask for the past at once: so many at a time, the others in their turn, and nobody who
//! is live waits for them.

use std::collections::BTreeSet;
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::shard::{CatchUpLimits, StreamHandler};
use serde_json::json;

use crate::client::Client;
use crate::events;
use crate::world::{Plan, World};

const EVENTS: u64 = 300;

/// A world with a past, in which sockets take so many bytes at a time.
fn world(seed: u64, limits: CatchUpLimits, bytes: usize) -> World<StreamHandler> {
    let mut plan = Plan::new(seed);
    plan.settings.catch_up = limits;
    plan.settings.send_bytes_max = bytes;
    plan.faults.socket_buffer_bytes = bytes;
    let mut world = plan.build();
    for _ in 0..EVENTS {
        world.publish(events::of(Priority::Normal, "api"));
        world.turn();
    }
    world
}

fn ask_for_all(client: &mut Client) {
    client.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": "sim", "after": 0},
    }));
}

fn all(clients: &mut [Client]) -> Vec<&mut Client> {
    clients.iter_mut().collect()
}

fn has_all(client: &Client) -> bool {
    client.count("caught_up") == 1 && client.seqs().into_iter().eq(1..=EVENTS)
}

#[test]
fn so_many_catch_up_at_a_time_so_many_wait_and_the_others_are_told_when_to_ask_again() {
    let mut world = world(1, CatchUpLimits { at_once_max: 2, waiting_max: 3 }, 2_048);
    let mut clients: Vec<Client> = (0..9).map(|_| world.join()).collect();
    clients.iter_mut().for_each(ask_for_all);
    world.turn();
    let stats = &world.stats;
    assert_eq!((stats.catch_ups_active.get(), stats.catch_ups_waiting.get()), (2, 3));
    assert_eq!(stats.catch_ups_refused.get(), 4);
    world.pass(Duration::from_secs(8), &mut all(&mut clients));
    let (mut served, mut refused): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|client| client.count("error") == 0);
    assert!(served.len() == 5 && served.iter().all(has_all));
    let mut pauses = BTreeSet::new();
    for client in &mut refused {
        let error = client.messages().find(|it| it["type"] == "error").expect("refused").clone();
        assert_eq!(
            (&error["code"], &error["subscription_id"]),
            (&json!("UNAVAILABLE"), &json!("s"))
        );
        pauses.insert(error["retry_after_ms"].as_u64().expect("a time"));
        assert_eq!((client.count("subscribed"), client.end), (0, None), "nothing was changed");
        ask_for_all(client);
    }
    assert!(pauses.len() > 1, "spread: {pauses:?}");
    world.pass(Duration::from_secs(8), &mut all(&mut refused));
    assert!(refused.iter().all(has_all), "there was room again");
    assert_eq!(world.stats.catch_ups_active.get() + world.stats.catch_ups_waiting.get(), 0);
    served.append(&mut refused);
    served.iter_mut().for_each(|client| client.close(1000));
    world.end(Duration::from_secs(10), &mut all(&mut served));
}

#[test]
fn one_that_does_not_read_gives_its_place_to_the_next_and_gets_the_rest_later() {
    let mut world = world(2, CatchUpLimits { at_once_max: 1, waiting_max: 8 }, 8_192);
    let mut deaf = world.join();
    deaf.read_bytes = 0;
    ask_for_all(&mut deaf);
    world.settle(&mut [&mut deaf]);
    let mut others: Vec<Client> = (0..3).map(|_| world.join()).collect();
    others.iter_mut().for_each(ask_for_all);
    world.settle(&mut all(&mut others));
    assert!(others.iter().all(|client| client.seqs().is_empty()), "they wait");
    world.pass(Duration::from_secs(4), &mut all(&mut others));
    assert!(others.iter().all(has_all));
    deaf.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(4), &mut [&mut deaf]);
    assert!(has_all(&deaf));
}

#[test]
fn those_who_leave_while_they_wait_make_room_for_others() {
    let mut world = world(3, CatchUpLimits { at_once_max: 1, waiting_max: 2 }, 2_048);
    let mut deaf = world.join();
    deaf.read_bytes = 0;
    ask_for_all(&mut deaf);
    world.settle(&mut [&mut deaf]);
    for round in 0..20 {
        let mut waiting: Vec<Client> = (0..2).map(|_| world.join()).collect();
        waiting.iter_mut().for_each(ask_for_all);
        world.turn();
        assert_eq!(world.stats.catch_ups_refused.get(), 0, "in round {round}");
        match round % 3 {
            0 => waiting.iter_mut().for_each(Client::reset),
            1 => waiting.iter_mut().for_each(|client| client.close(1000)),
            // Not wanted any more: it is live in nothing.
            _ => waiting.iter_mut().for_each(|client| {
                client.unsubscribe("s");
                client.close(1000);
            }),
        }
        world.settle(&mut all(&mut waiting));
        assert_eq!(world.stats.catch_ups_waiting.get(), 0, "in round {round}");
    }
    deaf.reset();
    world.end(Duration::from_secs(10), &mut []);
}

/// Whatever is published reaches who is live in the turn in which it came, while replays of all
/// of the past go on.
#[test]
fn replays_of_many_make_nobody_wait_who_is_live() {
    const REPLAYING: usize = 40;
    let mut plan = Plan::new(4);
    plan.settings.catch_up = CatchUpLimits { at_once_max: 30, waiting_max: 100 };
    plan.settings.send_bytes_max = 1024;
    plan.settings.turn_sends_max = 64;
    plan.faults.socket_buffer_bytes = 1024;
    let mut world = plan.build();
    for _ in 0..2_000 {
        world.publish(events::of(Priority::Normal, "api"));
        world.turn();
    }
    let mut live = world.join_subscribed(json!({}));
    let mut replaying: Vec<Client> = (0..REPLAYING).map(|_| world.join()).collect();
    replaying.iter_mut().for_each(ask_for_all);
    world.turn();
    let mut replayed = world.stats.events_replayed.get();
    for round in 0..200 {
        let priority = [Priority::Low, Priority::Normal, Priority::Critical][round % 3];
        let seq = world.publish(events::of(priority, "api"));
        // One turn to take and send it, one in which the send is completed.
        world.turn();
        world.turn();
        live.pump();
        assert_eq!(live.seqs().last(), Some(&seq), "in round {round}");
        replaying.iter_mut().for_each(Client::pump);
        let now = world.stats.events_replayed.get();
        assert!(now > replayed, "the replays stand still in round {round}");
        replayed = now;
    }
    assert_eq!(world.stats.catch_ups_done.get(), 0, "all of them were on their way all the time");
}

//! Catching up with the past: nothing missing, nothing twice, in order, then live.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::shard::StreamHandler;
use alarmcast::stream::history::Limits;
use serde_json::{Value, json};

use crate::client::Client;
use crate::events;
use crate::random::{Random, for_seeds};
use crate::world::{Plan, World};

/// Something that the hub does with a shard.
type StepOfTheHub = Box<dyn FnOnce(&mut World<StreamHandler>)>;

fn subscribe(client: &mut Client, id: &str, filters: Value, from: &Value) {
    let mut message = json!({"type": "subscribe", "subscription_id": id, "filters": filters});
    let fields = message.as_object_mut().expect("an object");
    fields.extend(from.as_object().expect("an object").clone());
    client.send(&message);
}

fn after(seq: u64) -> Value {
    json!({"resume": {"epoch": "sim", "after": seq}})
}

/// Every third event is critical, the others low.
fn priority(number: u64) -> Priority {
    if number.is_multiple_of(3) { Priority::Critical } else { Priority::Low }
}

fn publish(world: &mut World<StreamHandler>, count: u64) {
    for number in 0..count {
        world.publish(events::of(priority(number), "api"));
        world.turn();
    }
}

/// The last message of a type.
fn last<'c>(client: &'c Client, kind: &str) -> &'c Value {
    let of_kind = client.messages().filter(|message| message["type"] == kind);
    of_kind.last().unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn what_was_missed_comes_in_order_then_caught_up_then_what_is_live() {
    let mut world = Plan::new(1).build();
    publish(&mut world, 100);
    let mut client = world.join();
    subscribe(&mut client, "s", json!({}), &after(40));
    publish(&mut world, 3);
    world.settle(&mut [&mut client]);
    publish(&mut world, 5);
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), (41..=108).collect::<Vec<_>>());
    let subscribed = last(&client, "subscribed");
    assert_eq!((&subscribed["resumed"], subscribed.get("reason")), (&json!(true), None));
    let kinds: Vec<&str> =
        client.messages().filter_map(|message| message["type"].as_str()).collect();
    assert_eq!(kinds[..2], ["welcome", "subscribed"]);
    let place = kinds.iter().position(|kind| *kind == "caught_up").expect("it is told");
    let told = last(&client, "caught_up");
    assert_eq!(told["subscription_id"], "s");
    let before = client.messages().take(place).filter(|message| message["type"] == "event");
    assert_eq!(before.last().expect("events")["seq"], told["seq"]);
    assert_eq!(world.stats.catch_ups_done.get(), 1);
    client.close(1000);
    world.end(Duration::from_secs(10), &mut [&mut client]);
}

#[test]
fn who_asks_for_checkpoints_is_told_how_far_it_has_got_and_no_more_often_than_is_of_use() {
    let mut world = Plan::new(8).build();
    let mut client = world.join();
    let mut other = world.join_subscribed(json!({}));
    let asks = json!({"checkpoints": true});
    subscribe(&mut client, "s", json!({"sources": ["db"]}), &asks);
    world.settle(&mut [&mut client, &mut other]);
    publish(&mut world, 5);
    world.settle(&mut [&mut client, &mut other]);
    assert_eq!(client.count("checkpoint"), 0, "nothing was sent to it, and no heartbeat is due");
    world.pass(Duration::from_secs(31), &mut [&mut client, &mut other]);
    assert_eq!(last(&client, "checkpoint")["seq"], 5, "with the heartbeat");
    for _ in 0..20 {
        world.publish(events::of(Priority::Low, "db"));
        world.pass(Duration::from_millis(100), &mut [&mut client, &mut other]);
    }
    let told: Vec<u64> = client
        .messages()
        .filter(|message| message["type"] == "checkpoint")
        .filter_map(|message| message["seq"].as_u64())
        .collect();
    assert!((3..=4).contains(&told.len()) && told.is_sorted(), "{told:?}");
    assert_eq!(other.count("checkpoint"), 0);
    // What a checkpoint says was sent before it.
    for checkpoint in client.messages().enumerate().filter(|(_, it)| it["type"] == "checkpoint") {
        let (place, seq) = (checkpoint.0, checkpoint.1["seq"].as_u64().expect("a seq"));
        let before = client.messages().take(place).filter(|it| it["type"] == "event");
        assert_eq!(before.count() as u64, seq - 5, "at {seq}");
    }
    let mut resumed = world.join();
    subscribe(&mut resumed, "s", json!({}), &after(20));
    world.settle(&mut [&mut resumed]);
    world.pass(Duration::from_secs(31), &mut [&mut resumed]);
    world.publish(events::of(Priority::Low, "db"));
    world.pass(Duration::from_secs(2), &mut [&mut resumed]);
    assert_eq!(last(&resumed, "checkpoint")["seq"], 26);
}

#[test]
fn subscriptions_of_one_connection_catch_up_each_from_its_own_place() {
    let mut world = Plan::new(2).build();
    for number in 0..90 {
        let source = if number % 2 == 0 { "api" } else { "db" };
        world.publish(events::of(Priority::Normal, source));
    }
    world.turn();
    let mut client = world.join();
    subscribe(&mut client, "a", json!({"sources": ["api"]}), &after(60));
    subscribe(&mut client, "b", json!({"sources": ["db"]}), &after(80));
    subscribe(&mut client, "none", json!({"sources": ["x"]}), &after(0));
    world.settle(&mut [&mut client]);
    let mut seqs = client.seqs();
    seqs.sort_unstable();
    let expected = (61..=90).filter(|seq| seq % 2 == 1 || *seq > 80);
    assert_eq!(seqs, expected.collect::<Vec<_>>());
    assert_eq!(client.count("caught_up"), 3);
    assert_eq!(world.stats.subscriptions_active.get(), 3);
    world.publish(events::of(Priority::Normal, "db"));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs().last(), Some(&91));
    client.close(1000);
    world.end(Duration::from_secs(10), &mut [&mut client]);
}

#[test]
fn a_place_that_is_not_held_is_refused_with_its_reason_and_the_subscription_is_live() {
    let mut plan = Plan::new(3);
    plan.history = Limits { events_max: 50, ..Limits::default() };
    let mut world = plan.build();
    publish(&mut world, 100);
    for (from, reason) in [
        (after(49), "history_expired"),
        (after(0), "history_expired"),
        (after(101), "epoch_changed"),
        (after(u64::MAX), "epoch_changed"),
        (json!({"resume": {"epoch": "other", "after": 70}}), "epoch_changed"),
        (json!({"since": "1969-01-01T00:00:00Z"}), "history_expired"),
    ] {
        let mut client = world.join();
        subscribe(&mut client, "s", json!({}), &from);
        world.settle(&mut [&mut client]);
        let subscribed = last(&client, "subscribed");
        assert_eq!(subscribed["resumed"], false, "{from}");
        assert_eq!((&subscribed["reason"], &subscribed["first_seq"]), (&json!(reason), &json!(51)));
        assert_eq!(client.seqs(), [0_u64; 0]);
        client.close(1000);
        world.settle(&mut [&mut client]);
    }
    let mut client = world.join();
    subscribe(&mut client, "s", json!({}), &after(50));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), (51..=100).collect::<Vec<_>>());
    let mut newest = world.join();
    subscribe(&mut newest, "s", json!({}), &json!({"since": "2100-01-01T00:00:00Z"}));
    world.settle(&mut [&mut newest, &mut client]);
    assert_eq!((newest.seqs().len(), newest.count("caught_up")), (0, 1));
}

#[test]
fn who_asks_for_two_places_or_for_none_is_told() {
    let mut world = Plan::new(4).build();
    let mut client = world.join();
    for from in [
        json!({"resume": {"epoch": "sim", "after": 1}, "since": "2026-01-01T00:00:00Z"}),
        json!({"resume": {"epoch": "sim"}}),
        json!({"resume": {"epoch": "sim", "after": -1}}),
        json!({"resume": 7}),
        json!({"since": "yesterday"}),
    ] {
        subscribe(&mut client, "s", json!({}), &from);
        world.settle(&mut [&mut client]);
        assert_eq!(last(&client, "error")["code"], "INVALID_MESSAGE", "{from}");
    }
    assert_eq!(world.stats.subscriptions_active.get(), 0);
}

#[test]
fn one_that_leaves_or_changes_its_mind_while_it_catches_up_leaves_nothing_behind() {
    let mut plan = Plan::new(5);
    plan.faults.socket_buffer_bytes = 1024;
    let mut world = plan.build();
    publish(&mut world, 200);
    let mut client = world.join();
    client.read_bytes = 16;
    subscribe(&mut client, "gone", json!({}), &after(0));
    subscribe(&mut client, "changed", json!({}), &after(0));
    world.settle(&mut [&mut client]);
    client.unsubscribe("gone");
    client.subscribe("changed", json!({"sources": ["db"]}));
    client.unsubscribe("unknown");
    for _ in 0..10 {
        world.settle(&mut [&mut client]);
    }
    client.read_bytes = usize::MAX;
    world.settle(&mut [&mut client]);
    assert_eq!((client.count("unsubscribed"), client.count("caught_up")), (1, 0));
    assert_eq!(last(&client, "error")["code"], "NOT_FOUND");
    assert_eq!(world.stats.subscriptions_active.get(), 1);
    assert!(client.seqs().len() < 200);
    subscribe(&mut client, "again", json!({}), &after(0));
    client.close(1000);
    world.end(Duration::from_secs(10), &mut [&mut client]);
}

#[test]
fn one_that_history_passes_is_closed_with_the_place_that_it_reached() {
    let mut plan = Plan::new(6);
    plan.faults.socket_buffer_bytes = 1024;
    plan.settings.send_bytes_max = 1024;
    plan.history = Limits { events_max: 100, ..Limits::default() };
    let mut world = plan.build();
    publish(&mut world, 100);
    let mut client = world.join();
    subscribe(&mut client, "s", json!({}), &after(0));
    client.read_bytes = 0;
    world.settle(&mut [&mut client]);
    publish(&mut world, 300);
    client.read_bytes = usize::MAX;
    world.settle(&mut [&mut client]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(4009), Some(4009)));
    let seqs = client.seqs();
    let reached = last(&client, "closing")["resume"]["after"].as_u64().expect("a position");
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
    assert!(reached <= seqs.len() as u64 && reached < 100, "{reached} of {}", seqs.len());
    assert_eq!(world.stats.catch_ups_lost.get(), 1);
    world.end(Duration::from_secs(10), &mut [&mut client]);
}

#[test]
fn an_event_that_the_hub_holds_while_urgent_ones_pass_comes_once() {
    // The second one has got what its shard has not: it was with another one before.
    for (join_at, place) in (0..4).flat_map(|join_at| [(join_at, 5), (join_at, 12)]) {
        let mut world = Plan::new(7).build();
        publish(&mut world, 10);
        let mut client = world.join();
        let (held, urgent, later) = (
            world.sequence(events::of(Priority::Low, "api")),
            world.sequence(events::of(Priority::Critical, "api")),
            world.sequence(events::of(Priority::Low, "api")),
        );
        let mut steps: Vec<StepOfTheHub> = vec![
            Box::new(move |world| assert!(world.handle.push_event(urgent).is_ok())),
            Box::new(move |world| {
                assert!(world.handle.push_event(held).is_ok());
                world.handle.set_complete_to(12);
            }),
            Box::new(move |world| {
                assert!(world.handle.push_event(later).is_ok());
                world.handle.set_complete_to(13);
            }),
        ];
        for step in 0..4 {
            if step == join_at {
                subscribe(&mut client, "s", json!({}), &after(place));
            }
            world.settle(&mut [&mut client]);
            if !steps.is_empty() {
                steps.remove(0)(&mut world);
            }
        }
        world.settle(&mut [&mut client]);
        let mut seqs = client.seqs();
        seqs.sort_unstable();
        let expected: Vec<u64> = (place + 1..=13).collect();
        assert_eq!(seqs, expected, "joined at {join_at} after {place}");
    }
}

/// One client after another resumes from wherever the last one ended, with a network that does
/// what it likes and events that go on.
#[test]
fn whoever_resumes_from_its_last_place_misses_nothing_of_any_priority() {
    for_seeds(300, |seed| {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(seed);
        plan.faults.socket_buffer_bytes = 256 + random.below(8_000);
        plan.settings.send_bytes_max = 512 + random.below(8_000);
        let mut world = plan.build();
        let filters = json!({"sources": ["api"]});
        let (mut all, mut place, mut wanted) = (Vec::new(), 0, Vec::new());
        for _ in 0..6 {
            let mut client = world.join();
            subscribe(&mut client, "s", filters.clone(), &after(place));
            let steps = random.below(40);
            for _ in 0..steps {
                for _ in 0..random.below(4) {
                    let source = if random.below(3) == 0 { "db" } else { "api" };
                    let seq = world.publish(events::of(priority(random.below(9) as u64), source));
                    if source == "api" {
                        wanted.push(seq);
                    }
                }
                client.read_bytes = random.below(3_000);
                world.turn();
                client.pump();
            }
            if random.below(2) == 0 {
                client.read_bytes = usize::MAX;
                for _ in 0..3 {
                    world.settle(&mut [&mut client]);
                }
            }
            // A client goes on after the last event before which it has all of its kind.
            let got = client.seqs();
            for priority in ["critical", "low"] {
                let of_priority = client
                    .messages()
                    .filter(|message| message["priority"] == priority)
                    .filter_map(|message| message["seq"].as_u64());
                assert!(of_priority.is_sorted(), "seed {seed}: {priority} is out of order");
            }
            let mut unique = got.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), got.len(), "seed {seed}: something came twice");
            all.extend(unique.iter().copied());
            let has = |seq: &u64| *seq <= place || unique.binary_search(seq).is_ok();
            place = wanted.iter().copied().take_while(has).last().unwrap_or(place).max(place);
            client.close(1000);
            world.settle(&mut [&mut client]);
        }
        let mut client = world.join();
        subscribe(&mut client, "s", filters, &after(place));
        for _ in 0..3 {
            world.settle(&mut [&mut client]);
        }
        all.extend(client.seqs());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, wanted, "seed {seed}");
        client.close(1000);
        world.end(Duration::from_secs(10), &mut [&mut client]);
    });
}

//! Lanes that are full and may not be shed: the rest is read from the past, exactly.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use alarmcast::shard::StreamHandler;
use alarmcast::stream::history;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::events;
use crate::world::{Plan, World};

const CRITICAL: usize = Priority::Critical.index();

fn plan(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.faults.socket_buffer_bytes = 4096;
    plan.settings.outbox = Limits { messages_max: 64, bytes_max: 64 * 1024 };
    plan
}

/// A subscribed client that named the protocol, and so hears of losses.
fn join_extended(world: &mut World<StreamHandler>, filters: Value) -> Client {
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.subscribe("s", filters);
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1);
    client
}

/// Publishes while nobody reads.
fn publish(world: &mut World<StreamHandler>, count: u64, priority: Priority) -> Vec<u64> {
    let mut seqs = Vec::new();
    for _ in 0..count {
        seqs.push(world.publish(events::of(priority, "api")));
        world.turn();
    }
    world.settle(&mut []);
    seqs
}

fn read_all(world: &mut World<StreamHandler>, client: &mut Client) {
    client.read_bytes = usize::MAX;
    for _ in 0..40 {
        world.settle(&mut [client]);
    }
}

fn last<'c>(client: &'c Client, kind: &str) -> &'c Value {
    let of_kind = client.messages().filter(|message| message["type"] == kind);
    of_kind.last().unwrap_or_else(|| panic!("no {kind}"))
}

fn end(mut world: World<StreamHandler>, clients: &mut [&mut Client]) {
    clients.iter_mut().for_each(|client| client.close(1000));
    world.end(Duration::from_secs(10), clients);
    assert_eq!(world.stats.overflows_active.get(), 0);
}

#[test]
fn critical_events_beyond_the_limit_are_read_from_the_past_in_order_and_take_no_memory() {
    for is_extended in [true, false] {
        let mut world = plan(1).build();
        let mut slow = match is_extended {
            true => join_extended(&mut world, json!({})),
            false => world.join_subscribed(json!({})),
        };
        slow.read_bytes = 0;
        // What was published is settled for those that do not read when nothing more comes.
        let quiet = Duration::from_secs(2);
        publish(&mut world, 100, Priority::Critical);
        world.pass(quiet, &mut []);
        let (bytes, frames) = (world.stats.outbox_bytes.get(), world.shard.frames_stored());
        publish(&mut world, 900, Priority::Critical);
        world.pass(quiet, &mut []);
        assert_eq!(world.stats.outbox_bytes.get(), bytes, "what is to come waits nowhere");
        assert_eq!(world.shard.frames_stored(), frames);
        assert_eq!(world.stats.overflows[CRITICAL].get(), 1);
        assert_eq!(world.stats.overflows_active.get(), 1);
        read_all(&mut world, &mut slow);
        assert!(slow.seqs().into_iter().eq(1..=1_000));
        assert_eq!(world.stats.overflows_active.get(), 0);
        publish(&mut world, 3, Priority::Critical);
        world.settle(&mut [&mut slow]);
        assert!(slow.seqs().into_iter().eq(1..=1_003), "live again");
        assert_eq!((slow.count("dropped"), slow.close_code()), (0, None));
        end(world, &mut [&mut slow]);
    }
}

#[test]
fn one_that_meets_the_live_edge_under_load_goes_live_without_a_gap() {
    let mut world = plan(2).build();
    let mut slow = join_extended(&mut world, json!({}));
    slow.read_bytes = 0;
    publish(&mut world, 200, Priority::Critical);
    slow.read_bytes = 900;
    let mut rounds = 0;
    while world.stats.overflows_active.get() > 0 {
        // Two events come for each three or so that are read.
        world.publish(events::of(Priority::Critical, "api"));
        world.publish(events::of(Priority::High, "api"));
        world.settle(&mut [&mut slow]);
        rounds += 1;
        assert!(rounds < 2_000, "never");
    }
    read_all(&mut world, &mut slow);
    let critical: Vec<u64> =
        slow.events().into_iter().filter(|(_, it)| it == "critical").map(|(seq, _)| seq).collect();
    assert!(critical.is_sorted());
    assert_eq!(critical.len(), 200 + rounds);
    end(world, &mut [&mut slow]);
}

#[test]
fn what_history_has_passed_closes_with_the_position_and_resuming_there_says_so() {
    let mut plan = plan(3);
    plan.history = history::Limits { events_max: 100, ..history::Limits::default() };
    let mut world = plan.build();
    let mut slow = join_extended(&mut world, json!({}));
    slow.read_bytes = 0;
    publish(&mut world, 500, Priority::Critical);
    read_all(&mut world, &mut slow);
    assert_eq!((slow.closing_code(), slow.close_code()), (Some(4009), Some(4009)));
    let after = last(&slow, "closing")["resume"]["after"].as_u64().expect("a position");
    assert!(slow.seqs().into_iter().eq(1..=after), "{after}");
    assert_eq!(world.stats.events_shed[CRITICAL].get(), 0);
    let mut back = world.join();
    back.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": "sim", "after": after},
    }));
    world.settle(&mut [&mut back]);
    let subscribed = last(&back, "subscribed");
    assert_eq!(
        (&subscribed["resumed"], &subscribed["reason"]),
        (&json!(false), &json!("history_expired"))
    );
    end(world, &mut [&mut back, &mut slow]);
}

#[test]
fn high_events_are_shed_or_read_later_as_it_is_configured() {
    for (shed_below, high_comes) in
        [(Priority::Critical, false), (Priority::High, true), (Priority::Low, true)]
    {
        let mut plan = plan(4);
        plan.shed_below = shed_below;
        let mut world = plan.build();
        let mut slow = join_extended(&mut world, json!({}));
        slow.read_bytes = 0;
        let low = publish(&mut world, 60, Priority::Low).len() as u64;
        let high = publish(&mut world, 200, Priority::High).len();
        let critical = publish(&mut world, 100, Priority::Critical).len();
        read_all(&mut world, &mut slow);
        let came = |name: &str| slow.events().iter().filter(|(_, it)| it == name).count();
        assert_eq!((came("critical"), came("high") == high), (critical, high_comes));
        let shed = world.stats.events_shed[Priority::Low.index()].get();
        assert_eq!(came("low") as u64 + shed, low);
        assert_eq!(shed == 0, shed_below == Priority::Low, "{shed_below}: {shed}");
        end(world, &mut [&mut slow]);
    }
}

#[test]
fn what_is_more_urgent_overtakes_what_is_read_from_the_past() {
    let mut world = plan(5).build();
    let mut slow = world.join_subscribed(json!({}));
    slow.read_bytes = 0;
    publish(&mut world, 500, Priority::Low);
    let critical = publish(&mut world, 1, Priority::Critical)[0];
    read_all(&mut world, &mut slow);
    let seqs = slow.seqs();
    let place = seqs.iter().position(|seq| *seq == critical).expect("it came");
    assert!(place < 60, "behind {place}");
    assert_eq!(seqs.len(), 501);
    end(world, &mut [&mut slow]);
}

/// Subscription changes of one that is behind: each event comes as if it had been queued when it
/// was delivered.
#[test]
fn subscriptions_that_change_while_behind_get_what_they_matched_and_nothing_from_before() {
    let mut plan = plan(6);
    // The answers want room as well.
    plan.settings.outbox.messages_max = 128;
    let mut world = plan.build();
    let mut slow = join_extended(&mut world, json!({"sources": ["api"]}));
    slow.read_bytes = 0;
    let mut wanted = publish(&mut world, 150, Priority::Critical);
    let stray = |world: &mut World<StreamHandler>, count| -> Vec<u64> {
        let of_db = |_| world.publish(events::of(Priority::Critical, "db"));
        let seqs = (0..count).map(of_db).collect();
        world.settle(&mut []);
        seqs
    };
    stray(&mut world, 20);
    // Another one from here on.
    slow.subscribe("db", json!({"sources": ["db"]}));
    world.settle(&mut []);
    wanted.extend(stray(&mut world, 20));
    // Replaced: what matched until now still comes.
    slow.subscribe("s", json!({"sources": ["edge"]}));
    world.settle(&mut []);
    publish(&mut world, 20, Priority::Critical);
    wanted.extend(stray(&mut world, 20));
    slow.unsubscribe("db");
    slow.subscribe("s", json!({"sources": ["api"]}));
    world.settle(&mut []);
    stray(&mut world, 20);
    wanted.extend(publish(&mut world, 50, Priority::Critical));
    slow.unsubscribe("s");
    world.settle(&mut []);
    publish(&mut world, 20, Priority::Critical);
    read_all(&mut world, &mut slow);
    assert_eq!(slow.seqs(), wanted);
    assert_eq!(world.stats.subscriptions_active.get(), 0);
    end(world, &mut [&mut slow]);
}

#[test]
fn more_changes_than_are_remembered_are_refused_while_behind() {
    let mut plan = plan(7);
    plan.settings.outbox = Limits { messages_max: 2_048, bytes_max: 1024 * 1024 };
    let mut world = plan.build();
    let mut slow = join_extended(&mut world, json!({}));
    slow.read_bytes = 0;
    publish(&mut world, 2_200, Priority::Critical);
    for number in 0..105 {
        let source = if number % 2 == 0 { "api" } else { "db" };
        slow.send(&json!({
            "type": "subscribe", "subscription_id": "s", "filters": {"sources": [source]},
            "ref": number,
        }));
        publish(&mut world, 1, Priority::Critical);
    }
    read_all(&mut world, &mut slow);
    let refused: Vec<_> = slow.messages().filter(|it| it["type"] == "error").collect();
    assert_eq!(refused.len(), 5);
    for (error, number) in refused.into_iter().zip(100..) {
        assert_eq!((&error["code"], &error["ref"]), (&json!("RATE_LIMITED"), &json!(number)));
        assert_eq!(error["subscription_id"], "s");
    }
    slow.unsubscribe("s");
    world.settle(&mut [&mut slow]);
    assert_eq!(slow.count("unsubscribed"), 1, "it has caught up");
    end(world, &mut [&mut slow]);
}

#[test]
fn a_replay_and_a_full_lane_on_one_connection_come_each_once() {
    let mut world = plan(8).build();
    let mut slow = join_extended(&mut world, json!({"sources": ["api"]}));
    slow.read_bytes = 0;
    let api = publish(&mut world, 300, Priority::Critical);
    let db: Vec<u64> =
        (0..50).map(|_| world.publish(events::of(Priority::Critical, "db"))).collect();
    slow.send(&json!({
        "type": "subscribe", "subscription_id": "r", "filters": {"sources": ["db"]},
        "resume": {"epoch": "sim", "after": 0},
    }));
    world.settle(&mut []);
    let later: Vec<u64> =
        (0..50).map(|_| world.publish(events::of(Priority::Critical, "db"))).collect();
    read_all(&mut world, &mut slow);
    let mut expected = [api, db, later].concat();
    expected.push(world.publish(events::of(Priority::Critical, "db")));
    world.settle(&mut [&mut slow]);
    let mut seqs = slow.seqs();
    seqs.sort_unstable();
    assert_eq!(seqs, expected);
    assert_eq!(slow.count("caught_up"), 1);
    end(world, &mut [&mut slow]);
}

#[test]
fn a_drain_waits_for_what_is_still_to_be_read_as_long_as_it_can() {
    for reads in [true, false] {
        let mut plan = plan(10);
        plan.settings.timing.write = Duration::from_secs(100);
        let mut world = plan.build();
        let mut slow = join_extended(&mut world, json!({}));
        slow.read_bytes = 0;
        publish(&mut world, 1_000, Priority::Critical);
        world.drain(Duration::from_secs(40));
        slow.read_bytes = if reads { 20_000 } else { 0 };
        world.pass(Duration::from_secs(29), &mut [&mut slow]);
        if reads {
            assert!(slow.seqs().into_iter().eq(1..=1_000), "all of it, then the farewell");
            assert_eq!(last(&slow, "closing")["resume"]["after"], 1_000);
            assert!(!world.is_running);
            continue;
        }
        assert_eq!(world.stats.overflows_active.get(), 1);
        world.pass(Duration::from_secs(2), &mut []);
        assert_eq!(world.stats.connections_active.get(), 0, "told at the last call");
        slow.read_bytes = usize::MAX;
        world.pass(Duration::from_secs(2), &mut [&mut slow]);
        let after = last(&slow, "closing")["resume"]["after"].as_u64().expect("a position");
        assert!(slow.seqs().into_iter().eq(1..=after) && after < 1_000, "{after}");
        assert_eq!((slow.close_code(), world.is_running), (Some(1001), false));
    }
}

#[test]
fn a_shard_does_not_turn_while_one_that_catches_up_waits_for_what_the_hub_holds() {
    let mut world = Plan::new(11).build();
    publish(&mut world, 10, Priority::Low);
    let mut client = world.join();
    let held = world.sequence(events::of(Priority::Low, "api"));
    let urgent = world.sequence(events::of(Priority::Critical, "api"));
    assert!(world.handle.push_event(urgent).is_ok());
    client.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {},
        "resume": {"epoch": "sim", "after": 0},
    }));
    world.settle(&mut [&mut client]);
    assert_eq!((client.seqs().len(), client.count("caught_up")), (10, 0));
    let (before, turns) = (world.now(), world.stats.turns.get());
    world.turn_freely();
    assert!(world.now() > before, "nothing can be done: it waits for the next deadline");
    assert_eq!(world.stats.turns.get(), turns + 1);
    client.pump();
    assert!(world.handle.push_event(held).is_ok());
    world.handle.set_complete_to(12);
    world.handle.wake();
    world.turn_freely();
    world.settle(&mut [&mut client]);
    assert_eq!((client.seqs().len(), client.count("caught_up")), (12, 1));
    end(world, &mut [&mut client]);
}

#[test]
fn a_checkpoint_waits_for_what_is_still_to_be_read() {
    let mut world = plan(9).build();
    let mut slow = join_extended(&mut world, json!({}));
    slow.send(&json!({
        "type": "subscribe", "subscription_id": "c", "filters": {}, "checkpoints": true,
    }));
    world.settle(&mut [&mut slow]);
    slow.read_bytes = 0;
    publish(&mut world, 300, Priority::Critical);
    slow.read_bytes = 2_000;
    for _ in 0..60 {
        world.pass(Duration::from_secs(2), &mut [&mut slow]);
    }
    world.publish(events::of(Priority::Critical, "api"));
    world.pass(Duration::from_secs(2), &mut [&mut slow]);
    assert!(slow.count("checkpoint") > 0);
    let mut seen = 0;
    for message in slow.messages() {
        match message["type"].as_str() {
            Some("event") => seen += 1,
            Some("checkpoint") => assert_eq!(message["seq"], seen),
            _ => {}
        }
    }
    end(world, &mut [&mut slow]);
}

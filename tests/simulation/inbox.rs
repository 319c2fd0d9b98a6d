//! Between the hub and a shard: bounds, wakes, and no event lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use serde_json::json;
use tokio::sync::oneshot;

use crate::events;
use crate::world::Plan;

#[test]
fn a_full_inbox_gives_the_event_back_and_wakes_the_hub_once_there_is_room() {
    let mut plan = Plan::new(1);
    plan.inbox_events_max = 2;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    world.publish(events::of(Priority::Low, "api"));
    world.publish(events::of(Priority::Low, "api"));
    let third = world.sequence(events::of(Priority::Low, "api"));
    world.turn();
    assert_eq!(world.hub_wakes.load(Ordering::Relaxed), 0, "nobody waited");
    world.publish(events::of(Priority::Low, "api"));
    world.publish(events::of(Priority::Low, "api"));
    world.hub.park();
    assert!(world.handle.push_event(Arc::clone(&third)).is_err());
    world.turn();
    assert_eq!(world.hub_wakes.load(Ordering::Relaxed), 1);
    assert!(world.handle.push_event(third).is_ok());
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), [1, 2, 4, 5, 3]);
}

#[test]
fn a_turn_takes_no_more_events_than_its_budget_and_the_next_one_does_not_sleep() {
    let mut plan = Plan::new(2);
    plan.settings.turn_deliveries_max = 2;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    let before = world.now();
    for _ in 0..6 {
        world.publish(events::of(Priority::Low, "api"));
    }
    for turn in 1..=6 {
        world.turn_freely();
        let (waiting, _) = world.handle.inbox_usage();
        assert_eq!(waiting, 6 - turn, "one event costs itself and its delivery");
    }
    assert_eq!(world.now(), before);
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs().len(), 6);
}

#[test]
fn a_burst_larger_than_what_may_wait_is_not_shed_for_one_who_takes_it() {
    const BURST: u64 = 600;
    let mut plan = Plan::new(5);
    plan.settings.outbox = Limits { messages_max: 64, bytes_max: 64 * 1024 };
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    for number in 0..BURST {
        let is_urgent = number % 2 == 0;
        let priority = if is_urgent { Priority::High } else { Priority::Low };
        world.publish(events::of(priority, "api"));
    }
    while world.handle.inbox_usage().0 > 0 {
        world.settle(&mut [&mut client]);
    }
    world.settle(&mut [&mut client]);
    let mut seqs = client.seqs();
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq(1..=BURST));
    assert!(world.stats.events_shed.iter().all(|shed| shed.get() == 0));
}

#[test]
fn histograms_are_answered_with_what_was_measured() {
    let mut world = Plan::new(3).build();
    let mut client = world.join_subscribed(json!({}));
    world.publish(events::of(Priority::Critical, "api"));
    world.settle(&mut [&mut client]);
    let (answer, mut answered) = oneshot::channel();
    world.handle.request(alarmcast::shard::Request::Histograms(answer)).expect("room");
    world.turn();
    let histograms = answered.try_recv().expect("an answer");
    assert_eq!(histograms.delivery[Priority::Critical.index()].len(), 1);
    assert_eq!(histograms.delivery[Priority::Low.index()].len(), 0);
}

#[test]
fn who_asks_a_shard_that_has_ended_is_not_left_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut world = Plan::new(4).build();
    let (answer, waiting) = oneshot::channel();
    world.handle.force();
    world.turn_freely();
    assert!(!world.is_running);
    world.handle.request(alarmcast::shard::Request::Histograms(answer)).expect("room");
    let handle = world.handle.clone();
    drop(world);
    assert!(runtime.block_on(waiting).is_err());
    for _ in 0..200 {
        assert!(runtime.block_on(handle.histograms()).is_none());
    }
}

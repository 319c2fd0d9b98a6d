//! Clients that hold their events back for a while.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use alarmcast::shard::StreamHandler;
use serde_json::{Value, json};

use crate::client::{Client, PING, frame, request};
use crate::events;
use crate::world::{Plan, World};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn join_extended(world: &mut World<StreamHandler>, subscribe: &Value) -> Client {
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.send(subscribe);
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1);
    client
}

fn everything() -> Value {
    json!({"type": "subscribe", "subscription_id": "all", "filters": {}})
}

fn kinds(client: &Client) -> Vec<&str> {
    client.messages().filter_map(|message| message["type"].as_str()).collect()
}

#[test]
fn a_paused_client_is_answered_and_gets_its_events_highest_first_when_it_goes_on() {
    let mut world = Plan::new(1).build();
    let mut client = join_extended(&mut world, &everything());
    client.pause(true);
    world.settle(&mut [&mut client]);
    assert_eq!(world.stats.connections_paused.get(), 1);
    let low = world.publish(events::of(Priority::Low, "api"));
    let critical = world.publish(events::of(Priority::Critical, "api"));
    client.send(&json!({"type": "ping", "timestamp": "now"}));
    client.send_raw(&frame(PING, b"here"));
    world.pass(secs(20), &mut [&mut client]);
    assert_eq!(kinds(&client)[2..], ["flow_control", "pong"]);
    client.pause(false);
    world.settle(&mut [&mut client]);
    assert_eq!(kinds(&client)[4..], ["flow_control", "event", "event"]);
    assert_eq!(client.seqs(), [critical, low]);
    assert_eq!(world.stats.connections_paused.get(), 0);
    client.close(1000);
    world.end(secs(10), &mut [&mut client]);
}

#[test]
fn what_is_shed_meanwhile_is_told_when_it_goes_on_and_nothing_before() {
    let mut plan = Plan::new(2);
    plan.settings.outbox = Limits { messages_max: 64, bytes_max: 64 * 1024 };
    let mut world = plan.build();
    let mut client = join_extended(&mut world, &everything());
    client.pause(true);
    for _ in 0..100 {
        world.publish(events::of(Priority::Low, "api"));
        world.settle(&mut [&mut client]);
    }
    // No send is in flight that a deadline could end, and its pongs keep it.
    world.pass(secs(60), &mut [&mut client]);
    assert_eq!((client.count("event"), client.count("dropped")), (0, 0));
    client.pause(false);
    world.settle(&mut [&mut client]);
    assert_eq!(kinds(&client)[3..6], ["flow_control", "dropped", "event"]);
    let dropped = client.messages().find(|it| it["type"] == "dropped").expect("told");
    let lost = dropped["counts"]["low"].as_u64().expect("a count");
    assert_eq!(client.seqs().len() as u64 + lost, 100);
    assert_eq!(client.close_code(), None);
}

#[test]
fn a_pause_of_one_that_says_nothing_else_ends_with_the_heartbeat() {
    let mut world = Plan::new(3).build();
    let mut client = join_extended(&mut world, &everything());
    client.pause(true);
    client.answers_pings = false;
    let seq = world.publish(events::of(Priority::Critical, "api"));
    world.pass(secs(61), &mut [&mut client]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(4008), Some(4008)));
    let closing = client.messages().find(|it| it["type"] == "closing").expect("told");
    assert_eq!(closing["resume"]["after"], seq - 1);
    assert_eq!(world.stats.connections_paused.get(), 0);
}

#[test]
fn a_drain_names_the_position_before_what_a_paused_client_was_not_sent() {
    let mut world = Plan::new(4).build();
    let mut client = join_extended(&mut world, &everything());
    let sent = world.publish(events::of(Priority::Low, "api"));
    world.settle(&mut [&mut client]);
    client.pause(true);
    world.settle(&mut [&mut client]);
    world.publish(events::of(Priority::Low, "api"));
    world.publish(events::of(Priority::Critical, "api"));
    world.drain(secs(30));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), [sent]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(1001), Some(1001)));
    let closing = client.messages().find(|it| it["type"] == "closing").expect("told");
    assert_eq!(closing["resume"]["after"], sent);
    world.end(secs(10), &mut [&mut client]);
    assert!(!world.is_running);
}

#[test]
fn a_paused_client_that_waits_for_nothing_knows_everything_at_the_drain() {
    let mut world = Plan::new(5).build();
    let mut client = join_extended(&mut world, &everything());
    let seq = world.publish(events::of(Priority::Low, "api"));
    world.settle(&mut [&mut client]);
    client.pause(true);
    world.drain(secs(30));
    world.settle(&mut [&mut client]);
    let closing = client.messages().find(|it| it["type"] == "closing").expect("told");
    assert_eq!(closing["resume"]["after"], seq);
}

#[test]
fn one_that_catches_up_pauses_as_well_and_misses_nothing() {
    let mut plan = Plan::new(6);
    plan.settings.send_bytes_max = 1_000;
    let mut world = plan.build();
    let seqs: Vec<u64> =
        (0..100).map(|_| world.publish(events::of(Priority::Low, "api"))).collect();
    world.settle(&mut []);
    let mut client = join_extended(
        &mut world,
        &json!({
            "type": "subscribe", "subscription_id": "all", "filters": {},
            "resume": {"epoch": "sim", "after": 0},
        }),
    );
    client.pause(true);
    world.pass(secs(1), &mut [&mut client]);
    let before = client.seqs().len();
    assert!(before < 100, "the pause comes amid the past");
    let live = world.publish(events::of(Priority::Critical, "api"));
    world.pass(secs(5), &mut [&mut client]);
    assert_eq!(client.seqs().len(), before);
    client.pause(false);
    world.pass(secs(5), &mut [&mut client]);
    assert_eq!(client.seqs(), [seqs, vec![live]].concat());
    assert_eq!(client.count("caught_up"), 1);
}

#[test]
fn a_backlog_that_is_held_back_is_shed_when_memory_runs_short() {
    let mut plan = Plan::new(7);
    plan.settings.outbox = Limits { messages_max: 10_000, bytes_max: 16 * 1024 * 1024 };
    plan.settings.backlog_bytes_max = 64 * 1024;
    let mut world = plan.build();
    let mut paused = join_extended(&mut world, &everything());
    let mut quick = join_extended(&mut world, &everything());
    paused.pause(true);
    for _ in 0..400 {
        world.publish(events::of_bytes(1_000));
        world.settle(&mut [&mut paused, &mut quick]);
    }
    assert!(world.stats.budget_exceeded.get() > 0);
    assert_eq!(quick.seqs().len(), 400);
    paused.pause(false);
    world.pass(secs(1), &mut [&mut paused, &mut quick]);
    let lost: u64 = paused.messages().filter_map(|it| it["counts"]["low"].as_u64()).sum();
    assert_eq!(paused.seqs().len() as u64 + lost, 400);
}

#[test]
fn to_pause_twice_or_to_go_on_twice_is_answered_and_changes_nothing() {
    let mut world = Plan::new(8).build();
    let mut client = world.join_subscribed(json!({}));
    for pause in [true, true, false, false] {
        client.pause(pause);
    }
    client.send(&json!({"type": "flow_control", "pause": "yes", "ref": 9}));
    world.settle(&mut [&mut client]);
    let answers: Vec<&Value> = client
        .messages()
        .filter(|it| it["type"] == "flow_control")
        .map(|it| &it["pause"])
        .collect();
    assert_eq!(answers, [true, true, false, false]);
    let error = client.messages().find(|it| it["type"] == "error").expect("refused");
    assert_eq!((&error["code"], &error["ref"]), (&json!("INVALID_MESSAGE"), &json!(9)));
    let seq = world.publish(events::of(Priority::Low, "api"));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), [seq]);
}

#[test]
fn one_that_leaves_while_it_is_paused_leaves_nothing_behind() {
    let mut world = Plan::new(9).build();
    let (mut closing, mut vanishing) =
        (world.join_subscribed(json!({})), world.join_subscribed(json!({})));
    closing.pause(true);
    vanishing.pause(true);
    world.settle(&mut [&mut closing, &mut vanishing]);
    assert_eq!(world.stats.connections_paused.get(), 2);
    world.publish(events::of(Priority::Critical, "api"));
    world.settle(&mut [&mut closing, &mut vanishing]);
    closing.close(1000);
    vanishing.reset();
    world.end(secs(10), &mut [&mut closing, &mut vanishing]);
    assert_eq!((world.stats.connections_paused.get(), closing.count("event")), (0, 0));
}

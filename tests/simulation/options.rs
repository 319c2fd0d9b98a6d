//! Subscriptions that ask for less than each event as it comes, and those beside them that do not.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::shard::StreamHandler;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::events;
use crate::world::{Plan, World};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn join(world: &mut World<StreamHandler>, is_packed: bool, options: &Value) -> Client {
    let mut client = world.connect();
    client.is_packed = is_packed;
    let target = if is_packed { "/ws?encoding=msgpack" } else { "/ws?encoding=json" };
    client.send_raw(request(target).as_bytes());
    client.subscribe_with("s", json!({}), options);
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1, "{:?}", client.received);
    client
}

/// An update of one of a few incidents, an alert of one of a few kinds.
fn update(world: &mut World<StreamHandler>, incident: usize) -> u64 {
    // Neither a multiple of 4, which is an alert, nor of 3, which has no fingerprint.
    world.publish(events::of_storm([1, 2, 13][incident]))
}

fn alert(world: &mut World<StreamHandler>) -> u64 {
    world.publish(events::of_storm(4))
}

fn of<'a>(client: &'a Client, kind: &str) -> Vec<&'a Value> {
    client.messages().filter(|message| message["type"] == kind).collect()
}

/// What came after the welcome and the first answer.
fn kinds(client: &Client) -> Vec<&str> {
    client.messages().skip(2).filter_map(|message| message["type"].as_str()).collect()
}

#[test]
fn a_newer_update_of_an_incident_takes_the_place_of_one_that_waits() {
    for is_packed in [false, true] {
        let mut world = Plan::new(1).build();
        let mut client = join(&mut world, is_packed, &json!({"conflate": true}));
        client.pause(true);
        world.settle(&mut [&mut client]);
        let first = update(&mut world, 0);
        let other = update(&mut world, 1);
        let second = update(&mut world, 0);
        let resolved = world.publish(events::of(Priority::Normal, "api"));
        let last = update(&mut world, 0);
        world.settle(&mut [&mut client]);
        client.pause(false);
        world.settle(&mut [&mut client]);
        assert_eq!(client.seqs(), [other, resolved, last]);
        let dropped = of(&client, "dropped");
        let expected = json!({
            "type": "dropped", "from_seq": first, "to_seq": second,
            "counts": {"low": 0, "normal": 2, "high": 0}, "reason": "conflated",
        });
        assert_eq!(dropped, [&expected]);
        assert_eq!(world.stats.events_conflated[Priority::Normal.index()].get(), 2);
        assert_eq!(world.stats.events_shed.iter().map(|cell| cell.get()).sum::<u64>(), 0);
        // Nothing waits: the next one has nothing to replace.
        let seqs = [update(&mut world, 0), {
            world.settle(&mut [&mut client]);
            update(&mut world, 0)
        }];
        world.settle(&mut [&mut client]);
        assert_eq!(client.seqs()[3..], seqs);
    }
}

#[test]
fn what_another_subscription_wants_as_it_comes_is_neither_replaced_nor_batched_nor_collapsed() {
    let mut world = Plan::new(2).build();
    let options = json!({
        "conflate": true, "batch": {"max_events": 100, "max_delay_ms": 10_000},
        "collapse": {"window_ms": 10_000, "after": 1},
    });
    let mut client = join(&mut world, false, &options);
    client.subscribe("plain", json!({"event_types": ["incident_updated"]}));
    world.settle(&mut [&mut client]);
    client.pause(true);
    world.settle(&mut [&mut client]);
    let updates = [update(&mut world, 0), update(&mut world, 0), update(&mut world, 0)];
    client.pause(false);
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), updates);
    assert_eq!((client.count("batch"), client.count("dropped")), (0, 0));
    // Those of the first alone wait, and what does not want to wait takes them along.
    let alerts = [alert(&mut world), alert(&mut world)];
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs().len(), 3);
    let update = update(&mut world, 0);
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs()[3..], [alerts[0], update], "the second alert was counted");
    // It goes, and with it what it asked for.
    client.unsubscribe("s");
    world.settle(&mut [&mut client]);
    assert_eq!(of(&client, "collapsed")[0]["first_seq"], alerts[1]);
    client.subscribe("plain", json!({}));
    let plain = [alert(&mut world), alert(&mut world)];
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs()[5..], plain);
}

#[test]
fn events_wait_for_others_as_long_as_they_may_and_not_a_millisecond_more() {
    for is_packed in [false, true] {
        let mut world = Plan::new(3).build();
        let batch = json!({"batch": {"max_events": 10, "max_delay_ms": 37}});
        let mut client = join(&mut world, is_packed, &batch);
        let mut seqs = vec![world.publish(events::of(Priority::Low, "api"))];
        world.settle(&mut [&mut client]);
        world.net.clock().advance(millis(20));
        seqs.push(world.publish(events::of(Priority::Low, "db")));
        seqs.push(world.publish(events::of(Priority::Low, "edge")));
        world.settle(&mut [&mut client]);
        world.net.clock().advance(millis(16));
        world.settle(&mut [&mut client]);
        assert!(client.seqs().is_empty());
        // The shard waits for just that moment, and for no tick of a wheel.
        let before = world.now();
        while client.seqs().is_empty() {
            world.turn_freely();
            client.pump();
        }
        assert_eq!(world.now().since(before), millis(1));
        assert_eq!((client.seqs(), kinds(&client)), (seqs, vec!["batch"]));
        assert_eq!(world.stats.batches_sent.get(), 1);
        // One alone is sent as it is.
        let seq = world.publish(events::of(Priority::Low, "api"));
        world.pass(millis(100), &mut [&mut client]);
        assert_eq!((client.seqs()[3], kinds(&client)), (seq, vec!["batch", "event"]));
        client.close(1000);
        world.end(millis(5_000), &mut [&mut client]);
    }
}

#[test]
fn a_critical_event_and_answers_wait_for_nobody_and_the_others_go_on_waiting() {
    let mut world = Plan::new(4).build();
    let batch = json!({"batch": {"max_events": 10, "max_delay_ms": 1_000}});
    let mut client = join(&mut world, false, &batch);
    let low = world.publish(events::of(Priority::Low, "api"));
    let high = world.publish(events::of(Priority::High, "api"));
    world.settle(&mut [&mut client]);
    let critical = world.publish(events::of(Priority::Critical, "api"));
    client.send(&json!({"type": "ping", "timestamp": "now"}));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), [critical]);
    assert_eq!(client.count("pong"), 1);
    world.pass(millis(1_000), &mut [&mut client]);
    assert_eq!(client.seqs(), [critical, high, low]);
    assert_eq!(client.count("batch"), 1);
}

#[test]
fn a_batch_that_is_full_goes_at_once_and_none_is_larger_than_a_send() {
    let mut plan = Plan::new(5);
    plan.settings.send_bytes_max = 4_000;
    let mut world = plan.build();
    let batch = json!({"batch": {"max_events": 5, "max_delay_ms": 10_000}});
    let mut client = join(&mut world, false, &batch);
    let mut seqs: Vec<u64> =
        (0..12).map(|_| world.publish(events::of(Priority::Low, "api"))).collect();
    world.settle(&mut [&mut client]);
    let sizes = |client: &Client| -> Vec<usize> {
        of(client, "batch")
            .iter()
            .map(|it| it["events"].as_array().expect("a list").len())
            .collect()
    };
    assert!(sizes(&client).iter().all(|size| *size <= 5), "{:?}", sizes(&client));
    world.pass(millis(10_000), &mut [&mut client]);
    assert_eq!(client.seqs(), seqs);
    // By bytes: three of 1,500 are more than one send.
    let before = client.messages().count();
    seqs.extend((0..3).map(|_| world.publish(events::of_bytes(1_500))));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), seqs);
    let longest = client.messages().skip(before).map(|it| it.to_string().len()).max();
    assert!(longest < Some(4_000), "{longest:?}");
    // One that is larger alone goes alone.
    seqs.push(world.publish(events::of_bytes(6_000)));
    world.settle(&mut [&mut client]);
    assert_eq!(client.seqs(), seqs);
    assert_eq!(client.messages().last().expect("some")["type"], "event");
}

#[test]
fn what_waits_for_a_batch_goes_out_ahead_of_closing() {
    let mut world = Plan::new(6).build();
    let batch = json!({"batch": {"max_events": 10, "max_delay_ms": 10_000}});
    let mut client = join(&mut world, false, &batch);
    let seqs = [0, 1].map(|_| world.publish(events::of(Priority::Low, "api")));
    world.settle(&mut [&mut client]);
    world.drain(Duration::from_secs(30));
    world.settle(&mut [&mut client]);
    assert_eq!((client.seqs(), kinds(&client)), (seqs.to_vec(), vec!["batch", "closing"]));
    assert_eq!(of(&client, "closing")[0]["resume"]["after"], seqs[1]);
}

#[test]
fn the_first_of_a_storm_are_sent_and_the_rest_is_told_at_the_end_of_the_window() {
    for is_packed in [false, true] {
        let mut world = Plan::new(7).build();
        let options = json!({"collapse": {"window_ms": 1_000, "after": 2}, "checkpoints": true});
        let mut client = join(&mut world, is_packed, &options);
        let seqs: Vec<u64> = (0..6).map(|_| alert(&mut world)).collect();
        let critical = [0, 1, 2].map(|_| world.publish(events::of(Priority::Critical, "api")));
        let plain = [0, 1, 2].map(|_| world.publish(events::of(Priority::Low, "api")));
        world.settle(&mut [&mut client]);
        assert_eq!(client.seqs(), [&critical[..], &seqs[..2], &plain[..]].concat());
        world.net.clock().advance(millis(999));
        world.settle(&mut [&mut client]);
        assert_eq!(client.count("collapsed"), 0);
        world.net.clock().advance(millis(1));
        world.settle(&mut [&mut client]);
        let expected = json!({
            "type": "collapsed", "subscription_id": "s", "event_type": "alert_received",
            "fingerprint": "db/Alert 1", "count": 4, "counts": {"low": 0, "normal": 4, "high": 0},
            "first_seq": seqs[2], "last_seq": seqs[5],
        });
        assert_eq!(of(&client, "collapsed"), [&expected]);
        let cells = &world.stats.events_collapsed;
        assert_eq!(cells.each_ref().map(|cell| cell.get()), [0, 0, 4, 0]);
        // A new window has begun.
        let next = alert(&mut world);
        world.settle(&mut [&mut client]);
        assert_eq!(client.seqs().last(), Some(&next));
        let told =
            of(&client, "checkpoint").iter().map(|it| it["seq"].as_u64()).collect::<Vec<_>>();
        assert!(told.iter().all(|seq| *seq >= Some(plain[2]) || *seq < Some(seqs[2])), "{told:?}");
        client.close(1000);
        world.end(millis(5_000), &mut [&mut client]);
    }
}

#[test]
fn what_was_collapsed_is_told_before_a_close_a_change_and_after_a_pause() {
    let mut world = Plan::new(8).build();
    let options = json!({"collapse": {"window_ms": 60_000, "after": 1}});
    let storm = |world: &mut World<StreamHandler>, client: &mut Client| {
        let seqs = [0, 1, 2].map(|_| alert(world));
        world.settle(&mut [client]);
        seqs
    };
    let mut client = join(&mut world, false, &options);
    let first = storm(&mut world, &mut client);
    client.subscribe_with("s", json!({}), &json!({"collapse": {"window_ms": 500, "after": 1}}));
    world.settle(&mut [&mut client]);
    assert_eq!(kinds(&client), ["event", "collapsed", "subscribed"]);
    assert_eq!(of(&client, "collapsed")[0]["last_seq"], first[2]);
    let second = storm(&mut world, &mut client);
    client.pause(true);
    world.pass(millis(2_000), &mut [&mut client]);
    assert_eq!(client.count("collapsed"), 1);
    client.pause(false);
    world.settle(&mut [&mut client]);
    assert_eq!(of(&client, "collapsed")[1]["first_seq"], second[1]);
    let third = storm(&mut world, &mut client);
    world.drain(Duration::from_secs(30));
    world.settle(&mut [&mut client]);
    let kinds = kinds(&client);
    assert_eq!(kinds[kinds.len() - 3..], ["event", "collapsed", "closing"]);
    assert_eq!(of(&client, "closing")[0]["resume"]["after"], third[2]);
    let told: u64 = of(&client, "collapsed").iter().filter_map(|it| it["count"].as_u64()).sum();
    assert_eq!(told + client.seqs().len() as u64, 9);
}

#[test]
fn of_two_that_collapse_the_one_that_lets_more_through_decides_and_tells() {
    let mut world = Plan::new(9).build();
    let mut client = join(&mut world, false, &json!({"collapse": {"window_ms": 500, "after": 1}}));
    client.subscribe_with("t", json!({}), &json!({"collapse": {"window_ms": 700, "after": 3}}));
    world.settle(&mut [&mut client]);
    let seqs = [0, 1, 2, 3, 4].map(|_| alert(&mut world));
    world.pass(millis(1_000), &mut [&mut client]);
    assert_eq!(client.seqs(), seqs[..3]);
    let collapsed = of(&client, "collapsed");
    assert_eq!(collapsed.len(), 1);
    assert_eq!(
        (&collapsed[0]["subscription_id"], &collapsed[0]["count"]),
        (&json!("t"), &json!(2))
    );
}

#[test]
fn more_fingerprints_than_windows_are_sent_as_they_come() {
    let mut world = Plan::new(10).build();
    let mut client =
        join(&mut world, false, &json!({"collapse": {"window_ms": 60_000, "after": 1}}));
    let alert = |number: usize| events::alert_of(&format!("kind {number}"));
    for number in (0..200).chain(0..200) {
        world.publish(alert(number));
        world.settle(&mut [&mut client]);
    }
    assert_eq!(client.seqs().len(), 200 + 72, "128 windows");
    client.unsubscribe("s");
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("collapsed"), 128);
}

#[test]
fn a_subscription_that_resumes_gets_its_options_when_it_is_live() {
    let mut world = Plan::new(11).build();
    let past = [0, 1].map(|_| alert(&mut world));
    world.settle(&mut []);
    let options = json!({
        "resume": {"epoch": "sim", "after": 0}, "batch": {"max_events": 2, "max_delay_ms": 1_000},
        "collapse": {"window_ms": 1_000, "after": 2},
    });
    let mut client = join(&mut world, true, &options);
    world.pass(millis(200), &mut [&mut client]);
    assert_eq!((client.seqs(), client.count("batch")), (past.to_vec(), 0));
    let live = [0, 1, 2].map(|_| alert(&mut world));
    world.pass(millis(2_000), &mut [&mut client]);
    assert_eq!(client.seqs()[2..], live[..2]);
    assert_eq!((client.count("batch"), client.count("collapsed")), (1, 1));
}

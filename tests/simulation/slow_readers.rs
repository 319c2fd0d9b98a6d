//! A connection that does not keep up costs the others nothing, and in the end is closed.

use std::time::Duration;

use alarmcast::base::limits::SHORT_SEND_BYTES_MAX;
use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use serde_json::json;

use crate::events;
use crate::world::Plan;

fn plan(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.faults.socket_buffer_bytes = 2048;
    plan.settings.outbox = Limits { messages_max: 30, bytes_max: 64 * 1024 };
    plan
}

#[test]
fn one_that_history_has_passed_is_closed_with_4009_while_the_others_go_on() {
    let mut plan = plan(1);
    plan.history.events_max = 20;
    let mut world = plan.build();
    let mut slow = world.join_subscribed(json!({}));
    let mut quick = world.join_subscribed(json!({}));
    slow.read_bytes = 0;
    let mut seqs = Vec::new();
    for _ in 0..60 {
        seqs.push(world.publish(events::of(Priority::Normal, "api")));
        world.settle(&mut [&mut quick]);
    }
    slow.read_bytes = usize::MAX;
    for _ in 0..5 {
        world.settle(&mut [&mut slow, &mut quick]);
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 1);
    assert_eq!(world.stats.connections_active.get(), 1);
    assert_eq!((slow.closing_code(), slow.close_code()), (Some(4009), Some(4009)));
    let seen = slow.seqs();
    assert!(!seen.is_empty() && seqs.starts_with(&seen), "{seen:?}");
    assert_eq!(quick.seqs(), seqs);
    quick.close(1000);
    world.end(Duration::from_secs(10), &mut [&mut slow, &mut quick]);
}

#[test]
fn a_critical_event_stands_behind_one_small_send_where_the_socket_is_full() {
    const SOCKET_BYTES: usize = 2048;
    let mut plan = plan(4);
    plan.settings.outbox = Limits { messages_max: 1_000, bytes_max: 1024 * 1024 };
    let send_bytes_max = plan.settings.send_bytes_max;
    let mut world = plan.build();
    let mut slow = world.join_subscribed(json!({}));
    slow.read_bytes = 100;
    let sent = world.stats.bytes_sent.get();
    let mut criticals = Vec::new();
    for round in 1..=400 {
        if round % 16 == 0 {
            let before = slow.seqs().len();
            criticals.push((world.publish(events::of(Priority::Critical, "api")), before));
        } else {
            world.publish(events::of(Priority::Low, "api"));
        }
        world.settle(&mut []);
        slow.pump();
    }
    let sent = (world.stats.bytes_sent.get() - sent) as usize;
    let event_bytes = sent / world.stats.events_delivered.get().max(1) as usize;
    slow.read_bytes = usize::MAX;
    for _ in 0..20 {
        world.settle(&mut [&mut slow]);
    }
    let seqs = slow.seqs();
    assert_eq!(seqs.len(), 400);
    let behind = criticals.iter().skip(8).map(|(critical, before)| {
        let place = seqs.iter().position(|seq| seq == critical).expect("it came");
        (place - before) * event_bytes
    });
    let behind = behind.max().expect("some came after the first send, which was large");
    // What the socket holds, what is in flight, and one frame that was half read.
    let bound = SOCKET_BYTES + SHORT_SEND_BYTES_MAX + 2 * event_bytes;
    assert!(behind > SOCKET_BYTES, "{behind} bytes: the socket was not full");
    assert!(behind <= bound, "{behind} bytes, above {bound}");
    assert!(bound < send_bytes_max, "a send of the usual size would have been larger");
}

#[test]
fn one_that_never_reads_again_is_freed_at_the_close_deadline() {
    let mut plan = plan(2);
    plan.settings.backlog_bytes_max = 8 * 1024;
    let mut world = plan.build();
    let mut slow = world.join_subscribed(json!({}));
    slow.read_bytes = 0;
    for _ in 0..60 {
        world.publish(events::of(Priority::Normal, "api"));
        world.settle(&mut []);
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 1);
    assert_eq!(world.stats.sockets_active.get(), 1, "it has time to take its leave");
    world.end(Duration::from_secs(6), &mut []);
    assert_eq!(world.stats.write_timeouts.get(), 0);
}

#[test]
fn an_event_larger_than_an_outbox_is_read_from_the_past() {
    let mut plan = plan(3);
    plan.settings.outbox.bytes_max = 1024;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    world.publish(events::of_bytes(2000));
    world.settle(&mut [&mut client]);
    assert_eq!((client.seqs(), client.close_code()), (vec![1], None));
    assert_eq!(world.stats.overflows[Priority::Low.index()].get(), 1);
    client.close(1000);
    world.end(Duration::from_secs(6), &mut [&mut client]);
}

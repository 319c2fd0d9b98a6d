//! A connection that does not keep up is closed; the others do not notice.

use std::time::Duration;

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
fn a_full_outbox_closes_its_connection_with_4009_while_the_others_go_on() {
    let mut world = plan(1).build();
    let mut slow = world.join_subscribed(json!({}));
    let mut quick = world.join_subscribed(json!({}));
    slow.read_bytes = 0;
    let mut seqs = Vec::new();
    for _ in 0..60 {
        seqs.push(world.publish(events::of(Priority::Normal, "api")));
        world.settle(&mut [&mut quick]);
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 1);
    assert_eq!(world.stats.connections_active.get(), 1);
    slow.read_bytes = usize::MAX;
    for _ in 0..5 {
        world.settle(&mut [&mut slow, &mut quick]);
    }
    assert_eq!((slow.closing_code(), slow.close_code()), (Some(4009), Some(4009)));
    let seen = slow.seqs();
    assert!(!seen.is_empty() && seqs.starts_with(&seen), "{seen:?}");
    assert_eq!(quick.seqs(), seqs);
    quick.close(1000);
    world.end(Duration::from_secs(10), &mut [&mut slow, &mut quick]);
}

#[test]
fn one_that_never_reads_again_is_freed_at_the_close_deadline() {
    let mut world = plan(2).build();
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
fn an_event_larger_than_an_outbox_closes_and_leaves_nothing() {
    let mut plan = plan(3);
    plan.settings.outbox.bytes_max = 1024;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    world.publish(events::of_bytes(2000));
    world.settle(&mut [&mut client]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(4009), Some(4009)));
    world.end(Duration::from_secs(6), &mut [&mut client]);
}

//! Peers that fall silent at every point of a connection's life.

use std::time::Duration;

use alarmcast::event::Priority;
use serde_json::json;

use crate::client::{End, PONG, Received, frame};
use crate::events;
use crate::world::Plan;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Deadlines are met at most two ticks late.
const SLACK: Duration = Duration::from_millis(300);

#[test]
fn a_silent_peer_is_pinged_then_told_4008_then_freed() {
    let mut world = Plan::new(1).build();
    let mut client = world.join();
    client.answers_pings = false;
    client.answers_close = false;
    world.pass(secs(30) - SLACK, &mut [&mut client]);
    assert!(!client.received.contains(&Received::Ping), "too early");
    world.pass(2 * SLACK, &mut [&mut client]);
    assert!(client.received.contains(&Received::Ping));
    world.pass(secs(30) - 2 * SLACK, &mut [&mut client]);
    assert_eq!(client.close_code(), None, "too early");
    world.pass(3 * SLACK, &mut [&mut client]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(4008), Some(4008)));
    assert_eq!(world.stats.heartbeats_missed.get(), 1);
    assert_eq!(world.stats.sockets_active.get(), 1);
    world.end(secs(5) + SLACK, &mut [&mut client]);
}

#[test]
fn a_peer_that_answers_pings_stays_and_one_that_talks_is_not_pinged() {
    let mut world = Plan::new(2).build();
    let mut quiet = world.join();
    let mut talker = world.join();
    for _ in 0..12 {
        world.pass(secs(20), &mut [&mut quiet, &mut talker]);
        talker.send(&json!({"type": "ping", "timestamp": "t"}));
    }
    assert_eq!((quiet.close_code(), quiet.end), (None, None));
    assert!(quiet.received.iter().filter(|seen| **seen == Received::Ping).count() >= 6);
    assert!(!talker.received.contains(&Received::Ping));
    assert_eq!(talker.count("pong"), 11);
}

#[test]
fn any_bytes_count_as_a_sign_of_life() {
    let mut world = Plan::new(3).build();
    let mut client = world.join();
    client.answers_pings = false;
    world.pass(secs(31), &mut [&mut client]);
    assert!(client.received.contains(&Received::Ping));
    world.pass(secs(15), &mut [&mut client]);
    client.send_raw(&frame(PONG, b"of its own accord"));
    world.pass(secs(29), &mut [&mut client]);
    assert_eq!(client.close_code(), None);
}

#[test]
fn a_peer_that_only_pongs_is_idle_at_last_when_an_idle_limit_is_shorter() {
    let mut plan = Plan::new(4);
    plan.settings.timing.heartbeat_interval = Duration::ZERO;
    plan.settings.timing.idle = secs(60);
    let mut world = plan.build();
    let mut client = world.join();
    world.pass(secs(59), &mut [&mut client]);
    assert_eq!(client.close_code(), None);
    world.pass(secs(2), &mut [&mut client]);
    assert_eq!(client.close_code(), Some(4008));
    assert_eq!(world.stats.idle_timeouts.get(), 1);
    assert!(!client.received.contains(&Received::Ping));
    world.end(secs(2), &mut [&mut client]);
}

#[test]
fn a_request_that_does_not_end_is_answered_408_at_its_deadline_however_it_trickles() {
    let mut world = Plan::new(5).build();
    let mut silent = world.connect();
    let mut trickling = world.connect();
    trickling.send_raw(b"GET /ws HTTP/1.1\r\nHost: ");
    world.settle(&mut [&mut silent, &mut trickling]);
    for _ in 0..9 {
        trickling.send_raw(b"x");
        world.pass(secs(1), &mut [&mut silent, &mut trickling]);
    }
    assert_eq!((silent.status(), trickling.status()), (None, None), "too early");
    world.pass(secs(1) + SLACK, &mut [&mut silent, &mut trickling]);
    assert_eq!((silent.status(), trickling.status()), (Some(408), Some(408)));
    assert_eq!(world.stats.handshakes_timed_out.get(), 2);
    world.end(secs(1) + SLACK, &mut [&mut silent, &mut trickling]);
}

#[test]
fn a_window_that_stays_shut_is_given_up_at_the_write_deadline() {
    assert_given_up_at_the_write_deadline(Plan::new(6));
}

#[test]
fn a_window_that_stays_shut_is_given_up_where_a_reset_is_forbidden() {
    let mut plan = Plan::new(6);
    plan.faults.refused_resets = 1000;
    assert_given_up_at_the_write_deadline(plan);
}

#[track_caller]
fn assert_given_up_at_the_write_deadline(mut plan: Plan) {
    plan.faults.socket_buffer_bytes = 1024;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    client.read_bytes = 0;
    for _ in 0..10 {
        world.publish(events::of(Priority::Normal, "api"));
    }
    world.pass(secs(10) - SLACK, &mut [&mut client]);
    assert_eq!(world.stats.sockets_active.get(), 1, "too early");
    world.end(2 * SLACK, &mut [&mut client]);
    assert_eq!(world.stats.write_timeouts.get(), 1);
}

#[test]
fn slow_progress_is_progress() {
    let mut plan = Plan::new(7);
    plan.faults.socket_buffer_bytes = 1024;
    let mut world = plan.build();
    let mut client = world.join_subscribed(json!({}));
    client.read_bytes = 100;
    let seqs: Vec<u64> =
        (0..10).map(|_| world.publish(events::of(Priority::Normal, "api"))).collect();
    for _ in 0..100 {
        world.net.clock().advance(secs(1));
        world.turn();
        world.turn();
        client.pump();
    }
    assert_eq!(client.seqs(), seqs);
    assert_eq!(world.stats.write_timeouts.get(), 0);
}

#[test]
fn a_peer_that_never_answers_our_close_frame_is_freed_after_the_close_deadline() {
    let mut world = Plan::new(8).build();
    let mut client = world.join();
    client.answers_close = false;
    world.drain(secs(60));
    world.settle(&mut [&mut client]);
    assert_eq!(client.close_code(), Some(1001));
    world.pass(secs(5) - SLACK, &mut [&mut client]);
    assert_eq!((world.stats.sockets_active.get(), client.end), (1, None), "too early");
    world.end(2 * SLACK, &mut [&mut client]);
    assert!(!world.is_running);
}

#[test]
fn a_peer_that_answers_but_never_ends_its_direction_is_freed_after_the_end_deadline() {
    let mut world = Plan::new(9).build();
    let mut client = world.join();
    client.close(1000);
    world.settle(&mut [&mut client]);
    assert_eq!((client.close_code(), client.end), (Some(1000), Some(End::Closed)));
    world.pass(secs(1) - SLACK, &mut [&mut client]);
    assert_eq!(world.stats.sockets_active.get(), 1, "too early");
    world.end(2 * SLACK, &mut [&mut client]);
}

#[test]
fn a_refused_peer_that_takes_a_byte_now_and_then_does_not_hold_its_slot() {
    let mut plan = Plan::new(10);
    plan.faults.socket_buffer_bytes = 4;
    let mut world = plan.build();
    let mut client = world.connect();
    client.read_bytes = 1;
    client.send_raw(b"x\r\n\r\n");
    client.pump();
    for _ in 0..10 {
        world.settle(&mut []);
        client.pump();
    }
    let until = world.now() + secs(15);
    while world.now() < until && world.stats.sockets_active.get() > 0 {
        world.pass(secs(1), &mut []);
        client.pump();
    }
    assert_eq!(world.stats.sockets_active.get(), 0);
}

/// As by SIGSTOP, or by a machine that sleeps: some were asked for a sign of life just before,
/// some are idle for longer than they may be, and one has died meanwhile.
#[test]
fn a_server_that_was_stopped_takes_nobody_for_dead_but_the_dead() {
    for stopped in [secs(60), secs(400), secs(86_400)] {
        let mut world = Plan::new(11).build();
        let mut early: Vec<_> = (0..20).map(|_| world.join()).collect();
        world.pass(secs(20), &mut early.iter_mut().collect::<Vec<_>>());
        let mut late: Vec<_> = (0..20).map(|_| world.join()).collect();
        let mut dead = world.join();
        dead.answers_pings = false;
        // The early ones' pings go out; nothing comes back any more.
        world.pass(secs(10) + SLACK, &mut []);
        world.net.clock().advance(stopped);
        let mut living: Vec<_> = early.iter_mut().chain(&mut late).collect();
        world.turn();
        // What is under way takes a while.
        world.pass(secs(2), &mut []);
        world.pass(secs(100), &mut living);
        assert!(living.iter().all(|client| (client.close_code(), client.end) == (None, None)));
        assert_eq!(world.stats.heartbeats_missed.get() + world.stats.idle_timeouts.get(), 1);
        dead.pump();
        assert_eq!(dead.close_code(), Some(4008), "{stopped:?}");
    }
}

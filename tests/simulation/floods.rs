//! Clients that send too much, too slowly or in too many pieces: each is told and ended, costs
//! little memory, and nobody else notices.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::session::rate::Rate;
use alarmcast::shard::StreamHandler;
use alarmcast::ws;
use serde_json::json;

use crate::client::{Client, PING, Received, TEXT, frame};
use crate::events;
use crate::world::{Plan, World};

const RATE: Rate = Rate { per_second: 10, burst: 20 };

/// Frames that a pong, a ping or an answer takes: less than any flood.
const FRAMES_FEW: usize = 64;

fn limited(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.message_rate = RATE;
    plan.subscription_rate = RATE;
    plan.settings.intake.frames = Rate { per_second: 50, burst: 100 };
    plan.settings.intake.bytes = Rate { per_second: 20_000, burst: 40_000 };
    plan
}

/// Publishes and settles until the flood is over: every event must reach the bystander in the
/// same few turns as without it.
fn serve_beside(world: &mut World<StreamHandler>, flooder: &mut Client, bystander: &mut Client) {
    for _ in 0..10 {
        let seq = world.publish(events::of(Priority::Normal, "api"));
        world.turn();
        world.turn();
        bystander.pump();
        assert_eq!(bystander.seqs().last(), Some(&seq), "two turns are enough");
        world.settle(&mut [flooder]);
    }
}

fn assert_told_4029(flooder: &Client) {
    assert_eq!((flooder.closing_code(), flooder.close_code()), (Some(4029), Some(4029)));
    let closing = flooder.messages().last().expect("`closing`");
    assert_eq!(closing["reason"], "rate_limited");
    assert!(closing["retry_after_ms"].is_u64() && closing["resume"]["after"].is_u64(), "{closing}");
}

#[test]
fn a_burst_of_tiny_messages_is_answered_in_part_and_closed_with_4029() {
    let mut plan = limited(1);
    plan.settings.intake.frames = Rate::UNLIMITED;
    plan.settings.intake.bytes = Rate::UNLIMITED;
    let mut world = plan.build();
    let mut bystander = world.join_subscribed(json!({}));
    let mut flooder = world.join();
    flooder.send_raw(&frame(TEXT, b"{}").repeat(30_000));
    serve_beside(&mut world, &mut flooder, &mut bystander);
    assert_told_4029(&flooder);
    let codes = |code: &str| flooder.messages().filter(|it| it["code"] == code).count();
    assert_eq!(codes("INVALID_MESSAGE"), 20, "the burst is looked at");
    assert_eq!(codes("RATE_LIMITED"), 20, "another is refused");
    assert_eq!(world.stats.rate_limited_closed[0].get(), 1);
    assert_eq!(world.stats.messages_rate_limited.get(), 20);
    assert_eq!(world.stats.messages_received.get(), 42, "what came behind was not looked at");
    bystander.close(1000);
    world.end(Duration::from_secs(8), &mut [&mut flooder, &mut bystander]);
}

#[test]
fn one_that_is_refused_now_and_then_stays() {
    let mut world = limited(2).build();
    let mut client = world.join();
    for _ in 0..40 {
        // Half as many again as it may.
        (0..3).for_each(|_| client.send(&json!({"type": "ping", "timestamp": "t"})));
        world.pass(Duration::from_millis(200), &mut [&mut client]);
    }
    assert_eq!(client.close_code(), None);
    assert!(world.stats.messages_rate_limited.get() > 10);
    assert!(client.count("pong") > 80);
}

#[test]
fn a_flood_of_pings_is_closed_with_4029_by_the_rate_of_frames() {
    let mut world = limited(3).build();
    let mut bystander = world.join_subscribed(json!({}));
    let mut flooder = world.join();
    flooder.send_raw(&frame(PING, b"?").repeat(5_000));
    serve_beside(&mut world, &mut flooder, &mut bystander);
    assert_told_4029(&flooder);
    let pongs = flooder.received.iter().filter(|it| matches!(it, Received::Pong(_))).count();
    assert!((1..=100).contains(&pongs), "{pongs}");
    assert_eq!(world.stats.rate_limited_closed[1].get(), 1);
    assert_eq!(world.stats.slow_consumers_closed.get(), 0);
}

#[test]
fn tiny_fragments_are_frames_as_well() {
    let mut plan = limited(4);
    plan.settings.message.fragments_max = 1 << 20;
    let mut world = plan.build();
    let mut flooder = world.join();
    flooder.send_raw(&[0x01, 0x80, 0, 0, 0, 0]);
    flooder.send_raw(&[0x00, 0x80, 0, 0, 0, 0].repeat(5_000));
    world.settle(&mut [&mut flooder]);
    assert_told_4029(&flooder);
    assert_eq!(world.stats.rate_limited_closed[1].get(), 1);
    world.end(Duration::from_secs(8), &mut [&mut flooder]);
}

#[test]
fn too_many_bytes_are_closed_with_4029_however_few_the_frames() {
    let mut world = limited(5).build();
    let mut flooder = world.join();
    for _ in 0..6 {
        flooder.send_raw(&frame(TEXT, &[b'x'; 10_000]));
        world.settle(&mut [&mut flooder]);
    }
    assert_told_4029(&flooder);
    assert_eq!(world.stats.rate_limited_closed[2].get(), 1);
    let received = world.stats.messages_received.get();
    assert_eq!(received, 3, "as many as fit into the burst");
}

#[test]
fn a_rest_refills_every_rate() {
    let mut world = limited(6).build();
    let mut client = world.join();
    for _ in 0..5 {
        (0..3).for_each(|_| client.send_raw(&frame(TEXT, &[b'x'; 10_000])));
        (0..15).for_each(|_| client.send(&json!({"type": "ping", "timestamp": "t"})));
        world.pass(Duration::from_secs(3), &mut [&mut client]);
    }
    assert_eq!(client.close_code(), None);
    assert_eq!(client.count("pong"), 75);
}

#[test]
fn one_that_pings_and_never_reads_holds_few_pongs_and_ends_at_the_write_deadline() {
    let mut plan = Plan::new(7);
    plan.faults.socket_buffer_bytes = 2048;
    let mut world = plan.build();
    let mut bystander = world.join_subscribed(json!({}));
    let mut flooder = world.join();
    flooder.read_bytes = 0;
    for _ in 0..5 {
        flooder.send_raw(&frame(PING, &[7; 100]).repeat(200));
        serve_beside(&mut world, &mut flooder, &mut bystander);
        assert!(world.shard.frames_stored() < FRAMES_FEW, "{}", world.shard.frames_stored());
        assert!(world.stats.outbox_bytes.get() < 4096, "{}", world.stats.outbox_bytes.get());
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 0);
    world.pass(Duration::from_secs(12), &mut [&mut bystander]);
    assert_eq!(world.stats.write_timeouts.get(), 1);
    assert_eq!(world.stats.connections_active.get(), 1);
}

#[test]
fn pings_in_one_piece_are_each_answered_in_order_and_of_very_many_the_last_one_is() {
    let mut world = Plan::new(8).build();
    let mut client = world.join();
    let burst: Vec<u8> = (0..10).flat_map(|number| frame(PING, &[number])).collect();
    client.send_raw(&burst);
    world.settle(&mut [&mut client]);
    let pongs = |client: &Client| -> Vec<u8> {
        let pong = |it: &Received| match it {
            Received::Pong(payload) => Some(payload[0]),
            _ => None,
        };
        client.received.iter().filter_map(pong).collect()
    };
    assert_eq!(pongs(&client), (0..10).collect::<Vec<u8>>());
    let burst: Vec<u8> = (10..=200).flat_map(|number| frame(PING, &[number])).collect();
    client.send_raw(&burst);
    world.settle(&mut [&mut client]);
    assert_eq!(pongs(&client).last(), Some(&200));
    assert!(pongs(&client).is_sorted());
}

#[test]
fn who_is_closed_for_a_flood_is_not_listened_to_any_more() {
    let mut world = limited(9).build();
    let mut flooder = world.join();
    flooder.answers_close = false;
    flooder.read_bytes = 0;
    for _ in 0..20 {
        flooder.send_raw(&frame(PING, b"?").repeat(500));
        world.pass(Duration::from_millis(100), &mut [&mut flooder]);
    }
    let received = world.stats.messages_received.get();
    assert_eq!((received, world.stats.rate_limited_closed[1].get()), (0, 1));
    // The end came as late as its deadline and no later, although it went on.
    world.end(Duration::from_secs(6), &mut [&mut flooder]);
}

#[test]
fn a_message_that_trickles_in_ends_with_1008_at_its_deadline() {
    let mut world = Plan::new(10).build();
    let mut client = world.join();
    let message = frame(TEXT, &[b' '; 100]);
    for byte in &message[..19] {
        client.send_raw(&[*byte]);
        world.pass(Duration::from_secs(1), &mut [&mut client]);
    }
    assert_eq!(client.close_code(), None, "too early");
    client.send_raw(&message[19..20]);
    world.pass(Duration::from_millis(1400), &mut [&mut client]);
    assert_eq!((client.closing_code(), client.close_code()), (Some(1008), Some(1008)));
    assert_eq!(world.stats.message_timeouts.get(), 1);
    world.end(Duration::from_secs(2), &mut [&mut client]);
}

#[test]
fn a_message_in_pieces_that_is_completed_in_time_is_answered() {
    let mut world = Plan::new(11).build();
    let mut client = world.join();
    for _ in 0..3 {
        for piece in frame(TEXT, br#"{"type":"ping","timestamp":"t"}"#).chunks(10) {
            client.send_raw(piece);
            world.pass(Duration::from_secs(4), &mut [&mut client]);
        }
    }
    assert_eq!((client.count("pong"), client.close_code()), (3, None));
}

#[test]
fn incomplete_messages_beyond_their_budget_close_the_largest_with_1013() {
    let mut plan = Plan::new(12);
    plan.settings.message = ws::Limits { message_bytes_max: 64 * 1024, fragments_max: 16 };
    plan.settings.intake.partial_bytes_max = 100 * 1024;
    let mut world = plan.build();
    let mut small = world.join();
    small.send_raw(&frame(TEXT, &[b' '; 1_000])[..900]);
    let mut large: Vec<Client> = (0..20).map(|_| world.join()).collect();
    for client in &mut large {
        client.send_raw(&frame(TEXT, &[b' '; 30_000])[..20_000]);
        world.settle(&mut [client]);
    }
    world.settle(&mut large.iter_mut().collect::<Vec<_>>());
    let closed = large.iter().filter(|client| client.close_code() == Some(1013)).count() as u64;
    assert!((15..20).contains(&closed), "{closed}");
    assert_eq!(world.stats.partial_messages_closed.get(), closed);
    assert!(large.iter().all(|client| matches!(client.closing_code(), None | Some(1013))));
    assert_eq!(small.close_code(), None, "the largest go first");
}

#[test]
fn messages_that_are_completed_do_not_use_the_budget_up() {
    let mut plan = Plan::new(13);
    plan.settings.intake.partial_bytes_max = 50 * 1024;
    let mut world = plan.build();
    let mut client = world.join();
    for _ in 0..50 {
        client.send_raw(&frame(TEXT, &[b' '; 10_000]));
        world.settle(&mut [&mut client]);
    }
    assert_eq!((client.close_code(), client.count("error")), (None, 50));
    assert_eq!(world.stats.partial_messages_closed.get(), 0);
}

#[test]
fn a_change_of_subscriptions_beyond_the_rate_is_refused_before_its_filter_is_looked_at() {
    let mut plan = limited(14);
    plan.message_rate = Rate::UNLIMITED;
    plan.subscription_rate = Rate { per_second: 1, burst: 2 };
    let mut world = plan.build();
    let mut client = world.join();
    for id in ["a", "b", "c", "d"] {
        client.subscribe(id, json!({"sources": [{"glob": "["}]}));
    }
    client.unsubscribe("e");
    world.settle(&mut [&mut client]);
    let errors: Vec<_> = client.messages().filter(|it| it["type"] == "error").collect();
    let codes: Vec<_> = errors.iter().map(|it| it["code"].as_str().expect("a code")).collect();
    let expected =
        ["INVALID_FILTER", "INVALID_FILTER", "RATE_LIMITED", "RATE_LIMITED", "RATE_LIMITED"];
    assert_eq!(codes, expected);
    assert_eq!(errors[2]["subscription_id"], "c");
    assert_eq!(errors[4]["subscription_id"], "e");
}

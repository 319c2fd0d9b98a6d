//! Who is let in: limits, and accepts that fail.

use std::collections::BTreeSet;
use std::time::Duration;

use alarmcast::session::rate::Rate;

use crate::client::Client;
use crate::world::Plan;

#[test]
fn failing_accepts_pause_and_recover_without_losing_anyone() {
    let mut plan = Plan::new(1);
    plan.faults.accept_failures = 1000;
    let mut world = plan.build();
    let mut clients: Vec<Client> = (0..5).map(|_| world.knock()).collect();
    for _ in 0..20 {
        world.turn();
    }
    let errors = world.stats.accept_errors.get();
    assert!((1..=4).contains(&errors), "{errors} errors: it pauses instead of spinning");
    world.pass(Duration::from_secs(1), &mut []);
    let errors = world.stats.accept_errors.get();
    assert!((8..=60).contains(&errors), "{errors} errors in a second");
    let mut faults = alarmcast::io::sim::Faults::none();
    faults.accept_failures = 0;
    world.net.set_faults(faults);
    world.pass(Duration::from_millis(300), &mut clients.iter_mut().collect::<Vec<_>>());
    assert!(clients.iter().all(|client| client.status() == Some(101)));
}

#[test]
fn a_connection_past_the_limit_gets_503_and_the_place_of_one_that_left_is_free_again() {
    let mut plan = Plan::new(2);
    plan.settings.connections_max = 2;
    plan.settings.sockets_max = 4;
    let mut world = plan.build();
    let (mut first, mut second) = (world.join(), world.join());
    let mut third = world.knock();
    world.settle(&mut [&mut third]);
    assert_eq!(third.status(), Some(503));
    assert!(third.head.as_deref().is_some_and(|head| head.contains("Retry-After: ")));
    assert_eq!(world.stats.connections_refused.get(), 1);
    third.abandon();
    first.close(1000);
    world.settle(&mut [&mut first]);
    first.abandon();
    world.pass(Duration::from_millis(100), &mut []);
    assert_eq!(world.stats.sockets_active.get(), 1);
    let mut fourth = world.join();
    second.close(1000);
    fourth.close(1000);
    world.end(Duration::from_secs(2), &mut [&mut second, &mut fourth]);
}

#[test]
fn with_every_slot_taken_the_others_wait_until_one_is_free() {
    let mut plan = Plan::new(4);
    plan.settings.sockets_max = 3;
    let mut world = plan.build();
    let mut clients: Vec<Client> = (0..3).map(|_| world.join()).collect();
    let mut waiting = world.knock();
    world.settle(&mut [&mut waiting]);
    assert_eq!((waiting.status(), waiting.end), (None, None));
    clients[0].abandon();
    world.settle(&mut [&mut waiting]);
    assert_eq!(waiting.status(), Some(101));
}

#[test]
fn refused_peers_that_linger_do_not_keep_others_out() {
    let mut plan = Plan::new(3);
    plan.settings.connections_max = 2;
    plan.settings.sockets_max = 8;
    let mut world = plan.build();
    let (mut first, mut second) = (world.join(), world.join());
    let mut refused: Vec<Client> = (0..3).map(|_| world.knock()).collect();
    world.settle(&mut refused.iter_mut().collect::<Vec<_>>());
    assert!(refused.iter().all(|client| client.status() == Some(503)));
    first.abandon();
    world.settle(&mut [&mut second]);
    // Two places, one taken; three refused ones have not gone yet.
    assert_eq!(world.stats.sockets_active.get(), 4);
    let mut next = world.join();
    second.close(1000);
    next.close(1000);
    world.end(Duration::from_secs(2), &mut [&mut second, &mut next]);
}

/// The `Retry-After` of a refusal by 503.
fn pause(client: &Client) -> u32 {
    assert_eq!(client.status(), Some(503), "{:?}", client.head);
    let head = client.head.as_deref().expect("an answer");
    let seconds = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    seconds.and_then(|text| text.parse().ok()).expect("whole seconds")
}

#[test]
fn beyond_so_many_handshakes_at_a_time_newcomers_get_503_and_places_come_free() {
    let mut plan = Plan::new(5);
    plan.settings.handshakes.pending_max = 3;
    let mut world = plan.build();
    let mut open = world.join_subscribed(serde_json::json!({}));
    let mut shaking: Vec<Client> = (0..3).map(|_| world.connect()).collect();
    world.settle(&mut shaking.iter_mut().collect::<Vec<_>>());
    assert_eq!(world.stats.handshakes_pending.get(), 3);
    let mut late = world.knock();
    world.settle(&mut [&mut late]);
    assert!((1..=9).contains(&pause(&late)));
    assert_eq!(world.stats.handshakes_too_many.get(), 1);
    let seq = world.publish(crate::events::of(alarmcast::event::Priority::Low, "api"));
    world.settle(&mut [&mut open, &mut late]);
    assert_eq!(open.seqs(), [seq], "who is open notices nothing");
    // One is completed, one is given up by its client, one by the server in the end.
    shaking[0].send_raw(crate::client::request("/ws").as_bytes());
    shaking[1].reset();
    world.settle(&mut shaking.iter_mut().collect::<Vec<_>>());
    assert_eq!((shaking[0].status(), world.stats.handshakes_pending.get()), (Some(101), 1));
    let mut next = world.join();
    world.pass(
        Duration::from_secs(12),
        &mut shaking.iter_mut().chain([&mut next]).collect::<Vec<_>>(),
    );
    assert_eq!((shaking[2].status(), world.stats.handshakes_pending.get()), (Some(408), 0));
}

#[test]
fn handshakes_beyond_the_rate_get_503_each_with_its_own_pause_and_later_ones_pass() {
    let mut plan = Plan::new(6);
    plan.settings.handshakes.rate = Rate { per_second: 2, burst: 3 };
    let mut world = plan.build();
    let mut clients: Vec<Client> = (0..30).map(|_| world.knock()).collect();
    world.settle(&mut clients.iter_mut().collect::<Vec<_>>());
    let (in_time, late): (Vec<_>, Vec<_>) =
        clients.iter().partition(|client| client.status() == Some(101));
    assert_eq!((in_time.len(), world.stats.handshakes_too_fast.get()), (3, 27));
    let pauses: BTreeSet<u32> = late.into_iter().map(pause).collect();
    assert!(pauses.len() > 3 && pauses.iter().all(|pause| (1..=9).contains(pause)), "{pauses:?}");
    world.pass(Duration::from_secs(1), &mut clients.iter_mut().collect::<Vec<_>>());
    let mut later: Vec<Client> = (0..3).map(|_| world.knock()).collect();
    world.settle(&mut later.iter_mut().collect::<Vec<_>>());
    let passed = later.iter().filter(|client| client.status() == Some(101)).count();
    assert_eq!(passed, 2);
}

//! Who is let in: limits, and accepts that fail.

use std::time::Duration;

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
    assert!(third.head.as_deref().is_some_and(|head| head.contains("Retry-After: 5\r\n")));
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

use std::collections::HashSet;

use alarmcast::io::{Driver, Op, Outcome};

use crate::harness::{Client, Harness};
use crate::world::{World, errno, roomy};

crate::on_every_driver!(
    an_accept_reports_the_peer,
    many_accepts_are_outstanding_at_once_and_each_gets_its_own_peer,
    a_cancelled_accept_ends_with_ecanceled_and_the_next_one_works,
    an_accept_beyond_the_configured_number_is_given_back,
    at_the_limit_of_sockets_an_accept_fails_and_works_again_after_a_close,
    sockets_are_reused_over_and_over,
);

fn an_accept_reports_the_peer<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let accept = world.push(Op::Accept);
    let client = world.harness.connect();
    let (_, peer) = world.accepted(accept);
    assert_eq!(peer, client.addr());
}

fn many_accepts_are_outstanding_at_once_and_each_gets_its_own_peer<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let accepts: Vec<_> = (0..8).map(|_| world.push(Op::Accept)).collect();
    world.turn();
    let clients: Vec<_> = (0..8).map(|_| world.harness.connect()).collect();
    let accepted: Vec<_> = accepts.into_iter().map(|accept| world.accepted(accept)).collect();
    let sockets: HashSet<_> = accepted.iter().map(|(socket, _)| *socket).collect();
    assert_eq!(sockets.len(), 8);
    let peers: HashSet<_> = accepted.iter().map(|(_, peer)| *peer).collect();
    assert_eq!(peers, clients.iter().map(Client::addr).collect());
}

fn a_cancelled_accept_ends_with_ecanceled_and_the_next_one_works<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let (first, second) = (world.push(Op::Accept), world.push(Op::Accept));
    world.turn();
    world.harness.driver().cancel(second);
    assert_eq!(errno(&world.outcome(second)), Some(libc::ECANCELED));
    assert!(world.is_in_flight(first), "only one was cancelled");
    let client = world.harness.connect();
    assert_eq!(world.accepted(first).1, client.addr());
    world.harness.driver().cancel(first);
    world.turn();
    world.connection();
}

fn an_accept_beyond_the_configured_number_is_given_back<H: Harness>() {
    let mut world = World::<H>::new(roomy());
    let accepts: Vec<_> = (0..8).map(|_| world.push(Op::Accept)).collect();
    let ninth = world.token(alarmcast::io::Kind::Accept);
    assert!(matches!(world.harness.driver().push(ninth, Op::Accept), Err(Op::Accept)));
    assert_eq!(world.harness.stats().pushes_refused, 1);
    world.harness.driver().cancel(accepts[3]);
    assert_eq!(errno(&world.outcome(accepts[3])), Some(libc::ECANCELED));
    world.push_as(ninth, Op::Accept);
    assert_eq!(world.in_flight(), 8);
}

fn at_the_limit_of_sockets_an_accept_fails_and_works_again_after_a_close<H: Harness>() {
    let config = alarmcast::io::DriverConfig { sockets_max: 2, ..roomy() };
    let mut world = World::<H>::new(config);
    let (first, _client) = world.connection();
    let (_second, _other) = world.connection();
    let accept = world.push(Op::Accept);
    let _refused = world.harness.connect();
    let failure = world.outcome(accept);
    assert!(matches!(errno(&failure), Some(libc::ENFILE | libc::EMFILE)), "{failure:?}");
    world.close(first, &[]);
    let (third, _) = world.connection();
    assert_eq!(third, first, "the only free place");
}

fn sockets_are_reused_over_and_over<H: Harness>() {
    let config = alarmcast::io::DriverConfig { sockets_max: 2, ..roomy() };
    let mut world = World::<H>::new(config);
    for round in 0..50_u8 {
        let (socket, mut client) = world.connection();
        let recv = world.push(Op::Recv(socket));
        assert_eq!(client.write(&[round]).unwrap(), 1);
        match world.outcome(recv) {
            Outcome::Received { bytes, more: true } => assert_eq!(bytes[..], [round]),
            other => panic!("round {round}: {other:?}"),
        }
        world.close(socket, &[recv]);
    }
    assert_eq!(world.in_flight(), 0);
}

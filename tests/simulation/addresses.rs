//! Limits by address: who is counted, and that every end of a connection gives its place back.
//! The world compares the counts with the connections after every turn.

use std::sync::Arc;
use std::time::Duration;

use alarmcast::io::sim::Faults;
use alarmcast::session::rate::Rate;
use alarmcast::shard::{AddressLimits, AddressQuota, Admission, StreamHandler};
use serde_json::json;

use crate::client::{Client, request};
use crate::random::Random;
use crate::world::{Plan, World};

const PROXY: &str = "10.0.0.1";

fn limits(connections_max: u32, rate: Rate) -> Arc<AddressLimits> {
    let quota = AddressQuota { connections_max, rate };
    Arc::new(AddressLimits::new(quota, 48).expect("limits"))
}

fn places(connections_max: u32) -> Arc<AddressLimits> {
    limits(connections_max, Rate { per_second: 0, burst: 1 })
}

fn plan(seed: u64, limits: &Arc<AddressLimits>) -> Plan {
    let mut plan = Plan::new(seed);
    plan.settings.admission.limits = Some(Arc::clone(limits));
    plan
}

/// With a trusted proxy, which does or does not speak the PROXY protocol.
fn proxied(seed: u64, limits: &Arc<AddressLimits>, expects_proxy_header: bool) -> Plan {
    let mut plan = plan(seed, limits);
    let proxy = PROXY.parse().expect("an address");
    plan.settings.admission = Admission {
        trusted_proxies: Arc::new([proxy]),
        expects_proxy_header,
        ..plan.settings.admission
    };
    plan
}

fn knock_from(world: &World<StreamHandler>, address: &str) -> Client {
    let mut client = world.connect_from(address);
    client.send_raw(request("/ws").as_bytes());
    client
}

/// A request that a proxy passed on for these addresses.
fn forwarded(addresses: &str) -> String {
    request("/ws").replacen("Host:", &format!("X-Forwarded-For: {addresses}\r\nHost:"), 1)
}

fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 9, 0x12, 0x34, 0, 80]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

#[track_caller]
fn status(world: &mut World<StreamHandler>, client: &mut Client) -> Option<u16> {
    world.settle(&mut [client]);
    client.status()
}

#[test]
fn an_address_at_its_limit_gets_429_at_once_and_others_connect() {
    let limits = places(2);
    let mut world = plan(1, &limits).build();
    let mut inside: Vec<Client> = (0..2).map(|_| knock_from(&world, "192.0.2.1")).collect();
    world.settle(&mut inside.iter_mut().collect::<Vec<_>>());
    assert!(inside.iter().all(|client| client.status() == Some(101)));
    // Refused before it has said anything.
    let mut third = world.connect_from("192.0.2.1");
    assert_eq!(status(&mut world, &mut third), Some(429));
    assert!(third.head.as_deref().is_some_and(|head| head.contains("Retry-After: ")));
    assert!(third.body.starts_with(r#"{"code":"TOO_MANY_REQUESTS","#), "{}", third.body);
    let mut other = knock_from(&world, "192.0.2.2");
    assert_eq!(status(&mut world, &mut other), Some(101));
    assert_eq!(world.stats.addresses_full.get(), 1);
    assert_eq!(limits.places_taken(), [3; 4]);
    inside[0].close(1000);
    world.pass(Duration::from_millis(200), &mut inside.iter_mut().collect::<Vec<_>>());
    inside[0].abandon();
    world.pass(Duration::from_millis(200), &mut []);
    let mut next = knock_from(&world, "192.0.2.1");
    assert_eq!(status(&mut world, &mut next), Some(101));
    let mut all = vec![&mut inside[1], &mut other, &mut next];
    all.iter_mut().for_each(|client| client.close(1000));
    world.end(Duration::from_secs(3), &mut all);
    assert_eq!(limits.places_taken(), [0; 4]);
}

#[test]
fn a_flood_from_one_address_takes_neither_slots_nor_time_of_others() {
    let limits = places(1);
    let mut world = plan(2, &limits).build();
    let mut first = knock_from(&world, "192.0.2.1");
    assert_eq!(status(&mut world, &mut first), Some(101));
    let mut flood: Vec<Client> = Vec::new();
    for round in 0..50 {
        flood.extend((0..10).map(|_| world.connect_from("192.0.2.1")));
        world.settle(&mut []);
        assert!(world.stats.sockets_refused.get() <= 8, "in round {round}");
    }
    assert_eq!(world.stats.addresses_full.get(), 500);
    let mut other = knock_from(&world, "192.0.2.2");
    assert_eq!(status(&mut world, &mut other), Some(101));
    flood.iter_mut().for_each(Client::abandon);
    first.close(1000);
    other.close(1000);
    world.end(Duration::from_secs(3), &mut [&mut first, &mut other]);
}

#[test]
fn who_connects_too_often_is_told_to_wait_and_then_let_in() {
    let limits = limits(0, Rate { per_second: 1, burst: 3 });
    let mut world = plan(3, &limits).build();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let mut client = knock_from(&world, "2001:db8::1");
        statuses.push(status(&mut world, &mut client));
    }
    assert_eq!(statuses, [101, 101, 101, 429, 429].map(Some));
    assert_eq!(world.stats.addresses_too_fast.get(), 2);
    let mut neighbour = knock_from(&world, "2001:db8:0:1::1");
    assert_eq!(status(&mut world, &mut neighbour), Some(101));
    world.pass(Duration::from_secs(1), &mut []);
    let mut sibling = knock_from(&world, "2001:db8::2");
    assert_eq!(status(&mut world, &mut sibling), Some(101));
    neighbour.abandon();
    sibling.abandon();
    world.end(Duration::from_secs(2), &mut []);
}

#[test]
fn forwarded_addresses_count_from_a_trusted_proxy_and_from_nobody_else() {
    let limits = places(1);
    let mut world = proxied(4, &limits, false).build();
    let mut knock = |from: &str, addresses: &str| {
        let mut client = world.connect_from(from);
        client.send_raw(forwarded(addresses).as_bytes());
        let status = status(&mut world, &mut client);
        (client, status)
    };
    let (mut first, accepted) = knock(PROXY, "203.0.113.9, 192.0.2.1");
    assert_eq!(accepted, Some(101));
    let (_, again) = knock(PROXY, "203.0.113.10, 192.0.2.1");
    assert_eq!(again, Some(429), "what the client wrote itself changes nothing");
    let (mut other, accepted) = knock(PROXY, "192.0.2.2");
    assert_eq!(accepted, Some(101));
    let (mut spoofing, accepted) = knock("192.0.2.3", "192.0.2.200");
    assert_eq!(accepted, Some(101));
    let (_, again) = knock("192.0.2.3", "192.0.2.201");
    assert_eq!(again, Some(429), "its own address counts, whatever it says");
    assert_eq!(limits.places_taken(), [3; 4]);
    // The proxy itself is not limited.
    let (mut probes, statuses): (Vec<_>, Vec<_>) = (0..3).map(|_| knock(PROXY, "")).unzip();
    assert_eq!(statuses, [Some(101); 3]);
    let mut all: Vec<&mut Client> = probes.iter_mut().collect();
    all.extend([&mut first, &mut other, &mut spoofing]);
    all.iter_mut().for_each(|client| client.close(1000));
    world.end(Duration::from_secs(3), &mut all);
    assert_eq!(limits.places_taken(), [0; 4]);
}

#[test]
fn a_proxys_header_names_the_client_before_the_request_comes() {
    let limits = places(1);
    let mut world = proxied(5, &limits, true).build();
    let mut first = world.connect_from(PROXY);
    first.send_raw(&proxy_header([192, 0, 2, 1]));
    assert_eq!(status(&mut world, &mut first), None);
    assert_eq!(limits.places_taken(), [1; 4]);
    // A client's own words about its address are not a proxy's.
    first.send_raw(forwarded("192.0.2.77").as_bytes());
    assert_eq!(status(&mut world, &mut first), Some(101));
    let mut second = world.connect_from(PROXY);
    let header = proxy_header([192, 0, 2, 1]);
    second.send_raw(&[&header[..], request("/ws").as_bytes()].concat());
    assert_eq!(status(&mut world, &mut second), Some(429));
    let mut probe = world.connect_from(PROXY);
    probe.send_raw(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    probe.send_raw(request("/ws").as_bytes());
    assert_eq!(status(&mut world, &mut probe), Some(101));
    let mut headless = knock_from(&world, PROXY);
    assert_eq!(status(&mut world, &mut headless), Some(400));
    assert_eq!(world.stats.proxy_headers_refused.get(), 1);
    let mut direct = knock_from(&world, "192.0.2.2");
    assert_eq!(status(&mut world, &mut direct), Some(101));
    let mut all = [&mut first, &mut probe, &mut direct];
    all.iter_mut().for_each(|client| client.close(1000));
    world.end(Duration::from_secs(3), &mut all);
}

#[test]
fn a_flood_through_a_proxy_takes_no_slots_of_others_either() {
    let limits = places(1);
    let mut world = proxied(8, &limits, true).build();
    let mut first = world.connect_from(PROXY);
    first.send_raw(&proxy_header([192, 0, 2, 1]));
    first.send_raw(request("/ws").as_bytes());
    assert_eq!(status(&mut world, &mut first), Some(101));
    let mut flood: Vec<Client> = Vec::new();
    for round in 0..20 {
        for _ in 0..10 {
            let mut client = world.connect_from(PROXY);
            client.send_raw(&proxy_header([192, 0, 2, 1]));
            flood.push(client);
        }
        world.settle(&mut []);
        assert!(world.stats.sockets_refused.get() <= 8, "in round {round}");
    }
    assert_eq!(world.stats.addresses_full.get(), 200);
    let mut other = world.connect_from(PROXY);
    other.send_raw(&proxy_header([192, 0, 2, 2]));
    other.send_raw(request("/ws").as_bytes());
    assert_eq!(status(&mut world, &mut other), Some(101));
    flood.iter_mut().for_each(Client::abandon);
    first.close(1000);
    other.close(1000);
    world.end(Duration::from_secs(3), &mut [&mut first, &mut other]);
}

#[test]
fn half_a_proxys_header_is_given_up_at_the_handshakes_deadline() {
    let limits = places(1);
    let mut world = proxied(6, &limits, true).build();
    let mut client = world.connect_from(PROXY);
    client.send_raw(&proxy_header([192, 0, 2, 1])[..20]);
    world.pass(Duration::from_secs(9), &mut [&mut client]);
    assert_eq!(client.status(), None);
    world.pass(Duration::from_secs(2), &mut [&mut client]);
    assert_eq!(client.status(), Some(408));
    world.end(Duration::from_secs(3), &mut [&mut client]);
}

/// One client of a random life: what it says first, and how it goes.
fn live(world: &mut World<StreamHandler>, random: &mut Random) -> Client {
    let client_byte = random.below(4) as u8;
    let address = format!("192.0.2.{client_byte}");
    let mut client = match random.below(5) {
        0 => world.connect_from(&address),
        1 | 2 => knock_from(world, &address),
        3 => {
            let mut client = world.connect_from(PROXY);
            client.send_raw(&proxy_header([192, 0, 2, client_byte]));
            client.send_raw(request("/ws").as_bytes());
            client
        }
        _ => {
            let mut client = world.connect_from(&address);
            client.send_raw(request("/nowhere").as_bytes());
            client
        }
    };
    let millis = random.pick(&[0, 0, 30, 30, 300, 700, 700, 11_000]);
    world.pass(Duration::from_millis(millis), &mut [&mut client]);
    match random.below(5) {
        0 => client.abandon(),
        1 => client.reset(),
        2 => client.half_close(),
        3 => client.send_raw(b"\xFF\xFF\xFF"),
        _ if client.status() == Some(101) => client.close(1000),
        _ => client.send_raw(b"nonsense\r\n\r\n"),
    }
    client
}

#[test]
fn every_end_gives_the_place_back_on_a_rough_network() {
    for seed in 0..4 {
        let limits = places(3);
        let mut plan = proxied(seed, &limits, true);
        plan.faults = Faults { resets: 20, ..Faults::rough() };
        let mut world = plan.build();
        let mut random = Random::new(seed);
        let mut clients = Vec::new();
        for _ in 0..30 {
            clients.push(live(&mut world, &mut random));
            if clients.len() > 12 {
                clients.remove(0);
            }
        }
        clients.iter_mut().for_each(Client::abandon);
        world.net.set_faults(Faults::none());
        world.end(Duration::from_secs(60), &mut []);
        assert_eq!(limits.places_taken(), [0; 4], "seed {seed}");
    }
}

#[test]
fn a_drain_gives_all_places_back() {
    let limits = places(4);
    let mut world = plan(7, &limits).build();
    let mut clients: Vec<Client> = (0..4).map(|_| knock_from(&world, "192.0.2.1")).collect();
    let mut all: Vec<&mut Client> = clients.iter_mut().collect();
    world.settle(&mut all);
    all.iter_mut().for_each(|client| client.subscribe("all", json!({})));
    world.drain(Duration::from_secs(5));
    world.end(Duration::from_secs(10), &mut all);
    assert_eq!(limits.places_taken(), [0; 4]);
}

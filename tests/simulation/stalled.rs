//! Clients that take nothing: of what they want only bits are kept at first, and in the end they
//! have got and lost just what one did for whom every event was queued as it came.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use alarmcast::shard::StreamHandler;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::events;
use crate::random::{Random, for_seeds};
use crate::world::{Plan, World};

/// What differs between clients.
fn filters() -> [Value; 4] {
    [
        json!({}),
        json!({"sources": ["api"]}),
        json!({"event_types": ["system_event"]}),
        json!({"event_types": ["incident_created", "incident_resolved"]}),
    ]
}

/// Two of each filter: for one that conflates no event is deferred.
fn join(world: &mut World<StreamHandler>) -> Vec<Client> {
    let mut clients = Vec::new();
    for filters in filters() {
        for options in [json!({}), json!({"conflate": true})] {
            let mut client = world.connect();
            client.send_raw(request("/ws?encoding=json").as_bytes());
            client.subscribe_with("all", filters.clone(), &options);
            world.settle(&mut [&mut client]);
            assert_eq!(client.count("subscribed"), 1);
            client.read_bytes = 0;
            clients.push(client);
        }
    }
    clients
}

/// What came, and what was told as lost.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    seqs: Vec<u64>,
    lost: BTreeMap<String, u64>,
    range: Option<(u64, u64)>,
}

impl Outcome {
    fn of(client: &Client) -> Self {
        let mut outcome = Self { seqs: client.seqs(), ..Self::default() };
        for notice in client.messages().filter(|message| message["type"] == "dropped") {
            assert_eq!(notice["reason"], "slow_consumer");
            for (priority, count) in notice["counts"].as_object().expect("counts") {
                *outcome.lost.entry(priority.clone()).or_default() += count.as_u64().expect("one");
            }
            let seq = |name: &str| notice[name].as_u64().expect("a number");
            let (from, to) = outcome.range.unwrap_or((u64::MAX, 0));
            outcome.range = Some((from.min(seq("from_seq")), to.max(seq("to_seq"))));
        }
        outcome
    }
}

const SEEDS: u64 = 12;

#[test]
fn who_takes_nothing_gets_and_loses_what_it_would_if_every_event_were_queued_for_every_seed() {
    let lost = AtomicU64::new(0);
    let seeds = for_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(seed);
        plan.faults.socket_buffer_bytes = 4096;
        plan.settings.outbox = Limits {
            messages_max: random.pick(&[20, 64, 200, 1_000, 1_000, 1_000]),
            bytes_max: random.pick(&[64 * 1024, 4 * 1024 * 1024, 4 * 1024 * 1024]),
        };
        plan.shed_below = random.pick(&[Priority::Critical, Priority::High]);
        let mut world = plan.build();
        let mut clients = join(&mut world);
        for _ in 0..random.pick(&[150, 1_000, 1_500, 2_500]) {
            let priority = match random.below(400) {
                0 => Priority::Critical,
                1..=4 => Priority::High,
                5..=150 => Priority::Normal,
                _ => Priority::Low,
            };
            world.publish(events::of(priority, random.pick(&["api", "db"])));
            world.turn();
        }
        clients.iter_mut().for_each(|client| client.read_bytes = usize::MAX);
        world.pass(Duration::from_secs(5), &mut clients.iter_mut().collect::<Vec<_>>());
        for (pair, filters) in clients.chunks(2).zip(filters()) {
            let (deferred, queued) = (Outcome::of(&pair[0]), Outcome::of(&pair[1]));
            assert_eq!(deferred, queued, "seed {seed}: {filters}");
            lost.fetch_add(queued.lost.values().sum(), Relaxed);
        }
        clients.iter_mut().for_each(|client| client.close(1000));
        world.end(Duration::from_secs(10), &mut clients.iter_mut().collect::<Vec<_>>());
    });
    assert!(seeds < SEEDS || lost.into_inner() > 10_000, "what is shed is what this is about");
}

#[test]
fn what_a_stalled_client_lost_is_counted_within_seconds_while_events_come() {
    let mut plan = Plan::new(1);
    plan.faults.socket_buffer_bytes = 4096;
    plan.settings.outbox = Limits { messages_max: 1_000, bytes_max: 4 * 1024 * 1024 };
    let timing = &mut plan.settings.timing;
    (timing.heartbeat_interval, timing.idle) = (Duration::ZERO, Duration::ZERO);
    timing.write = Duration::from_secs(3_600);
    let mut world = plan.build();
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.subscribe("all", json!({}));
    world.settle(&mut [&mut client]);
    client.read_bytes = 0;
    let shed = |world: &World<StreamHandler>| world.stats.events_shed[Priority::Low.index()].get();
    // Of 20 a second half a thousand wait, and the rest of these are fewer than are deferred.
    for _ in 0..1_000 {
        world.publish(events::of(Priority::Low, "api"));
        world.pass(Duration::from_millis(50), &mut []);
    }
    let counted = shed(&world);
    assert!(counted > 0, "none is counted after 50 s");
    world.pass(Duration::from_secs(1), &mut []);
    assert!(shed(&world) > counted, "that was not all: some were deferred still");
}

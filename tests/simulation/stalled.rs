//! Clients that take nothing: of what they want only bits are kept at first, and in the end they
//! have got and lost just what one did for whom every event was queued as it came.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use alarmcast::shard::stats::Cell;
use alarmcast::shard::{Query, Request, Sort, StreamHandler};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::client::{Client, request};
use crate::events;
use crate::random::{Random, for_seeds};
use crate::shedding::Account;
use crate::world::{Plan, World};

/// What differs between the two of a pair: for one that conflates no event is deferred. Their answers
/// are equally long, so that their kernels take the same.
fn options() -> [Value; 2] {
    [json!({"ref": "7 bytes"}), json!({"conflate": true})]
}

/// What differs between pairs.
fn filters() -> [Value; 4] {
    [
        json!({}),
        json!({"sources": ["api"]}),
        json!({"event_types": ["system_event"]}),
        json!({"event_types": ["incident_created", "incident_resolved"]}),
    ]
}

/// A client that hears of losses, and takes nothing once it is subscribed.
fn join(world: &mut World<StreamHandler>, filters: Value, options: &Value) -> Client {
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.subscribe_with("all", filters, options);
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1);
    client.read_bytes = 0;
    client
}

/// Two of each filter twice, as those of one filter are deferred together.
fn join_pairs(world: &mut World<StreamHandler>) -> Vec<Client> {
    let mut clients = Vec::new();
    for filters in filters().into_iter().chain(filters()) {
        for options in options() {
            clients.push(join(world, filters.clone(), &options));
        }
    }
    clients
}

/// What a client does without reading: now and then a pair does the same.
fn ask(client: &mut Client, what: usize, options: &Value) {
    let filters = |what: usize| filters()[what % filters().len()].clone();
    match what {
        0..4 => client.subscribe_with("all", filters(what), options),
        4..8 => client.subscribe_with("more", filters(what), options),
        8 => client.unsubscribe("more"),
        _ => client.send(&json!({"type": "ping"})),
    }
}

/// What was shed, and what will have been once all of it is settled, which looking at it does.
fn shed_and_settled(world: &mut World<StreamHandler>) -> [u64; 2] {
    let shed = |world: &World<StreamHandler>| world.stats.events_shed.iter().map(Cell::get).sum();
    let counted = shed(world);
    let query = Query { sort: Sort::Age, limit: 100, after: None, address: None, state: None };
    let (answer, mut page) = oneshot::channel();
    world.handle.request(Request::Connections(Box::new(query), answer)).expect("room");
    while page.try_recv().is_err() {
        world.turn();
    }
    [counted, shed(world)]
}

const SEEDS: u64 = 24;

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
        let mut clients = join_pairs(&mut world);
        let asks = random.below(2) == 0;
        let pauses = random.below(2) == 0;
        for _ in 0..random.pick(&[150, 1_000, 1_500, 2_500]) {
            let priority = match random.below(400) {
                0 => Priority::Critical,
                1..=4 => Priority::High,
                5..=150 => Priority::Normal,
                _ => Priority::Low,
            };
            world.publish(events::of(priority, random.pick(&["api", "db"])));
            if asks && random.below(50) == 0 {
                let what = random.below(10);
                let pairs = clients.len() / 2;
                let pair = clients.chunks_mut(2).nth(random.below(pairs)).expect("a pair");
                for (client, options) in pair.iter_mut().zip(options()) {
                    ask(client, what, &options);
                    client.pump();
                }
            }
            world.turn();
            if pauses && random.below(100) == 0 {
                world.pass(Duration::from_millis(random.pick(&[100, 150, 1_000])), &mut []);
            }
        }
        world.pass(Duration::from_millis(300), &mut []);
        let [counted, settled] = shed_and_settled(&mut world);
        assert_eq!(counted, settled, "seed {seed}: when it is quiet, what is lost is counted");
        clients.iter_mut().for_each(|client| client.read_bytes = usize::MAX);
        world.pass(Duration::from_secs(5), &mut clients.iter_mut().collect::<Vec<_>>());
        for (pair, filters) in clients.chunks(2).zip(filters().into_iter().cycle()) {
            let (deferred, queued) = (Account::of(&pair[0]), Account::of(&pair[1]));
            assert_eq!(deferred, queued, "seed {seed}: {filters}");
            lost.fetch_add(queued.all_dropped(), Relaxed);
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
    let _client = join(&mut world, json!({}), &json!({}));
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

//! What operators see of connections and do to them: exact, and in bounded parts of turns.

use std::collections::BTreeMap;
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::{Lane, Limits};
use alarmcast::shard::{
    Detail, Dismissal, Dismissed, Page, Query, Request, Sort, State, StreamHandler,
};
use serde_json::{Value, json};
use tokio::sync::oneshot::{self, error::TryRecvError};
use uuid::Uuid;

use crate::client::{Client, request};
use crate::events;
use crate::random::{Random, for_seeds};
use crate::world::{Plan, World};

type Stream = World<StreamHandler>;

fn query(sort: Sort, limit: usize) -> Query {
    Query { sort, limit, after: None, address: None, state: None }
}

/// The page, and the turns that it took.
fn page(world: &mut Stream, query: Query) -> (Page, usize) {
    let (answer, mut answered) = oneshot::channel();
    world.handle.request(Request::Connections(Box::new(query), answer)).expect("room");
    for turns in 1.. {
        world.turn();
        match answered.try_recv() {
            Ok(page) => return (page, turns),
            Err(TryRecvError::Empty) => assert!(turns < 1_000),
            Err(TryRecvError::Closed) => panic!("dropped"),
        }
    }
    unreachable!("it ends by returning")
}

fn show(world: &mut Stream, id: Uuid) -> Option<Detail> {
    let (answer, mut answered) = oneshot::channel();
    world.handle.request(Request::Connection(id, answer)).expect("room");
    world.turn();
    answered.try_recv().expect("an answer").map(|detail| *detail)
}

fn dismiss(world: &mut Stream, id: Uuid, dismissal: Dismissal) -> Option<Dismissed> {
    let (answer, mut answered) = oneshot::channel();
    world.handle.request(Request::Close(id, dismissal, answer)).expect("room");
    world.turn();
    answered.try_recv().expect("an answer")
}

/// A subscribed client that named the protocol.
fn join_extended(world: &mut Stream) -> Client {
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.subscribe("all", json!({}));
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1);
    client
}

fn session_id(client: &Client) -> Uuid {
    let welcome = client.messages().find(|message| message["type"] == "welcome").expect("welcomed");
    welcome["session_id"].as_str().expect("an id").parse().expect("a UUID")
}

fn narrow(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.faults.socket_buffer_bytes = 4096;
    plan.settings.outbox = Limits { messages_max: 64, bytes_max: 64 * 1024 };
    plan
}

/// What a client says that it lost, by the name of the priority.
fn told(client: &Client) -> BTreeMap<String, u64> {
    let mut told = BTreeMap::new();
    for notice in client.messages().filter(|message| message["type"] == "dropped") {
        for (priority, count) in notice["counts"].as_object().expect("counts") {
            *told.entry(priority.clone()).or_default() += count.as_u64().expect("a count");
        }
    }
    told
}

#[test]
fn a_slow_reader_is_shown_as_it_accounts_for_itself() {
    for_seeds(20, |seed| {
        let mut world = narrow(seed).build();
        let mut random = Random::new(seed);
        let (mut slow, mut quick) = (join_extended(&mut world), join_extended(&mut world));
        slow.read_bytes = 0;
        let mut newest = 0;
        for _ in 0..200 + random.below(100) {
            let priority = [Priority::High, Priority::Normal, Priority::Low, Priority::Low];
            newest = world.publish(events::of(priority[random.below(4)], "api"));
            world.settle(&mut [&mut quick]);
        }
        let (id, quick_id) = (session_id(&slow), session_id(&quick));
        let (by_lag, _) = page(&mut world, query(Sort::Lag, 10));
        let summary = by_lag.found[0].1;
        assert_eq!((summary.session_id, summary.state), (id, State::Congested));
        let other = by_lag.found[1].1;
        assert_eq!((other.session_id, other.state), (quick_id, State::Open));
        assert_eq!((other.position, other.lost), (Some(newest), [0; 4]));
        assert_eq!(other.lanes.map(|lane| lane.messages), [0; 5]);
        let waiting: usize = summary.lanes.iter().map(|lane| lane.bytes).sum();
        assert_eq!(waiting as u64, world.stats.outbox_bytes.get());
        for sort in [Sort::Backlog, Sort::Losses] {
            assert_eq!(page(&mut world, query(sort, 1)).0.found[0].1.session_id, id, "{sort:?}");
        }
        // Read to the end, it has got all that waited, was in flight or is in the kernel.
        let had: Vec<u64> = slow.seqs();
        slow.read_bytes = usize::MAX;
        world.pass(Duration::from_secs(1), &mut [&mut slow, &mut quick]);
        let lost = [Priority::High, Priority::Normal, Priority::Low]
            .map(|priority| (priority.as_str(), summary.lost[priority.index()]));
        let told = told(&slow);
        assert_eq!(lost.map(|(name, _)| told[name]), lost.map(|(_, count)| count));
        let came = slow.events();
        assert_eq!(came.len() as u64 + told.values().sum::<u64>(), newest);
        for (lane, name) in [(Lane::High, "high"), (Lane::Normal, "normal"), (Lane::Low, "low")] {
            let of_lane = came.iter().filter(|(_, priority)| priority == name);
            // The last of each lane are those that waited.
            let waited = of_lane.rev().take(summary.lanes[lane as usize].messages);
            let position = summary.position.expect("open");
            assert!(waited.clone().all(|(seq, _)| *seq > position), "{lane:?}");
        }
        assert!(had.is_empty(), "nothing was read before");
        let after = show(&mut world, id).expect("there").summary;
        assert_eq!((after.position, after.state), (Some(newest), State::Open));
        assert_eq!((after.lost, after.in_flight.messages), (summary.lost, 0));
        slow.close(1000);
        quick.close(1000);
        world.end(Duration::from_secs(5), &mut [&mut slow, &mut quick]);
    });
}

#[test]
fn pages_name_each_connection_that_stays_once_whoever_comes_and_goes() {
    for_seeds(20, |seed| {
        let mut world = Plan::new(seed).build();
        let mut random = Random::new(seed);
        let mut staying: Vec<Client> = Vec::new();
        let mut others: Vec<Client> = Vec::new();
        for _ in 0..30 {
            let of_others = random.below(3) == 0;
            world.net.clock().advance(Duration::from_micros(random.below(3_000) as u64));
            if of_others { &mut others } else { &mut staying }.push(world.join());
        }
        for sort in [Sort::Age, Sort::Address] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let limit = 1 + random.below(7);
                let (page, _) = page(&mut world, Query { after, ..query(sort, limit) });
                assert!(page.found.len() == limit || !page.more);
                assert!(page.found.is_sorted_by_key(|(rank, _)| *rank));
                seen.extend(page.found.iter().map(|(_, summary)| summary.session_id));
                after = page.found.last().map(|(rank, _)| *rank);
                if !page.more {
                    break;
                }
                if random.below(2) == 0 && others.len() < 12 {
                    others.push(world.join());
                } else if let Some(mut leaving) = others.pop() {
                    leaving.close(1000);
                    world.settle(&mut [&mut leaving]);
                }
            }
            let mut unique = seen.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), seen.len(), "{sort:?}: nobody twice");
            let is_seen = |client: &Client| seen.contains(&session_id(client));
            assert!(staying.iter().all(is_seen), "{sort:?}");
        }
        let mut clients: Vec<&mut Client> = staying.iter_mut().chain(&mut others).collect();
        clients.iter_mut().for_each(|client| client.close(1000));
        world.end(Duration::from_secs(5), &mut clients);
    });
}

#[test]
fn a_walk_takes_a_bounded_part_of_each_turn_and_events_go_on_meanwhile() {
    const LOOKS_PER_TURN: usize = 8_192;
    let mut plan = Plan::new(1);
    plan.faults.socket_buffer_bytes = 512;
    plan.settings.outbox = Limits { messages_max: 1_000, bytes_max: 1024 * 1024 };
    let mut world = plan.build();
    let mut slow: Vec<Client> = (0..30).map(|_| join_extended(&mut world)).collect();
    slow.iter_mut().for_each(|client| client.read_bytes = 0);
    for _ in 0..900 {
        world.publish(events::of(Priority::Critical, "api"));
        world.turn();
    }
    let mut live = join_extended(&mut world);
    let held: usize = page(&mut world, query(Sort::Age, 100))
        .0
        .found
        .iter()
        .map(|(_, summary)| {
            summary.lanes.iter().map(|lane| lane.messages).sum::<usize>()
                + summary.in_flight.messages
        })
        .sum();
    assert!(held > 2 * LOOKS_PER_TURN, "{held}");
    let (answer, mut answered) = oneshot::channel();
    let by_lag = Box::new(query(Sort::Lag, 100));
    world.handle.request(Request::Connections(by_lag, answer)).expect("room");
    let before = live.seqs().len();
    let mut turns = 0;
    let page = loop {
        world.publish(events::of(Priority::Low, "api"));
        world.turn_freely();
        live.pump();
        turns += 1;
        if let Ok(page) = answered.try_recv() {
            break page;
        }
    };
    // Once to tell how far behind each is, once to count its lanes; one connection at a time.
    let looks = 2 * held;
    let most = looks / LOOKS_PER_TURN + 2;
    let fewest = looks / (LOOKS_PER_TURN + 2 * 1_000);
    assert!((fewest..=most).contains(&turns), "{turns} turns, {fewest} to {most}");
    world.settle(&mut [&mut live]);
    assert_eq!(live.seqs().len() - before, turns, "each of the events meanwhile");
    assert_eq!(page.found.len(), 31);
    assert_eq!(page.found[30].1.session_id, session_id(&live));
}

#[test]
fn a_subscription_is_shown_with_its_filters_and_how_far_it_has_caught_up() {
    let mut plan = narrow(3);
    plan.settings.send_bytes_max = 2_048;
    let mut world = plan.build();
    for _ in 0..200 {
        world.publish(events::of(Priority::Normal, "api"));
        world.turn();
    }
    let mut client = join_extended(&mut world);
    let filters = json!({"sources": ["b", {"glob": "a*"}, "b"], "min_priority": "normal"});
    client.subscribe("live", filters);
    client.read_bytes = 0;
    client.send(&json!({"type": "subscribe", "subscription_id": "old", "filters": {},
        "resume": {"epoch": "sim", "after": 10}}));
    world.settle(&mut [&mut client]);
    let id = session_id(&client);
    let Detail { summary, subscriptions } = show(&mut world, id).expect("there");
    assert_eq!((summary.subscriptions, summary.is_extended), (3, true));
    let ids: Vec<&str> = subscriptions.iter().map(|it| &*it.subscription_id).collect();
    assert_eq!(ids, ["all", "live", "old"]);
    let filters: Value = serde_json::to_value(subscriptions[1].filter.spec()).expect("JSON");
    assert_eq!(filters["sources"], json!(["b", {"glob": "a*"}]));
    assert_eq!(filters["min_priority"], "normal");
    assert_eq!((subscriptions[0].position, subscriptions[1].position), (None, None));
    let reached = subscriptions[2].position.expect("it catches up");
    let position = summary.position.expect("open");
    assert!((10..=reached).contains(&position) && reached < 200, "{position} {reached}");
    client.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(5), &mut [&mut client]);
    let Detail { summary, subscriptions } = show(&mut world, id).expect("there");
    assert_eq!((summary.position, summary.state), (Some(200), State::Open));
    assert_eq!(subscriptions[2].position, None);
    client.close(1000);
    world.end(Duration::from_secs(5), &mut [&mut client]);
    assert!(world.is_running);
}

#[test]
fn an_operator_ends_one_connection_and_the_client_hears_why_and_where_it_was() {
    for (dismissal, code) in
        [(Dismissal::Close, 1008), (Dismissal::Reconnect, 4001), (Dismissal::Refuse, 4503)]
    {
        let mut world = Plan::new(4).build();
        let (mut unlucky, mut other) = (join_extended(&mut world), join_extended(&mut world));
        let newest = world.publish(events::of(Priority::Low, "api"));
        world.settle(&mut [&mut unlucky, &mut other]);
        let told = dismiss(&mut world, session_id(&unlucky), dismissal);
        assert_eq!(told, Some(Dismissed::Told { after: newest }));
        world.settle(&mut [&mut unlucky, &mut other]);
        assert_eq!(unlucky.close_code(), Some(code));
        assert_eq!(unlucky.closing_code(), Some(u64::from(code)));
        let closing = unlucky.messages().last().expect("closing");
        assert_eq!(closing["resume"], json!({"epoch": "sim", "after": newest}));
        let invites = closing.get("retry_after_ms").is_some();
        assert_eq!(invites, dismissal == Dismissal::Reconnect);
        assert_eq!((world.stats.dismissed.get(), other.close_code()), (1, None));
        world.pass(Duration::from_secs(2), &mut [&mut unlucky, &mut other]);
        assert_eq!(dismiss(&mut world, session_id(&unlucky), dismissal), None, "gone by now");
        other.close(1000);
        world.end(Duration::from_secs(5), &mut [&mut unlucky, &mut other]);
    }
}

#[test]
fn one_that_does_not_read_is_ended_without_its_backlog_and_told_the_position() {
    let mut world = narrow(5).build();
    let mut slow = join_extended(&mut world);
    slow.read_bytes = 0;
    for _ in 0..60 {
        world.publish(events::of(Priority::High, "api"));
        world.settle(&mut []);
    }
    let id = session_id(&slow);
    let position = show(&mut world, id).expect("there").summary.position.expect("open");
    let told = dismiss(&mut world, id, Dismissal::Close);
    assert_eq!(told, Some(Dismissed::Told { after: position }));
    assert_eq!(dismiss(&mut world, id, Dismissal::Close), Some(Dismissed::Before));
    assert_eq!(show(&mut world, id).expect("there").summary.state, State::Closing);
    slow.read_bytes = usize::MAX;
    world.settle(&mut [&mut slow]);
    let closing = slow.messages().last().expect("closing");
    assert_eq!(closing["resume"]["after"], position);
    assert_eq!(slow.close_code(), Some(1008));
    let last = slow.seqs().last().copied();
    assert!(last >= Some(position) && last < Some(60), "{last:?}, {position}");
    world.end(Duration::from_secs(5), &mut [&mut slow]);
}

#[test]
fn a_handshake_that_does_not_end_is_shown_and_can_be_refused() {
    let mut world = Plan::new(6).build();
    let mut silent = world.connect_from("192.0.2.7");
    let mut open = world.join();
    silent.send_raw(b"GET /ws HT");
    world.settle(&mut [&mut silent, &mut open]);
    let from = |text: &str| Some(text.parse().expect("a range"));
    let by_state = Query { state: Some(State::Handshake), ..query(Sort::Lag, 9) };
    let by_address = Query { address: from("192.0.2.0/24"), ..query(Sort::Age, 9) };
    for asked in [by_state, by_address] {
        let found = page(&mut world, asked).0.found;
        let summaries: Vec<_> = found.iter().map(|(_, summary)| summary).collect();
        assert_eq!(summaries.len(), 1);
        assert_eq!(summaries[0].address.to_string(), "192.0.2.7");
        assert_eq!((summaries[0].position, summaries[0].encoding), (None, None));
    }
    let elsewhere = Query { address: from("192.0.3.0/24"), ..query(Sort::Age, 9) };
    assert_eq!(page(&mut world, elsewhere).0.found.len(), 0);
    let all = page(&mut world, query(Sort::Lag, 9)).0.found;
    assert_eq!(all[0].1.session_id, session_id(&open), "what has no position is behind nothing");
    let told = dismiss(&mut world, all[1].1.session_id, Dismissal::Close);
    assert_eq!(told, Some(Dismissed::Refused));
    world.settle(&mut [&mut silent]);
    assert_eq!(silent.status(), Some(503));
    open.close(1000);
    world.end(Duration::from_secs(5), &mut [&mut silent, &mut open]);
}

#[test]
fn of_too_many_walks_the_last_are_dropped_and_who_is_gone_makes_room() {
    let mut plan = Plan::new(7);
    plan.faults.socket_buffer_bytes = 512;
    let mut world = plan.build();
    let mut slow: Vec<Client> = (0..24).map(|_| join_extended(&mut world)).collect();
    slow.iter_mut().for_each(|client| client.read_bytes = 0);
    for _ in 0..900 {
        world.publish(events::of(Priority::Critical, "api"));
        world.turn();
    }
    let ask = |world: &mut Stream| {
        let (answer, answered) = oneshot::channel();
        let by_lag = Box::new(query(Sort::Lag, 100));
        world.handle.request(Request::Connections(by_lag, answer)).expect("room");
        answered
    };
    let mut asked: Vec<_> = (0..9).map(|_| ask(&mut world)).collect();
    world.turn();
    let dropped = asked.iter_mut().map(|it| it.try_recv().err());
    let dropped: Vec<_> = dropped.map(|error| error == Some(TryRecvError::Closed)).collect();
    assert_eq!(dropped, [vec![false; 8], vec![true]].concat());
    asked.truncate(4);
    asked.push(ask(&mut world));
    for _ in 0..100 {
        world.turn_freely();
    }
    assert!(asked.iter_mut().all(|it| it.try_recv().is_ok()));
}

//! What is shed, in which order, and that every bit of it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::queue::Limits;
use alarmcast::shard::StreamHandler;
use serde_json::{Value, json};

use crate::client::{Client, PING, frame, request};
use crate::events;
use crate::random::{Random, for_seeds};
use crate::world::{Plan, World};

const PRIORITIES: [Priority; 4] =
    [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];

fn plan(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.faults.socket_buffer_bytes = 4096;
    plan.settings.outbox = Limits { messages_max: 64, bytes_max: 64 * 1024 };
    plan
}

/// A subscribed client that named the protocol, and so hears of losses.
fn join_extended(world: &mut World<StreamHandler>) -> Client {
    let mut client = world.connect();
    client.send_raw(request("/ws?encoding=json").as_bytes());
    client.subscribe("all", json!({}));
    world.settle(&mut [&mut client]);
    assert_eq!(client.count("subscribed"), 1);
    client
}

/// What a client was sent and told, by the name of the priority.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    delivered: BTreeMap<String, Vec<u64>>,
    dropped: BTreeMap<String, u64>,
    /// From the first to the last that a notice told of.
    told: Option<(u64, u64)>,
}

impl Account {
    pub fn of(client: &Client) -> Self {
        let mut account = Self::default();
        for message in client.messages() {
            match message["type"].as_str() {
                Some("event") => {
                    let priority = message["priority"].as_str().expect("a name").to_owned();
                    let seq = message["seq"].as_u64().expect("a number");
                    account.delivered.entry(priority).or_default().push(seq);
                }
                Some("dropped") => account.add_notice(message),
                _ => {}
            }
        }
        account
    }

    fn add_notice(&mut self, notice: &Value) {
        assert_eq!(notice["reason"], "slow_consumer");
        let seq = |name: &str| notice[name].as_u64().expect("a number");
        let (from, to) = (seq("from_seq"), seq("to_seq"));
        assert!(from <= to, "{notice}");
        let (first, last) = self.told.unwrap_or((from, to));
        self.told = Some((first.min(from), last.max(to)));
        for (priority, count) in notice["counts"].as_object().expect("counts") {
            *self.dropped.entry(priority.clone()).or_default() += count.as_u64().expect("a count");
        }
    }

    fn delivered(&self, priority: Priority) -> &[u64] {
        self.delivered.get(priority.as_str()).map_or(&[], Vec::as_slice)
    }

    pub fn all_dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    fn dropped(&self, priority: Priority) -> u64 {
        self.dropped.get(priority.as_str()).copied().unwrap_or(0)
    }
}

#[test]
fn low_goes_first_and_what_was_shed_is_told_before_the_next_event() {
    let mut world = plan(1).build();
    let mut slow = join_extended(&mut world);
    slow.read_bytes = 0;
    for _ in 0..100 {
        world.publish(events::of(Priority::Low, "api"));
        world.settle(&mut []);
    }
    let normal = world.publish(events::of(Priority::Normal, "api"));
    // What is lost is counted a little later.
    world.pass(Duration::from_secs(1), &mut []);
    assert!(world.stats.events_shed[Priority::Low.index()].get() > 0);
    assert_eq!(world.stats.events_shed[Priority::Normal.index()].get(), 0);
    slow.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(1), &mut [&mut slow]);
    let account = Account::of(&slow);
    assert_eq!(account.delivered(Priority::Normal), [normal]);
    let delivered = account.delivered(Priority::Low).len() as u64;
    assert_eq!(delivered + account.dropped(Priority::Low), 100);
    assert_eq!(slow.close_code(), None, "it caught up");
    let kinds: Vec<_> = slow.messages().filter_map(|it| it["type"].as_str()).collect();
    let notice = kinds.iter().position(|kind| *kind == "dropped").expect("told");
    assert!(kinds[notice..].contains(&"event"), "told before what follows");
}

#[test]
fn a_client_of_the_base_protocol_is_never_told_what_it_does_not_know() {
    let mut world = plan(2).build();
    let mut slow = world.join_subscribed(json!({}));
    slow.read_bytes = 0;
    for _ in 0..100 {
        world.publish(events::of(Priority::Low, "api"));
        world.settle(&mut []);
    }
    slow.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(1), &mut [&mut slow]);
    assert_eq!((slow.count("dropped"), slow.close_code()), (0, None));
    assert!(slow.seqs().into_iter().eq(1..=100), "nothing may be shed: it comes later");
    assert_eq!(world.stats.events_shed.iter().map(|cell| cell.get()).sum::<u64>(), 0);
}

#[test]
fn the_largest_backlogs_are_shed_first_when_memory_runs_short() {
    let mut plan = plan(4);
    plan.settings.outbox = Limits { messages_max: 10_000, bytes_max: 16 * 1024 * 1024 };
    plan.settings.backlog_bytes_max = 64 * 1024;
    let mut world = plan.build();
    let mut slow = join_extended(&mut world);
    let mut quick = join_extended(&mut world);
    slow.read_bytes = 0;
    for _ in 0..400 {
        world.publish(events::of_bytes(1_000));
        world.settle(&mut [&mut quick]);
    }
    assert!(world.stats.budget_exceeded.get() > 0);
    assert_eq!(quick.seqs().len(), 400, "who keeps up loses nothing");
    slow.read_bytes = usize::MAX;
    for _ in 0..5 {
        world.pass(Duration::from_secs(1), &mut [&mut slow, &mut quick]);
    }
    let account = Account::of(&slow);
    let delivered = account.delivered(Priority::Low).len() as u64;
    assert_eq!(delivered + account.dropped(Priority::Low), 400);
}

#[test]
fn delivered_and_dropped_add_up_to_what_was_published_for_every_seed() {
    for_seeds(40, |seed| {
        let mut random = Random::new(seed);
        let mut world = plan(seed).build();
        let mut clients: Vec<_> = (0..4).map(|_| join_extended(&mut world)).collect();
        let mut published: BTreeMap<Priority, Vec<u64>> = BTreeMap::new();
        for _ in 0..300 {
            // Critical ones seldom: enough of them would close the slow.
            let priority = match random.below(40) {
                0 => Priority::Critical,
                1..=8 => Priority::High,
                9..=20 => Priority::Normal,
                _ => Priority::Low,
            };
            published.entry(priority).or_default().push(world.publish(events::of(priority, "api")));
            for client in &mut clients {
                client.read_bytes = random.pick(&[0, 0, 0, 100, 2_000]);
            }
            let mut every: Vec<_> = clients.iter_mut().collect();
            world.settle(&mut every);
        }
        for client in &mut clients {
            client.read_bytes = usize::MAX;
        }
        let mut every: Vec<_> = clients.iter_mut().collect();
        world.pass(Duration::from_secs(5), &mut every);
        for client in &clients {
            assert_eq!(client.close_code(), None, "seed {seed}");
            check(&Account::of(client), &published, seed);
        }
        let mut every: Vec<_> = clients.iter_mut().collect();
        every.iter_mut().for_each(|client| client.close(1000));
        world.end(Duration::from_secs(10), &mut every);
    });
}

fn check(account: &Account, published: &BTreeMap<Priority, Vec<u64>>, seed: u64) {
    for priority in PRIORITIES {
        let published = published.get(&priority).map_or(&[][..], Vec::as_slice);
        let delivered = account.delivered(priority);
        assert!(delivered.is_sorted(), "seed {seed}: {priority:?} in order: {delivered:?}");
        assert!(delivered.iter().all(|seq| published.contains(seq)), "seed {seed}");
        let sum = delivered.len() as u64 + account.dropped(priority);
        assert_eq!(sum, published.len() as u64, "seed {seed}: {priority:?}: {account:?}");
    }
    assert_eq!(account.dropped(Priority::Critical), 0, "seed {seed}");
}

#[test]
fn a_notice_that_was_given_up_with_the_backlog_is_behind_the_position() {
    let mut plan = plan(5);
    plan.settings.send_bytes_max = 1024;
    plan.settings.backlog_bytes_max = 24 * 1024;
    let mut world = plan.build();
    let mut slow = join_extended(&mut world);
    slow.read_bytes = 0;
    for _ in 0..100 {
        world.publish(events::of(Priority::Low, "api"));
        world.settle(&mut []);
    }
    world.pass(Duration::from_secs(1), &mut []);
    assert!(world.stats.events_shed[Priority::Low.index()].get() > 0);
    // More answers than one send carries: the notice goes behind them.
    for _ in 0..25 {
        slow.send_raw(&frame(PING, &[7; 100]));
    }
    world.settle(&mut []);
    slow.read_bytes = 1024;
    slow.pump();
    slow.read_bytes = 0;
    world.settle(&mut []);
    for _ in 0..80 {
        world.publish(events::of(Priority::Critical, "api"));
        world.settle(&mut []);
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 1);
    slow.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(1), &mut [&mut slow]);
    let closing = slow.messages().find(|it| it["type"] == "closing").expect("told");
    let after = closing["resume"]["after"].as_u64().expect("a position");
    let told = |seq: u64| {
        let mut notices = slow.messages().filter(|it| it["type"] == "dropped");
        notices.any(|it| it["from_seq"].as_u64() <= Some(seq) && Some(seq) <= it["to_seq"].as_u64())
    };
    let silent: Vec<u64> =
        (1..=after).filter(|seq| !slow.seqs().contains(seq) && !told(*seq)).collect();
    assert!(silent.is_empty(), "{silent:?} neither delivered nor told, up to {after}");
}

#[test]
fn one_that_was_closed_for_the_budget_still_gets_its_last_words() {
    let mut plan = plan(6);
    plan.settings.outbox = Limits { messages_max: 10_000, bytes_max: 16 * 1024 * 1024 };
    plan.settings.backlog_bytes_max = 8 * 1024;
    // What is in flight alone is more than enough.
    plan.settings.send_bytes_max = 64 * 1024;
    let mut world = plan.build();
    let mut slow = world.join_subscribed(json!({}));
    let mut quick = join_extended(&mut world);
    slow.read_bytes = 0;
    for _ in 0..20 {
        world.publish(events::of_bytes(7_000));
        world.settle(&mut [&mut quick]);
    }
    assert_eq!(world.stats.slow_consumers_closed.get(), 1, "once, and only the slow one");
    assert!(world.stats.budget_exceeded.get() < 20);
    assert_eq!(quick.seqs().len(), 20, "who keeps up loses nothing");
    slow.read_bytes = usize::MAX;
    world.pass(Duration::from_secs(1), &mut [&mut slow, &mut quick]);
    assert_eq!((slow.closing_code(), slow.close_code()), (Some(4009), Some(4009)));
}

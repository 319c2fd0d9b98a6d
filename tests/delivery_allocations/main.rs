//! What deliveries and idle connections do with memory, counted by an allocator of this
//! program's own: the whole way of an event, from the inbox over filters, lanes and the flush to
//! the driver's completions.

mod counting;
mod crowd;
mod idle;
mod kernel;

use std::time::Duration;

use alarmcast::io::{EpollDriver, UringDriver};
use serde_json::json;

use counting::Counts;
use crowd::{Crowd, Network, Simulated, Wishes, event};
use kernel::Kernel;

const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];
const WARM_UP_ROUNDS: usize = 100;
const ROUNDS: usize = 150;

/// Connections that read so slowly that they are told again and again what was shed for them: a
/// notice is a message of its own.
const TOLD: usize = 8;

/// Allocations for one event, for all its deliveries together: it is encoded twice, and each
/// encoding becomes one frame of the shard's.
const EVENT_ALLOCATIONS_MAX: i64 = 16;
/// Allocations for one notice of what was shed.
const NOTICE_ALLOCATIONS_MAX: i64 = 4;

/// Both encodings and several filters, so that one turn's events are sent alone to some, and
/// gathered, in different sets, for others.
fn attentive(number: usize) -> Wishes {
    let filters = match number % 5 {
        0 => json!({}),
        1 => json!({"min_priority": "high"}),
        2 => json!({"sources": ["api"]}),
        3 => json!({"labels": {"team": {"prefix": "pay"}}, "none_of": [{"sources": ["api"]}]}),
        _ => json!({"severities": ["P0", "P1"]}),
    };
    let (is_packed, is_versioned) = (number % 2 == 1, number % 3 == 1);
    Wishes { subscription_id: format!("subscription {number}"), filters, is_packed, is_versioned }
}

/// Who is told what was shed, and wants nothing that must not be shed.
fn patient(number: usize) -> Wishes {
    let filters = json!({"none_of": [{"min_priority": "critical"}]});
    let subscription_id = format!("patient {number}");
    Wishes { subscription_id, filters, is_packed: number % 2 == 1, is_versioned: true }
}

/// Publishes in a rhythm that has each way of sending: one event or several in a turn.
fn run<N: Network>(crowd: &mut Crowd<N>, rounds: usize) -> usize {
    let mut events = 0;
    for round in 0..rounds {
        let count = if round % 3 == 0 { 1 } else { 5 };
        for number in 0..count {
            crowd.publish(event(number + round, PRIORITIES[(number + round / 3) % 4]));
        }
        events += count;
        crowd.turns();
        crowd.read();
        crowd.network.pass(Duration::from_millis(50));
    }
    events
}

struct Seen {
    events: usize,
    deliveries: u64,
    notices: u64,
    shed: u64,
    allocations: i64,
}

/// What is counted in the steady state.
fn steady<N: Network>(crowd: &mut Crowd<N>) -> Seen {
    let totals = |crowd: &Crowd<N>| {
        let stats = &crowd.stats;
        let shed: u64 = stats.events_shed.iter().map(|count| count.get()).sum();
        (stats.events_delivered.get(), stats.messages_sent.get(), shed)
    };
    run(crowd, WARM_UP_ROUNDS);
    crowd.counted = Counts::default();
    let before = totals(crowd);
    let events = run(crowd, ROUNDS);
    let after = totals(crowd);
    let deliveries = after.0 - before.0;
    Seen {
        events,
        deliveries,
        notices: after.1 - before.1 - deliveries,
        shed: after.2 - before.2,
        allocations: crowd.counted.allocations,
    }
}

/// A simulated crowd, in which each tenth connection never reads again.
fn simulated(attentive_count: usize) -> Seen {
    let mut crowd = Crowd::<Simulated>::new();
    crowd.join(attentive_count, |number| (attentive(number), usize::MAX));
    crowd.join(attentive_count / 10, |number| (patient(number), 0));
    crowd.join(TOLD, |number| (patient(number), 400));
    steady(&mut crowd)
}

#[test]
fn a_delivery_allocates_nothing_in_the_steady_state_also_while_others_are_shed() {
    let (few, many) = (simulated(300), simulated(1_200));
    println!("{} events: {} and {} deliveries", few.events, few.deliveries, many.deliveries);
    println!("{} and {} allocations", few.allocations, many.allocations);
    println!("{} and {} notices, {} and {} shed", few.notices, many.notices, few.shed, many.shed);
    assert_eq!(few.allocations, many.allocations, "for four times as many deliveries");
    assert!(many.deliveries > 3 * few.deliveries && few.deliveries > 100_000);
    assert_eq!(few.notices, many.notices);
    assert!(few.notices > 30 && many.shed > 2 * few.shed && few.shed > 1_000);
    let events = few.events as i64 * EVENT_ALLOCATIONS_MAX;
    let notices = few.notices as i64 * NOTICE_ALLOCATIONS_MAX;
    assert!(few.allocations <= events + notices, "{} allocations", few.allocations);
}

/// The same way over the kernel's sockets, with nobody slow.
fn over_the_kernel<N: Network>() {
    for connections in [60, 240] {
        let mut crowd = Crowd::<N>::new();
        crowd.join(connections, |number| (attentive(number), usize::MAX));
        let seen = steady(&mut crowd);
        let Seen { events, deliveries, allocations, .. } = seen;
        println!("{connections} connections: {events} events, {deliveries} deliveries");
        println!("{allocations} allocations");
        assert!(deliveries > connections as u64 * events as u64 / 3);
        assert!(allocations <= events as i64 * EVENT_ALLOCATIONS_MAX, "{allocations}");
    }
}

#[test]
fn a_delivery_allocates_nothing_on_epoll() {
    over_the_kernel::<Kernel<EpollDriver>>();
}

#[test]
fn a_delivery_allocates_nothing_on_io_uring() {
    if std::env::var_os("ALARMCAST_TEST_NO_URING").is_some_and(|value| value == "1") {
        return; // Known to be missing.
    }
    over_the_kernel::<Kernel<UringDriver>>();
}

#[test]
fn an_idle_connection_with_a_subscription_takes_little_memory() {
    let shared = idle::with_a_filter_for_all();
    println!("{shared} bytes for each idle connection");
    assert!(shared <= 320, "{shared} bytes with one filter for all");
}

#[test]
fn an_idle_connection_with_a_filter_of_its_own_takes_little_more() {
    let distinct = idle::with_filters_of_their_own();
    println!("{distinct} bytes for each idle connection with a filter of its own");
    assert!(distinct <= 760, "{distinct} bytes with distinct filters");
}

//! Lanes that are full and may not be shed, over real sockets: all of it comes, from history.

use std::fs;

use alarmcast::event::Priority;
use serde_json::{Value, json};

use crate::ledger::{Ledger, Owed};
use crate::support::{Raw, Sent, Server, events};

/// Nobody is taken for dead while it stalls.
const PATIENT: [&str; 3] = [
    "session.heartbeat_interval_secs=600",
    "session.idle_timeout_secs=3600",
    "limits.write_timeout_secs=600",
];

/// Publishes critical events, which are then owed.
fn publish(server: &Server, count: u32, owed: &mut Owed) {
    const BATCH: u32 = 1_000;
    for first in (0..count).step_by(BATCH as usize) {
        let numbers = first..count.min(first + BATCH);
        let batch: Vec<Value> = numbers.map(|number| events::created(number, "P0")).collect();
        let receipts = server.publish_all(&batch);
        owed.matched[Priority::Critical.index()].extend(receipts.iter().map(|it| it.seq));
    }
}

/// A client with one subscription and little room that does not read what comes next. With the least
/// that the kernel allows, all that it is sent later would come in segments of half a kilobyte.
fn stall(server: &Server, is_by_name: bool) -> Raw {
    let client = Raw::connect_with_room(server.stream_addr(), 16 * 1024);
    let mut client = if is_by_name { client.upgrade_by_name() } else { client.upgrade() };
    client.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": {}}));
    assert_eq!(client.message()["type"], "subscribed");
    client
}

fn resident_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.program.id()));
    let status = status.expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// One that stalls, and what it got so far. Now and then it takes so little that the kernel does
/// not take it for dead.
struct Stalled {
    client: Raw,
    ledger: Ledger,
}

impl Stalled {
    fn read(&mut self, count: u32, owed: &Owed) {
        for _ in 0..count {
            self.ledger.take(&self.client.message(), owed);
        }
    }
}

#[test]
fn critical_events_during_a_stall_all_come_in_order_and_cost_the_connection_no_memory() {
    const CLIENTS: usize = 2;
    const ROUNDS: u32 = 100;
    const ROUND: u32 = 1_000;
    const TAKEN: u32 = 16;
    let server = Server::with(&[&PATIENT[..], &["history.bytes_max=1000000000"]].concat());
    let stalled =
        |number| Stalled { client: stall(&server, number % 2 == 0), ledger: Ledger::default() };
    let mut clients: Vec<Stalled> = (0..CLIENTS).map(stalled).collect();
    let mut owed = Owed::default();
    let mut before = None;
    for _ in 0..ROUNDS {
        publish(&server, ROUND, &mut owed);
        clients.iter_mut().for_each(|client| client.read(TAKEN, &owed));
        if owed.matched[Priority::Critical.index()].len() < 5_000 {
            continue;
        }
        let (waiting, _, _) = *before.get_or_insert_with(|| {
            server.await_metric("alarmcast_overflows_active", CLIENTS as f64);
            (waiting_bytes(&server), resident_bytes(&server), history_bytes(&server))
        });
        assert!(waiting_bytes(&server) <= waiting, "what is to come waits nowhere");
    }
    let (_, resident, history) = before.expect("there were rounds");
    let grown = resident_bytes(&server) as f64 - resident as f64;
    let history = history_bytes(&server) - history;
    assert!(grown < history + 32e6, "{grown} bytes, of which history {history}");
    // In turns, so that nobody waits for long.
    for _ in 0..ROUND - TAKEN {
        clients.iter_mut().for_each(|client| client.read(ROUNDS, &owed));
    }
    clients.iter().for_each(|client| client.ledger.settle(&owed));
    let metrics = server.metrics();
    let began = metrics.sum_with("alarmcast_overflows_total", "priority", "critical");
    assert!(began >= CLIENTS as f64, "{began}");
    assert_eq!(metrics.sum("alarmcast_slow_consumers_closed_total"), 0.0);
    assert_eq!(metrics.sum("alarmcast_events_shed_total"), 0.0);
}

fn waiting_bytes(server: &Server) -> f64 {
    server.metrics().sum("alarmcast_outbox_bytes")
}

fn history_bytes(server: &Server) -> f64 {
    server.metrics().sum("alarmcast_history_bytes")
}

#[test]
fn one_that_history_has_passed_is_told_its_position_and_that_it_has_expired() {
    let server = Server::with(&[&PATIENT[..], &["history.events_max=1000"]].concat());
    let mut client = stall(&server, true);
    let mut owed = Owed::default();
    publish(&server, 5_000, &mut owed);
    let (mut ledger, mut seqs) = (Ledger::default(), 0);
    let closing = loop {
        let message = client.message();
        ledger.take(&message, &owed);
        match message["type"].as_str() {
            Some("closing") => break message,
            _ => seqs += 1,
        }
    };
    assert_eq!(closing["code"], 4009);
    assert!(matches!(client.next(), Sent::Close(4009)));
    let position = closing["resume"].clone();
    assert!(position["after"].as_u64() <= Some(seqs) && seqs < 4_000, "{closing} after {seqs}");
    let mut back = server.connect();
    back.send(&json!({
        "type": "subscribe", "subscription_id": "s", "filters": {}, "resume": position,
    }));
    let subscribed = back.expect("subscribed");
    assert_eq!(subscribed["resumed"], false);
    assert_eq!(
        (&subscribed["reason"], &subscribed["first_seq"]),
        (&json!("history_expired"), &json!(4_001))
    );
    server.await_metric("alarmcast_overflows_active", 0.0);
    let outcomes = server.metrics();
    assert_eq!(outcomes.sum_with("alarmcast_catch_ups_total", "outcome", "history_expired"), 1.0);
}

#[test]
fn high_events_are_kept_where_it_is_configured() {
    let server = Server::with(
        &[&PATIENT[..], &["limits.shed_below=high", "limits.outbox_messages_max=64"]].concat(),
    );
    let mut client = stall(&server, true);
    let mut owed = Owed::default();
    for round in 0..40 {
        let batch: Vec<Value> = (0..100)
            .map(|number| match number % 3 {
                0 => events::created(round * 100 + number, "P1"),
                1 => events::created(round * 100 + number, "P0"),
                _ => events::system("low"),
            })
            .collect();
        let receipts = server.publish_all(&batch);
        for (number, receipt) in receipts.iter().enumerate() {
            let priority = [Priority::High, Priority::Critical, Priority::Low][number % 3];
            owed.matched[priority.index()].push(receipt.seq);
        }
    }
    // Of one batch, urgent events may have been sequenced first.
    owed.matched.iter_mut().for_each(|seqs| seqs.sort_unstable());
    let mut ledger = Ledger::default();
    while ledger.unsettled(&owed).is_some() {
        ledger.take(&client.message(), &owed);
    }
    let metrics = server.metrics();
    let shed = |priority| metrics.sum_with("alarmcast_events_shed_total", "priority", priority);
    assert!(shed("low") > 0.0 && shed("high") == 0.0);
    assert!(metrics.sum_with("alarmcast_overflows_total", "priority", "high") > 0.0);
}

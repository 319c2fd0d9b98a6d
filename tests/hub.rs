//! The hub and its publishers on real threads: order, bounds, and nobody left waiting.

use std::collections::BTreeSet;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use alarmcast::base::lifecycle::{Lifecycle, Stage};
use alarmcast::event::Publish;
use alarmcast::hub::{DrainPlan, Hub, HubSettings, PublishError, Publisher};
use alarmcast::io::Waker;
use alarmcast::protocol::parse_item;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{Handle, Inbox, Request};
use alarmcast::stream::history::Limits;
use crossbeam::sync::Parker;
use serde_json::json;

fn event(text: &str, key: Option<&str>) -> Publish {
    let mut item = json!({
        "event_type": "system_event", "category": "test", "message": text, "metadata": {},
    });
    if let Some(key) = key {
        item["idempotency_key"] = json!(key);
    }
    match parse_item(item, jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    }
}

fn events(count: usize) -> Vec<Publish> {
    (0..count).map(|number| event(&number.to_string(), None)).collect()
}

fn critical(title: &str) -> Publish {
    let item = json!({
        "event_type": "incident_created",
        "incident": {
            "id": "0192d3a0-0000-7000-8000-000000000001", "severity": "P0", "source": "test",
            "title": title,
        },
    });
    match parse_item(item, jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    }
}

fn new_hub(ingest_events_max: usize) -> (Hub, Lifecycle) {
    let lifecycle = Lifecycle::new();
    let drain = DrainPlan { window: Duration::ZERO, timeout: Duration::from_secs(5) };
    let settings = HubSettings {
        epoch: "test".to_owned(),
        ingest_events_max,
        history: Limits::default(),
        drain,
    };
    let hub = Hub::new(settings, lifecycle.clone(), Clock::System);
    lifecycle.advance(Stage::Serving);
    (hub, lifecycle)
}

/// What a shard's thread does with its inbox, and no more.
struct Reader {
    handle: Handle,
    thread: JoinHandle<Vec<u64>>,
}

impl Reader {
    /// Reads until it is told to drain; gives the sequence numbers that it saw.
    fn start(index: usize, inbox_events_max: usize, hub: Waker) -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let waker = Waker::new(move || unparker.unpark());
        let inbox = Arc::new(Inbox::new(inbox_events_max));
        let stats = Arc::new(ShardStats::default());
        let handle = Handle::new(index, "test", stats, Arc::clone(&inbox), waker.clone());
        let thread = thread::spawn(move || {
            let mut seqs = Vec::new();
            let mut is_draining = false;
            loop {
                waker.park();
                if inbox.is_empty() && !is_draining {
                    parker.park();
                }
                waker.unpark();
                while let Some(event) = inbox.pop_urgent().or_else(|| inbox.pop_event()) {
                    seqs.push(event.event.seq);
                }
                if inbox.relieve() {
                    hub.wake();
                }
                is_draining |= matches!(inbox.pop_request(), Some(Request::Drain { .. }));
                if is_draining && !inbox.has_events() {
                    return seqs;
                }
            }
        });
        Self { handle, thread }
    }
}

/// A hub on its thread, with shards that read.
struct Running {
    publisher: Publisher,
    lifecycle: Lifecycle,
    hub: JoinHandle<()>,
    waker: Waker,
    readers: Vec<Reader>,
}

impl Running {
    fn start(ingest_events_max: usize, shards: usize, inbox_events_max: usize) -> Self {
        let (hub, lifecycle) = new_hub(ingest_events_max);
        let (publisher, waker) = (hub.publisher(), hub.waker());
        let readers: Vec<_> = (0..shards)
            .map(|index| Reader::start(index, inbox_events_max, waker.clone()))
            .collect();
        let handles = readers.iter().map(|reader| reader.handle.clone()).collect();
        let hub = thread::spawn(move || hub.run(handles));
        Self { publisher, lifecycle, hub, waker, readers }
    }

    /// Drains and ends; what each shard saw.
    fn stop(self) -> Vec<Vec<u64>> {
        self.lifecycle.advance(Stage::Draining);
        self.waker.wake();
        let seen = self
            .readers
            .into_iter()
            .map(|reader| reader.thread.join().expect("a reader"))
            .collect();
        self.lifecycle.advance(Stage::Stopped);
        self.waker.wake();
        self.hub.join().expect("the hub");
        seen
    }
}

#[test]
fn batches_of_many_publishers_stay_together_and_in_order_at_every_shard() {
    let running = Running::start(100, 2, 3);
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let publisher = running.publisher.clone();
            thread::spawn(move || {
                let mut seqs = Vec::new();
                while seqs.len() < 300 {
                    match publisher.publish(events(1 + seqs.len() % 7)) {
                        Ok(receipt) => {
                            let published = receipt.wait().expect("published");
                            let batch: Vec<u64> = published.iter().map(|item| item.seq).collect();
                            let first = batch[0];
                            let dense: Vec<u64> = (first..first + batch.len() as u64).collect();
                            assert_eq!(batch, dense);
                            seqs.extend(batch);
                        }
                        Err(PublishError::Full { .. }) => thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
                seqs
            })
        })
        .collect();
    let published: BTreeSet<u64> =
        publishers.into_iter().flat_map(|publisher| publisher.join().expect("published")).collect();
    let all: Vec<u64> = (1..=published.len() as u64).collect();
    assert_eq!(published.into_iter().collect::<Vec<_>>(), all);
    for seen in running.stop() {
        assert_eq!(seen, all);
    }
}

#[test]
fn a_full_queue_takes_all_of_a_batch_or_nothing_and_keeps_what_it_took() {
    let (hub, lifecycle) = new_hub(10);
    let publisher = hub.publisher();
    let first = publisher.publish(events(6)).expect("room");
    let full = publisher.publish(events(5)).expect_err("no room for five");
    assert!(matches!(full, PublishError::Full { waiting: 6, .. }), "{full:?}");
    let second = publisher.publish(events(4)).expect("room for four");
    assert!(matches!(publisher.publish(events(1)), Err(PublishError::Full { waiting: 10, .. })));
    assert!(matches!(
        publisher.publish(events(11)),
        Err(PublishError::TooLarge { events: 11, capacity: 10 })
    ));
    assert!(publisher.publish(Vec::new()).expect("nothing always fits").wait().is_ok());
    assert_eq!(publisher.usage(), (10, 10));
    assert_eq!(publisher.stats().refused_full(), 6);
    let waker = hub.waker();
    let thread = thread::spawn(move || hub.run(Vec::new()));
    let seqs = |receipt: alarmcast::hub::PublishReceipt| -> Vec<u64> {
        receipt.wait().expect("published").iter().map(|item| item.seq).collect()
    };
    assert_eq!(seqs(first), [1, 2, 3, 4, 5, 6]);
    assert_eq!(seqs(second), [7, 8, 9, 10]);
    lifecycle.advance(Stage::Stopped);
    waker.wake();
    thread.join().expect("the hub");
}

#[test]
fn an_idempotency_key_publishes_once_and_answers_the_same_afterwards() {
    let running = Running::start(100, 1, 100);
    let publish = |key| {
        let receipt = running.publisher.publish(vec![event("text", Some(key))]).expect("room");
        receipt.wait().expect("published")[0]
    };
    let (first, other, again) = (publish("a"), publish("b"), publish("a"));
    assert!(!first.duplicate && !other.duplicate && again.duplicate);
    assert_eq!((again.seq, again.message_id), (first.seq, first.message_id));
    let twice = vec![event("x", Some("c")), event("y", Some("c"))];
    let twice = running.publisher.publish(twice).expect("room").wait().expect("published");
    assert!(twice[1].duplicate && twice[0].seq == twice[1].seq);
    assert_eq!(running.publisher.stats().duplicates.get(), 2);
    assert_eq!(running.stop(), [[1, 2, 3]]);
}

#[test]
fn the_hub_waits_for_a_full_inbox_and_goes_on_when_it_is_drained() {
    const ROUNDS: usize = 300;
    for _ in 0..3 {
        // Inboxes of one: nearly every event waits, and needs its wake.
        let running = Running::start(ROUNDS * 10, 2, 1);
        let receipts: Vec<_> = (0..ROUNDS)
            .map(|_| running.publisher.publish(events(10)).expect("room for all"))
            .collect();
        for receipt in receipts {
            assert_eq!(receipt.wait().expect("published").len(), 10);
        }
        let all: Vec<u64> = (1..=(ROUNDS * 10) as u64).collect();
        assert!(running.publisher.stats().inbox_waits.get() > 0);
        assert_eq!(running.stop(), [all.clone(), all]);
    }
}

#[test]
fn a_critical_event_passes_the_others_that_wait_for_room() {
    let (hub, lifecycle) = new_hub(8);
    let (publisher, waker) = (hub.publisher(), hub.waker());
    let shards: Vec<_> = (0..2)
        .map(|index| {
            let inbox = Arc::new(Inbox::new(3));
            let stats = Arc::new(ShardStats::default());
            let handle = Handle::new(index, "test", stats, Arc::clone(&inbox), Waker::new(|| {}));
            (inbox, handle)
        })
        .collect();
    let handles = shards.iter().map(|(_, handle)| handle.clone()).collect();
    let thread = thread::spawn(move || hub.run(handles));
    let others = publisher.publish(events(8)).expect("room");
    while publisher.stats().inbox_waits.get() == 0 {
        thread::yield_now();
    }
    let more = publisher.publish(events(8)).expect("room: the first are with the hub");
    assert!(matches!(publisher.publish(events(1)), Err(PublishError::Full { waiting: 8, .. })));
    let urgent = publisher.publish(vec![critical("passes")]).expect("room of its own");
    assert_eq!(urgent.wait().expect("published, though nobody reads")[0].seq, 5);
    for (inbox, _) in &shards {
        assert_eq!(inbox.pop_urgent().expect("it is there").event.seq, 5);
        assert_eq!(inbox.complete_to(), 3, "the fourth is held");
    }
    let mut seen = vec![Vec::new(); shards.len()];
    while seen.iter().any(|seen| seen.len() < 16) {
        for ((inbox, _), seen) in shards.iter().zip(&mut seen) {
            let complete_to = inbox.complete_to();
            while let Some(event) = inbox.pop_event() {
                seen.push(event.event.seq);
            }
            let newest = seen.last().copied().unwrap_or(0);
            assert!(complete_to <= newest.max(5), "{complete_to} is beyond {newest}");
            if inbox.relieve() {
                waker.wake();
            }
        }
    }
    let all: Vec<u64> = (1..=17).filter(|seq| *seq != 5).collect();
    assert_eq!(seen, [all.clone(), all]);
    assert_eq!((others.wait().expect("published").len(), more.wait().expect("too").len()), (8, 8));
    assert!(shards.iter().all(|(inbox, _)| inbox.complete_to() == 17));
    lifecycle.advance(Stage::Stopped);
    waker.wake();
    thread.join().expect("the hub");
}

#[test]
fn room_for_urgent_events_is_told_although_others_have_none() {
    let inbox = Arc::new(Inbox::new(2));
    let stats = Arc::new(ShardStats::default());
    let handle = Handle::new(0, "test", stats, Arc::clone(&inbox), Waker::new(|| {}));
    let (hub, lifecycle) = new_hub(100);
    let (publisher, waker) = (hub.publisher(), hub.waker());
    let thread = thread::spawn(move || hub.run(vec![handle]));
    let others = publisher.publish(events(5)).expect("room");
    while publisher.stats().inbox_waits.get() == 0 {
        thread::yield_now();
    }
    let urgent = publisher.publish((0..3).map(|_| critical("x")).collect()).expect("room");
    while publisher.stats().inbox_waits.get() < 2 {
        thread::yield_now();
    }
    assert!(!inbox.relieve(), "no room yet");
    assert!(inbox.pop_urgent().is_some());
    // Unless the hub, in a turn that it was in anyway, has taken the room already.
    assert!(inbox.relieve() || inbox.depth() == 4, "told");
    assert!(!inbox.relieve(), "once");
    waker.wake();
    assert_eq!(urgent.wait().expect("published").len(), 3);
    lifecycle.advance(Stage::Stopped);
    waker.wake();
    thread.join().expect("the hub");
    assert_eq!(others.wait(), Err(PublishError::Stopped));
}

#[test]
fn either_kind_of_one_publishers_events_keeps_its_order_however_batches_mix() {
    // Small inboxes, so that much is held, and a publisher that never waits for an answer.
    let running = Running::start(5_000, 2, 2);
    let mut receipts = Vec::new();
    for round in 0..200 {
        let event_or_critical = |place: usize| match (round + place) % 7 {
            0 => critical("x"),
            _ => event("y", None),
        };
        let batch: Vec<Publish> = (0..1 + round % 9).map(event_or_critical).collect();
        let kinds: Vec<bool> =
            batch.iter().map(|event| event.payload.priority().is_urgent()).collect();
        receipts.push((kinds, running.publisher.publish(batch).expect("room for all")));
    }
    let (mut last, mut all) = ([0, 0], BTreeSet::new());
    for (kinds, receipt) in receipts {
        for (is_urgent, item) in kinds.into_iter().zip(receipt.wait().expect("published")) {
            let last = &mut last[usize::from(is_urgent)];
            assert!(item.seq > *last, "{} after {last}", item.seq);
            *last = item.seq;
            all.insert(item.seq);
        }
    }
    assert!(all.iter().copied().eq(1..=all.len() as u64));
    for mut seen in running.stop() {
        seen.sort_unstable();
        assert!(seen.into_iter().eq(all.iter().copied()));
    }
}

#[test]
fn a_batch_of_both_kinds_is_answered_in_its_own_order() {
    let running = Running::start(200, 1, 200);
    let mixed = vec![
        event("a", None),
        critical("b"),
        event("c", Some("k")),
        critical("d"),
        event("e", Some("k")),
    ];
    let published = running.publisher.publish(mixed).expect("room").wait().expect("published");
    let seqs: Vec<u64> = published.iter().map(|item| item.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 3], "nothing waits before it");
    assert!(published[4].duplicate);
    let large: Vec<Publish> =
        (0..90).map(|n| if n % 30 == 29 { critical("x") } else { event("y", None) }).collect();
    let large = [large.clone(), large].concat();
    let published = running.publisher.publish(large).expect("room").wait().expect("published");
    let seqs: Vec<u64> = published.iter().map(|item| item.seq).collect();
    let of_kind = |is_urgent: bool| {
        let chosen = seqs.iter().enumerate().filter(move |(n, _)| (n % 30 == 29) == is_urgent);
        chosen.map(|(_, seq)| *seq).collect::<Vec<_>>()
    };
    assert_eq!(of_kind(true), (5..11).collect::<Vec<_>>(), "they do not wait for so many");
    assert_eq!(of_kind(false), (11..185).collect::<Vec<_>>());
    let full = running.publisher.publish((0..201).map(|_| critical("x")).collect());
    assert!(matches!(full, Err(PublishError::TooLarge { events: 201, capacity: 200 })));
    running.stop();
}

#[test]
fn a_draining_server_refuses_but_delivers_what_it_took() {
    let (hub, lifecycle) = new_hub(100);
    let publisher = hub.publisher();
    let waker = hub.waker();
    let reader = Reader::start(0, 4, waker.clone());
    let taken = publisher.publish(events(20)).expect("room");
    lifecycle.advance(Stage::Draining);
    let refused = publisher.publish(events(3)).expect_err("draining");
    assert!(matches!(refused, PublishError::Draining { .. }), "{refused:?}");
    assert_eq!(publisher.stats().refused_draining(), 3);
    let handle = reader.handle.clone();
    let thread = thread::spawn(move || hub.run(vec![handle]));
    assert_eq!(taken.wait().expect("published").len(), 20);
    assert_eq!(reader.thread.join().expect("a reader").len(), 20);
    lifecycle.advance(Stage::Stopped);
    waker.wake();
    thread.join().expect("the hub");
}

#[test]
fn no_receipt_hangs_however_the_end_comes() {
    for round in 0..200 {
        let running = Running::start(50, 1, 2);
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let publisher = running.publisher.clone();
                let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
                thread::spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        if let Ok(receipt) = publisher.publish(events(3)) {
                            // Any answer will do; none would hang here.
                            let _ = receipt.wait();
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        while answered.load(Ordering::Relaxed) < round % 5 {
            thread::yield_now();
        }
        running.stop();
        is_over.store(true, Ordering::Relaxed);
        publishers.into_iter().for_each(|publisher| publisher.join().expect("a publisher"));
    }
}

#[test]
fn a_stop_without_a_drain_ends_a_hub_that_waits_for_a_dead_shard() {
    let (hub, lifecycle) = new_hub(10);
    let publisher = hub.publisher();
    let inbox = Arc::new(Inbox::new(1));
    let stats = Arc::new(ShardStats::default());
    let dead = Handle::new(0, "test", stats, inbox, Waker::new(|| {}));
    let receipt = publisher.publish(events(5)).expect("room");
    let waker = hub.waker();
    let thread = thread::spawn(move || hub.run(vec![dead]));
    while publisher.stats().inbox_waits.get() == 0 {
        thread::yield_now();
    }
    let late = publisher.publish(events(2)).expect("room");
    lifecycle.advance(Stage::Stopped);
    waker.wake();
    thread.join().expect("the hub");
    assert_eq!(receipt.wait(), Err(PublishError::Stopped), "not all of it was handed on");
    assert_eq!(late.wait(), Err(PublishError::Stopped));
}

#[test]
fn a_hub_that_panics_answers_those_who_wait() {
    let (hub, lifecycle) = new_hub(10);
    let publisher = hub.publisher();
    let shard_waker = Waker::new(|| panic!("a waker that fails"));
    shard_waker.park();
    let inbox = Arc::new(Inbox::new(10));
    let handle = Handle::new(0, "test", Arc::new(ShardStats::default()), inbox, shard_waker);
    let first = publisher.publish(events(1)).expect("room");
    let second = publisher.publish(events(1)).expect("room");
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let ended = thread::spawn(move || hub.run(vec![handle])).join();
    panic::set_hook(hook);
    assert!(ended.is_err());
    assert_eq!(first.wait(), Err(PublishError::Stopped));
    assert_eq!(second.wait(), Err(PublishError::Stopped));
    assert_eq!(lifecycle.stage(), Stage::Stopped);
    assert!(publisher.publish(events(1)).is_err());
}

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use alarmcast::base::lifecycle::{Lifecycle, Stage};
use alarmcast::event::Publish;
use alarmcast::hub::{DrainPlan, Hub, HubLoop, HubSettings, PublishReceipt, Publisher};
use alarmcast::io::sim::{Faults, SimDriver, SimListener, SimNet};
use alarmcast::io::{Driver, DriverConfig};
use alarmcast::protocol::parse_item;
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{Handle, Inbox, Links, Request, Settings, Shard, StreamHandler};
use alarmcast::stream::history::{self, History, Window};
use tokio::sync::oneshot;

use super::fault::{Fault, Past};
use super::traveller::Traveller;
use crate::resuming::{Fact, Published, Random, Tamper, Totals, judge};
use crate::world::{settings, stream_settings};

const SHARDS: usize = 2;

/// One of the shards.
struct Place {
    shard: Shard<SimDriver, StreamHandler>,
    handle: Handle,
    listener: SimListener,
    stats: Arc<ShardStats>,
}

pub struct Whole {
    net: SimNet,
    random: Random,
    hub: HubLoop,
    publisher: Publisher,
    window: Arc<Window>,
    places: Vec<Place>,
    travellers: Vec<Traveller>,
    travellers_max: usize,
    awaited: Vec<(Vec<Fact>, Pin<Box<PublishReceipt>>)>,
    published: Published,
    fault: Option<Fault>,
}

fn faults(random: &mut Random) -> Faults {
    let mut faults = if random.chance(30) { Faults::none() } else { Faults::rough() };
    faults.delay_max = Duration::from_millis(random.below(20) as u64);
    faults.resets = random.pick(&[0, 1, 5]);
    faults.socket_buffer_bytes = random.pick(&[512, 2_048, 16_384]);
    faults
}

fn shard_settings(random: &mut Random) -> Settings {
    let secs = |secs: u64| Duration::from_secs(secs);
    Settings {
        outbox: Limits { messages_max: random.pick(&[24, 100, 1_000]), bytes_max: 1 << 20 },
        backlog_bytes_max: random.pick(&[16 * 1024, usize::MAX, usize::MAX]),
        send_bytes_max: random.pick(&[600, 4_096, 32_768]),
        turn_sends_max: random.pick(&[1, 3, 2_048]),
        turn_deliveries_max: random.pick(&[1, 10, 65_536]),
        timing: Timing {
            heartbeat_interval: secs(random.pick(&[1, 3, 30])),
            write: secs(random.pick(&[1, 10])),
            ..settings().timing
        },
        ..settings()
    }
}

impl Whole {
    pub fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut random = Random::new(seed);
        let net = SimNet::new(seed, faults(&mut random));
        let lifecycle = Lifecycle::new();
        lifecycle.advance(Stage::Serving);
        let hub_settings = HubSettings {
            epoch: "whole".to_owned(),
            ingest_events_max: 500,
            history: history::Limits {
                events_max: random.pick(&[40, 400, 100_000, 100_000]),
                ..history::Limits::default()
            },
            drain: DrainPlan { window: Duration::from_secs(1), timeout: Duration::from_secs(5) },
        };
        let hub = Hub::new(hub_settings, lifecycle, net.clock());
        let (publisher, window) = (hub.publisher(), hub.history());
        let all_stats: Vec<_> = (0..SHARDS).map(|_| Arc::new(ShardStats::default())).collect();
        let inbox_events_max = random.pick(&[1, 3, 10, 4_096]);
        let settings = Settings { all_stats: all_stats.clone(), ..shard_settings(&mut random) };
        let past = Arc::new(Past { window: Arc::clone(&window), fault });
        let place = |(index, stats): (usize, &Arc<ShardStats>)| {
            let config = DriverConfig {
                sockets_max: settings.sockets_max,
                accepts: settings.accepts as usize,
                recv_buffers: 16,
                recv_buffer_bytes: 1024,
                ..DriverConfig::default()
            };
            let driver = net.driver(&config);
            let listener = driver.listener();
            let inbox = Arc::new(Inbox::new(inbox_events_max));
            let (stats, waker) = (Arc::clone(stats), driver.waker());
            let handle = Handle::new(index, "sim", Arc::clone(&stats), Arc::clone(&inbox), waker);
            let links = Links { inbox, stats: Arc::clone(&stats), hub: hub.waker() };
            let stream = stream_settings("whole", Arc::clone(&past) as Arc<dyn History>);
            let handler = StreamHandler::new(stream, net.clock(), Arc::clone(&stats));
            let shard = Shard::new(driver, handler, net.clock(), settings.clone(), links);
            Place { shard, handle, listener, stats }
        };
        let places: Vec<Place> = all_stats.iter().enumerate().map(place).collect();
        let hub = hub.with_shards(places.iter().map(|place| place.handle.clone()).collect());
        let travellers_max = 1 + random.below(4);
        Self {
            net,
            random,
            hub,
            publisher,
            window,
            places,
            travellers: Vec::new(),
            travellers_max,
            awaited: Vec::new(),
            published: Published::new(),
            fault,
        }
    }

    pub fn step(&mut self) {
        if self.travellers.len() < self.travellers_max && self.random.chance(20) {
            self.add_traveller();
        }
        if self.random.chance(25) {
            let count = if self.random.chance(2) { 140 } else { 1 + self.random.below(8) };
            self.publish(count);
        }
        let steps = self.random.below(12);
        self.step_hub(steps);
        for place in 0..SHARDS {
            if self.random.chance(60) {
                self.turn(place);
            }
        }
        for number in 0..self.travellers.len() {
            if self.random.chance(60) {
                self.travellers[number].pump(self.window.bounds().newest);
            }
            if self.random.chance(4) {
                self.travellers[number].act(&mut self.random);
            }
            if self.travellers[number].is_away() && self.random.chance(25) {
                self.connect(number);
            }
        }
        let millis = self.random.pick(&[0, 0, 0, 1, 5, 20, 150]);
        self.net.clock().advance(Duration::from_millis(millis));
    }

    fn add_traveller(&mut self) {
        let wire = match self.fault {
            Some(Fault::Wire(fault)) => Some(fault),
            _ => None,
        };
        let now = self.net.clock().wall().as_millisecond() as u64;
        let name = format!("client {}", self.travellers.len());
        self.travellers.push(Traveller::new(name, &mut self.random, now, Tamper::new(wire)));
    }

    /// On any of the shards.
    fn connect(&mut self, number: usize) {
        let place = self.random.below(SHARDS);
        let link = self.net.connect(self.places[place].listener);
        self.travellers[number].connect(link);
    }

    fn publish(&mut self, count: usize) {
        let facts: Vec<Fact> = (0..count).map(|_| Fact::any(&mut self.random)).collect();
        let events = facts.iter().map(|fact| parsed(*fact)).collect();
        // Where the hub has no room, nothing was published.
        if let Ok(receipt) = self.publisher.publish(events) {
            self.awaited.push((facts, Box::pin(receipt)));
        }
    }

    /// So many steps of the hub, or as many as there are.
    fn step_hub(&mut self, steps: usize) {
        if (0..steps).any(|_| !self.hub.step()) {
            self.hub.rest();
        }
        let newest = self.window.bounds().newest;
        let told = match self.fault {
            Some(Fault::CompleteTooEarly) => newest,
            Some(Fault::CompleteBeyond) => newest + 1,
            _ => return,
        };
        self.places.iter().for_each(|place| place.handle.set_complete_to(told));
    }

    /// One turn of a shard in which no time passes: a request that waits keeps it from waiting.
    fn turn(&mut self, place: usize) {
        let Place { shard, handle, .. } = &mut self.places[place];
        let (answer, _) = oneshot::channel();
        let _ = handle.request(Request::Histograms(answer));
        assert!(shard.turn().expect("the driver goes on"), "nobody ends it");
        shard.invariants();
    }

    /// Everything goes well for a while, or until something is so.
    fn pass(&mut self, time: Duration, is_done: impl Fn(&Self) -> bool) {
        const STEP: Duration = Duration::from_millis(50);
        let until = self.net.clock().now() + time;
        loop {
            self.net.clock().advance(STEP);
            for _ in 0..8 {
                self.step_hub(40);
                (0..SHARDS).for_each(|place| self.turn(place));
                let newest = self.window.bounds().newest;
                self.travellers.iter_mut().for_each(|traveller| traveller.pump(newest));
            }
            if self.net.clock().now() >= until || is_done(self) {
                return;
            }
        }
    }

    /// Nothing goes wrong any more, and everyone comes back and reads on to the end; or who does
    /// not.
    pub fn settle(&mut self) -> Option<String> {
        const ROUNDS: usize = 120;
        self.net.set_faults(Faults::none());
        for round in 0..ROUNDS {
            // Whoever has lost its position finds one with another connection.
            if round % 40 == 0 {
                self.travellers.iter_mut().for_each(Traveller::leave);
            }
            for number in 0..self.travellers.len() {
                if self.travellers[number].is_away() {
                    self.connect(number);
                }
                self.travellers[number].hurry();
            }
            self.pass(Duration::from_millis(500), Self::has_all_reached);
            self.take_receipts();
            if self.awaited.is_empty() && self.has_all_reached() {
                return None;
            }
        }
        let late: Vec<_> = self.travellers.iter().map(|it| it.reader.standing()).collect();
        Some(format!("late: {} receipts are awaited; {late:?}", self.awaited.len()))
    }

    fn has_all_reached(&self) -> bool {
        let newest = self.window.bounds().newest;
        self.travellers.iter().all(|it| it.reader.has_reached(newest))
    }

    fn is_idle(&self) -> bool {
        self.places.iter().all(|place| place.shard.is_idle())
    }

    fn take_receipts(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for (facts, mut receipt) in std::mem::take(&mut self.awaited) {
            match receipt.as_mut().poll(&mut context) {
                Poll::Pending => self.awaited.push((facts, receipt)),
                Poll::Ready(answer) => {
                    let receipts = answer.expect("the hub goes on");
                    for (fact, receipt) in facts.into_iter().zip(receipts) {
                        let millis = (receipt.message_id.as_u128() >> 80) as u64;
                        self.published.insert(receipt.seq, (fact, millis));
                    }
                }
            }
        }
    }

    /// What a run without it proves little of.
    pub fn reached(&self) -> Vec<(&'static str, u64)> {
        let sum = |cell: fn(&ShardStats) -> u64| self.places.iter().map(|it| cell(&it.stats)).sum();
        vec![
            ("replays done", sum(|stats| stats.catch_ups_done.get())),
            ("replays that history passed", sum(|stats| stats.catch_ups_lost.get())),
            ("slow consumers closed", sum(|stats| stats.slow_consumers_closed.get())),
            ("connections reset", sum(|stats| stats.connections_reset.get())),
            ("events that the hub held", self.publisher.stats().inbox_waits.get()),
        ]
    }

    /// All leave, and nothing is left of anyone; what was wrong with what they got.
    pub fn end(mut self) -> (Vec<String>, Totals) {
        let newest = self.window.bounds().newest;
        assert!(self.published.keys().copied().eq(1..=newest), "every event has its receipt");
        let (mut findings, mut totals) = (Vec::new(), Totals::default());
        for traveller in &mut self.travellers {
            findings.extend(judge(&traveller.reader, &self.published));
            totals.add(&traveller.reader.totals);
            traveller.leave();
        }
        self.pass(Duration::from_secs(20), Self::is_idle);
        for place in &self.places {
            assert!(place.shard.is_idle(), "something is left: {:?}", place.stats);
            assert_eq!(place.stats.subscriptions_active.get(), 0);
        }
        (findings, totals)
    }
}

/// Parsing takes longer than all that hub and shards do with an event.
fn parsed(fact: Fact) -> Publish {
    thread_local! {
        static MADE: RefCell<HashMap<(usize, usize), Publish>> = RefCell::default();
    }
    let parse = || match parse_item(fact.item(), jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    };
    MADE.with_borrow_mut(|made| {
        made.entry((fact.source, fact.priority)).or_insert_with(parse).clone()
    })
}

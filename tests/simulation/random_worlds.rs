//! Clients that do anything on a network that loses patience, against a model of who must
//! get what.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use std::cell::RefCell;

use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::event::{Attributes, Priority};
use alarmcast::filter::{FilterSpec, LabelMatcher};
use alarmcast::io::sim::Faults;
use alarmcast::protocol::{Encoded, Encoding};
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{Close, Handler, Message, Replies, StreamHandler};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::client::{Client, End, PING, Received, frame, request};
use crate::events;
use crate::random::{Random, for_seeds};
use crate::world::{Plan, SUBSCRIPTIONS_MAX, World, settings};

/// What must be true of one client, by its number.
#[derive(Debug, Default)]
struct Expected {
    subscriptions: BTreeMap<String, FilterSpec>,
    /// Events queued for it, by priority.
    events: BTreeMap<String, Vec<u64>>,
    is_open: bool,
}

#[derive(Debug, Default)]
struct Model {
    clients: BTreeMap<usize, Expected>,
    slots: HashMap<u32, usize>,
}

/// Watches what passes through the stream's handler and keeps the model up with it.
struct Watched {
    inner: StreamHandler,
    model: Rc<RefCell<Model>>,
    admitted: Option<usize>,
}

impl Handler for Watched {
    fn admit(&mut self, key: Key, request: &Request) -> Result<Option<&'static str>, Refusal> {
        let query = request.query.as_deref().unwrap_or_default();
        let number = query.split('&').find_map(|field| field.strip_prefix("client="));
        self.admitted = number.and_then(|number| number.parse().ok());
        self.inner.admit(key, request)
    }

    fn opened(&mut self, key: Key, now: Instant, replies: &mut Replies) {
        let model = &mut *self.model.borrow_mut();
        let number = self.admitted.take().expect("admitted before it is opened");
        let before = model.slots.insert(key.slot, number);
        assert_eq!(before, None, "one open connection a slot");
        model.clients.entry(number).or_default().is_open = true;
        self.inner.opened(key, now, replies);
    }

    fn message(&mut self, key: Key, message: Message<'_>, now: Instant, replies: &mut Replies) {
        let command: Option<Value> = match (message, self.inner.encoding(key.slot)) {
            (Message::Text(text), Encoding::Json) => serde_json::from_str(text).ok(),
            (Message::Binary(bytes), Encoding::MessagePack) => rmp_serde::from_slice(bytes).ok(),
            _ => None,
        };
        if let Some(command) = command {
            let model = &mut *self.model.borrow_mut();
            let number = model.slots[&key.slot];
            model.clients.entry(number).or_default().obey(&command);
        }
        self.inner.message(key, message, now, replies);
    }

    fn closed(&mut self, key: Key) {
        let model = &mut *self.model.borrow_mut();
        let number = model.slots.remove(&key.slot).expect("it was open");
        let client = model.clients.entry(number).or_default();
        client.is_open = false;
        client.subscriptions.clear();
        self.inner.closed(key);
    }

    fn closing(&mut self, key: Key, close: &Close, after: Option<u64>) -> Option<Bytes> {
        self.inner.closing(key, close, after)
    }

    fn seen(&mut self, seq: u64) {
        self.inner.seen(seq);
    }

    /// The model knows no losses: who does not keep up is closed here. See `shedding`.
    fn hears_losses(&self, _slot: u32) -> bool {
        false
    }

    fn matching(&mut self, event: &Arc<Encoded>, slots: &mut Vec<u32>) {
        self.inner.matching(event, slots);
        let model = &mut *self.model.borrow_mut();
        let priority = serde_json::to_value(event.event.priority).expect("a name");
        let priority = priority.as_str().expect("a name");
        let mut wanted = Vec::new();
        for (&slot, number) in &model.slots {
            let client = model.clients.entry(*number).or_default();
            if client.subscriptions.values().any(|spec| matches(spec, &event.event.attributes())) {
                wanted.push(slot);
                client.events.entry(priority.to_owned()).or_default().push(event.event.seq);
            }
        }
        wanted.sort_unstable();
        let mut found = slots.clone();
        found.sort_unstable();
        assert_eq!(found, wanted, "who gets event {}", event.event.seq);
    }

    fn encoding(&self, slot: u32) -> Encoding {
        self.inner.encoding(slot)
    }

    fn interested(&self) -> usize {
        self.inner.interested()
    }
}

impl Expected {
    fn obey(&mut self, command: &Value) {
        let Some(id) = command["subscription_id"].as_str() else { return };
        match command["type"].as_str() {
            Some("subscribe") => {
                let filters = serde_json::from_value(command["filters"].clone());
                let fits = self.subscriptions.len() < SUBSCRIPTIONS_MAX;
                if let Ok(filters) = filters
                    && (fits || self.subscriptions.contains_key(id))
                {
                    self.subscriptions.insert(id.to_owned(), filters);
                }
            }
            Some("unsubscribe") => drop(self.subscriptions.remove(id)),
            _ => {}
        }
    }
}

/// The filters' meaning, as plainly as it can be said. The worlds have no patterns.
fn matches(spec: &FilterSpec, event: &Attributes<'_>) -> bool {
    let has = |value: Option<bool>, is_any: bool| is_any || value == Some(true);
    let label = |(key, wanted): (&String, &LabelMatcher)| {
        let value = event.labels.and_then(|labels| labels.get(key));
        value.is_some_and(|value| *wanted == LabelMatcher::One(value.as_str().into()))
    };
    has(Some(spec.event_types.contains(&event.event_type)), spec.event_types.is_empty())
        && has(event.severity.map(|s| spec.severities.contains(&s)), spec.severities.is_empty())
        && has(
            event.source.map(|source| spec.sources.contains(&source.into())),
            spec.sources.is_empty(),
        )
        && spec.labels.iter().all(label)
}

/// Some worlds have time for everything, some have none.
fn timing(random: &mut Random) -> Timing {
    let secs = |secs: u64| Duration::from_secs(secs);
    Timing {
        heartbeat_interval: secs(random.pick(&[1, 3, 30])),
        heartbeat_timeout: secs(random.pick(&[1, 3, 30])),
        write: secs(random.pick(&[1, 3, 10])),
        ..settings().timing
    }
}

fn filters(random: &mut Random) -> Value {
    let source = random.pick(&events::SOURCES);
    match random.below(7) {
        0 => json!({}),
        1 => json!({"severities": ["P0", "P1"]}),
        2 => json!({"sources": [source]}),
        3 => json!({"event_types": ["system_event"]}),
        4 => json!({"labels": {"team": source}}),
        5 => json!({"sources": [source], "severities": ["P0"]}),
        _ => json!({"severity": "unknown field"}),
    }
}

/// One run.
struct Run {
    world: World<Watched>,
    model: Rc<RefCell<Model>>,
    random: Random,
    clients: Vec<Client>,
    clients_max: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Plan::new(seed);
        plan.faults = if random.chance(25) { Faults::none() } else { Faults::rough() };
        plan.faults.delay_max = Duration::from_millis(random.below(40) as u64);
        plan.faults.resets = random.pick(&[0, 0, 1, 10]);
        plan.faults.socket_buffer_bytes = random.pick(&[2048, 8192, 65_536]);
        plan.settings = alarmcast::shard::Settings {
            sockets_max: random.pick(&[6, 12, 32]),
            connections_max: random.pick(&[5, 32]),
            outbox: Limits { messages_max: random.pick(&[20, 100, 1000]), bytes_max: 1024 * 1024 },
            send_bytes_max: random.pick(&[500, 4096, 32_768]),
            turn_sends_max: random.pick(&[1, 3, 2048]),
            turn_deliveries_max: random.pick(&[1, 10, 65_536]),
            timing: timing(&mut random),
            ..settings()
        };
        let model = Rc::new(RefCell::new(Model::default()));
        let shared = Rc::clone(&model);
        let world = plan.build_with(|stream, clock, stats| Watched {
            inner: StreamHandler::new(stream, clock, stats),
            model: shared,
            admitted: None,
        });
        let clients_max = 1 + random.below(12);
        Self { world, model, random, clients: Vec::new(), clients_max }
    }

    fn step(&mut self) {
        if self.clients.len() < self.clients_max && self.random.chance(15) {
            self.connect();
        }
        if self.random.chance(40) {
            self.act();
        }
        if self.random.chance(30) {
            for _ in 0..1 + self.random.below(6) {
                let priority = self.random.pick(&Priority::ALL);
                let source = self.random.pick(&events::SOURCES);
                self.world.publish(events::of(priority, source));
            }
        }
        let millis = self.random.pick(&[0, 0, 1, 5, 20, 120]);
        self.world.net.clock().advance(Duration::from_millis(millis));
        self.world.turn();
        for client in &mut self.clients {
            if self.random.chance(70) {
                client.pump();
            }
        }
        self.check();
    }

    fn connect(&mut self) {
        let mut client = self.world.connect();
        let number = self.clients.len();
        match self.random.below(20) {
            0 => {}
            1 => client.send_raw(b"\x16\x03\x01\x02\x00\x01nonsense\r\n\r\n"),
            2 => client.send_raw(request("/elsewhere").as_bytes()),
            3 => client.send_raw(b"GET /ws HTT"),
            4..10 => {
                client.is_packed = true;
                let target = format!("/ws?encoding=msgpack&client={number}");
                client.send_raw(request(&target).as_bytes());
            }
            _ => client.send_raw(request(&format!("/ws?client={number}")).as_bytes()),
        }
        self.clients.push(client);
    }

    fn act(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let index = self.random.below(self.clients.len());
        let client = &mut self.clients[index];
        // What is sent ahead of the answer would be a part of the handshake.
        if client.status() != Some(101) || client.is_gone() {
            return;
        }
        let id = format!("s{}", self.random.below(SUBSCRIPTIONS_MAX + 2));
        match self.random.below(40) {
            0..14 => client.subscribe(&id, filters(&mut self.random)),
            14..19 => client.unsubscribe(&id),
            19..22 => client.send(&json!({"type": "ping", "timestamp": "now"})),
            22..24 => client.send_raw(&frame(PING, b"payload")),
            24..26 => client.send_raw(&frame(0x1, b"not json")),
            26..28 => client.send_raw(&frame(0x2, b"\x00\x01")),
            28 => client.answers_pings = false,
            29..33 => client.read_bytes = self.random.pick(&[0, 10, 300, usize::MAX, usize::MAX]),
            33 => client.half_close(),
            34 => client.reset(),
            35 => client.abandon(),
            36 => client.send_raw(b"\x81\x05plain"),
            37 => client.send_raw(&frame(0x1, b"\xff\xfe")),
            _ => client.close(1000),
        }
    }

    /// What must be true at any time.
    fn check(&self) {
        let model = self.model.borrow();
        for (number, client) in self.clients.iter().enumerate() {
            let expected = model.clients.get(&number);
            for (priority, seqs) in by_priority(client) {
                let queued = expected.and_then(|expected| expected.events.get(&priority));
                let queued = queued.map_or(&[][..], Vec::as_slice);
                assert!(
                    queued.starts_with(&seqs),
                    "client {number} got {seqs:?} of the {priority} events {queued:?}"
                );
            }
            check_order(client, number);
        }
    }

    /// The network behaves, everyone reads: whoever is still there has everything.
    fn settle(&mut self) {
        self.world.net.set_faults(Faults::none());
        for client in &mut self.clients {
            client.read_bytes = usize::MAX;
        }
        let clients = &mut self.clients.iter_mut().collect::<Vec<_>>();
        // What was delayed arrives, then what waited goes out, one send a turn in some worlds.
        self.world.pass(Duration::from_millis(200), clients);
        for _ in 0..50 {
            self.world.settle(clients);
            if self.world.stats.outbox_bytes.get() == 0 {
                break;
            }
        }
        self.world.pass(Duration::from_secs(4), clients);
        self.check();
        let model = self.model.borrow();
        let mut live = 0;
        for (number, client) in self.clients.iter().enumerate() {
            let Some(expected) = model.clients.get(&number).filter(|client| client.is_open) else {
                continue;
            };
            if client.is_gone() || client.end.is_some() {
                continue;
            }
            live += 1;
            assert_eq!(by_priority(client), expected.events, "client {number} lacks events");
        }
        assert_eq!(self.world.stats.connections_active.get(), live);
    }

    /// All leave, each in its way.
    fn end(mut self) {
        for client in &mut self.clients {
            match self.random.below(5) {
                0 => client.abandon(),
                1 => client.reset(),
                2 => client.half_close(),
                _ => client.close(1000),
            }
        }
        self.world.pass(Duration::from_secs(1), &mut self.clients.iter_mut().collect::<Vec<_>>());
        // Silent ones are told to leave, and left when they do not.
        self.world.end(Duration::from_secs(400), &mut self.clients.iter_mut().collect::<Vec<_>>());
        assert!(self.model.borrow().slots.is_empty());
    }
}

fn by_priority(client: &Client) -> BTreeMap<String, Vec<u64>> {
    let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (seq, priority) in client.events() {
        seqs.entry(priority).or_default().push(seq);
    }
    seqs
}

/// `welcome` first, nothing before `subscribed`, `closing` before a close of the server's own.
fn check_order(client: &Client, number: usize) {
    let kinds: Vec<_> = client.messages().map(|message| message["type"].as_str()).collect();
    assert!(kinds.first().is_none_or(|first| *first == Some("welcome")), "client {number}");
    let first = |kind| kinds.iter().position(|seen| *seen == Some(kind)).unwrap_or(usize::MAX);
    assert!(first("subscribed") <= first("event"), "client {number}: {kinds:?}");
    if let Some(Received::Close(Some(code))) = client.received.last()
        && *code != 1000
    {
        assert_eq!(client.closing_code(), Some(u64::from(*code)), "client {number}: {kinds:?}");
    }
}

#[test]
fn whoever_keeps_up_gets_exactly_what_it_asked_for_and_whoever_ends_leaves_nothing_behind() {
    const STEPS: usize = 250;
    let reached = RefCell::new(BTreeMap::new());
    let seeds = for_seeds(200, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.settle();
        let stats = Arc::clone(&run.world.stats);
        run.end();
        count_reached(&stats, &mut reached.borrow_mut());
    });
    let reached = reached.into_inner();
    let missed: Vec<_> = reached.iter().filter(|(_, count)| **count == 0).collect();
    assert!(seeds < 200 || missed.is_empty(), "never happened: {missed:?}");
}

/// A run that nothing happens in proves nothing.
fn count_reached(stats: &ShardStats, reached: &mut BTreeMap<&'static str, u64>) {
    for (name, cell) in [
        ("events delivered", &stats.events_delivered),
        ("events filtered", &stats.events_filtered),
        ("send errors", &stats.send_errors),
        ("handshakes refused", &stats.handshakes_refused),
        ("handshakes timed out", &stats.handshakes_timed_out),
        ("connections refused", &stats.connections_refused),
        ("protocol errors", &stats.protocol_errors),
        ("connections reset", &stats.connections_reset),
        ("heartbeats missed", &stats.heartbeats_missed),
        ("write timeouts", &stats.write_timeouts),
        ("slow consumers closed", &stats.slow_consumers_closed),
        ("accept errors", &stats.accept_errors),
        ("receive buffers exhausted", &stats.receive_buffers_exhausted),
    ] {
        *reached.entry(name).or_default() += cell.get();
    }
}

#[test]
fn a_run_is_the_same_for_the_same_seed() {
    let trace = |seed| {
        let mut run = Run::new(seed);
        for _ in 0..120 {
            run.step();
        }
        let received: Vec<Vec<Received>> =
            run.clients.iter().map(|client| client.received.clone()).collect();
        let ends: Vec<Option<End>> = run.clients.iter().map(|client| client.end).collect();
        let sessions = json!(null);
        let plain: Vec<Vec<Received>> = received
            .into_iter()
            .map(|frames| {
                frames.into_iter().map(|frame| without_session(frame, &sessions)).collect()
            })
            .collect();
        (plain, ends, run.world.stats.bytes_sent.get())
    };
    assert_eq!(trace(11), trace(11));
}

/// Session ids are random by design.
fn without_session(mut frame: Received, none: &Value) -> Received {
    if let Received::Text(message) | Received::Packed(message) = &mut frame
        && message["type"] == "welcome"
    {
        message["session_id"] = none.clone();
    }
    frame
}

//! Clients that do anything on a network that loses patience, against a model of who must
//! get what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::io::sim::Faults;
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::shard::stats::ShardStats;
use serde_json::{Value, json};

use crate::client::{End, PING, Received, frame, request};
use crate::events;
use crate::planted::Planting;
use crate::random::{Random, for_seeds};
use crate::scene::Scene;
use crate::world::{Plan, SUBSCRIPTIONS_MAX, settings};

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

fn options(random: &mut Random) -> Value {
    let mut options = json!({"conflate": random.chance(50)});
    if random.chance(50) {
        let max_events = random.pick(&[1, 2, 5, 256]);
        options["batch"] =
            json!({"max_events": max_events, "max_delay_ms": random.pick(&[1, 30, 400])});
    }
    if random.chance(50) {
        let window_ms = random.pick(&[100, 500, 2_000]);
        options["collapse"] = json!({"window_ms": window_ms, "after": random.pick(&[1, 2, 5])});
    }
    options
}

/// One run.
pub struct Run {
    scene: Scene,
    random: Random,
    clients_max: usize,
}

impl Run {
    pub fn new(seed: u64, planting: Planting) -> Self {
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
            backlog_bytes_max: random.pick(&[16 * 1024, usize::MAX, usize::MAX]),
            send_bytes_max: random.pick(&[500, 4096, 32_768]),
            turn_sends_max: random.pick(&[1, 3, 2048]),
            turn_deliveries_max: random.pick(&[1, 10, 65_536]),
            timing: timing(&mut random),
            ..settings()
        };
        let clients_max = 1 + random.below(12);
        Self { scene: Scene::new(plan, planting), random, clients_max }
    }

    pub fn step(&mut self) {
        if self.scene.clients.len() < self.clients_max && self.random.chance(15) {
            self.connect();
        }
        if self.random.chance(40) {
            self.act();
        }
        if self.random.chance(30) {
            for _ in 0..1 + self.random.below(6) {
                let priority = self.random.pick(&Priority::ALL);
                let source = self.random.pick(&events::SOURCES);
                let event = match self.random.chance(30) {
                    true => events::of_storm(self.random.below(60)),
                    false => events::of(priority, source),
                };
                self.scene.world.publish(event);
            }
        }
        let millis = self.random.pick(&[0, 0, 1, 5, 20, 120]);
        self.scene.world.net.clock().advance(Duration::from_millis(millis));
        self.scene.world.turn();
        for number in 0..self.scene.clients.len() {
            if self.random.chance(70) {
                self.scene.pump(number);
            }
        }
        self.scene.check();
    }

    fn connect(&mut self) {
        let number = self.scene.connect();
        let client = &mut self.scene.clients[number];
        match self.random.below(20) {
            0 => {}
            1 => client.send_raw(b"\x16\x03\x01\x02\x00\x01nonsense\r\n\r\n"),
            2 => client.send_raw(request("/elsewhere").as_bytes()),
            3 => client.send_raw(b"GET /ws HTT"),
            4..8 => client.send_raw(request(&format!("/ws?client={number}")).as_bytes()),
            8..13 => {
                client.is_packed = true;
                let target = format!("/ws?encoding=msgpack&client={number}");
                client.send_raw(request(&target).as_bytes());
            }
            _ => {
                let target = format!("/ws?encoding=json&client={number}");
                client.send_raw(request(&target).as_bytes());
            }
        }
    }

    fn act(&mut self) {
        if self.scene.clients.is_empty() {
            return;
        }
        let index = self.random.below(self.scene.clients.len());
        let client = &mut self.scene.clients[index];
        // What is sent ahead of the answer would be a part of the handshake.
        if client.status() != Some(101) || client.is_gone() {
            return;
        }
        let id = format!("s{}", self.random.below(SUBSCRIPTIONS_MAX + 2));
        match self.random.below(43) {
            0..8 => client.subscribe(&id, filters(&mut self.random)),
            8..14 => {
                let options = options(&mut self.random);
                client.subscribe_with(&id, filters(&mut self.random), &options);
            }
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
            38..41 => client.pause(self.random.chance(50)),
            _ => client.close(1000),
        }
    }

    /// Everything arrives, then all leave, each in its way.
    pub fn end(&mut self) {
        self.scene.settle();
        for client in &mut self.scene.clients {
            match self.random.below(5) {
                0 => client.abandon(),
                1 => client.reset(),
                2 => client.half_close(),
                _ => client.close(1000),
            }
        }
        self.scene.end();
    }
}

#[test]
fn whoever_keeps_up_gets_exactly_what_it_asked_for_and_whoever_ends_leaves_nothing_behind() {
    const STEPS: usize = 250;
    let reached = Mutex::new(BTreeMap::new());
    let seeds = for_seeds(2_000, |seed| {
        let mut run = Run::new(seed, Planting::default());
        for _ in 0..STEPS {
            run.step();
        }
        let stats = Arc::clone(&run.scene.world.stats);
        run.end();
        count_reached(&stats, &mut reached.lock().expect("no panic while it is held"));
    });
    let reached = reached.into_inner().expect("no panic while it is held");
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
        ("low events shed", &stats.events_shed[Priority::Low.index()]),
        ("high events shed", &stats.events_shed[Priority::High.index()]),
        ("budget exceeded", &stats.budget_exceeded),
        ("normal events conflated", &stats.events_conflated[Priority::Normal.index()]),
        ("normal events collapsed", &stats.events_collapsed[Priority::Normal.index()]),
        ("high events collapsed", &stats.events_collapsed[Priority::High.index()]),
        ("batches sent", &stats.batches_sent),
        ("accept errors", &stats.accept_errors),
        ("receive buffers exhausted", &stats.receive_buffers_exhausted),
    ] {
        *reached.entry(name).or_default() += cell.get();
    }
}

#[test]
fn a_run_is_the_same_for_the_same_seed() {
    let trace = |seed| {
        let mut run = Run::new(seed, Planting::default());
        for _ in 0..120 {
            run.step();
        }
        let received: Vec<Vec<Received>> =
            run.scene.clients.iter().map(|client| client.received.clone()).collect();
        let ends: Vec<Option<End>> = run.scene.clients.iter().map(|client| client.end).collect();
        let sessions = json!(null);
        let plain: Vec<Vec<Received>> = received
            .into_iter()
            .map(|frames| {
                frames.into_iter().map(|frame| without_session(frame, &sessions)).collect()
            })
            .collect();
        (plain, ends, run.scene.world.stats.bytes_sent.get())
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

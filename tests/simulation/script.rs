//! Worlds that bytes decide: the body of the fuzz target `connection`. Spent input gives zeros,
//! so that every input is a script.

use std::time::Duration;

use alarmcast::event::Priority;
use alarmcast::io::sim::Faults;
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::shard::Settings;
use serde_json::{Value, json};

use crate::client::{CLOSE, frame, request};
use crate::events;
use crate::planted::Planting;
use crate::scene::Scene;
use crate::world::{Plan, SUBSCRIPTIONS_MAX, settings};

const OPERATIONS_MAX: usize = 300;
const CLIENTS_MAX: usize = 4;

/// Plays `data` as what clients, publishers and the network do to one shard.
///
/// # Panics
/// When the shard's bookkeeping is wrong, when a client gets what is no frame or no message, when
/// it gets what it did not ask for or lacks what nobody told it of, or when something is left of
/// the connections once all have gone.
pub fn play(data: &[u8]) {
    let mut choices = Choices(data);
    let plan = plan(&mut choices);
    let mut script = Script { scene: Scene::new(plan, Planting::default()), heads: Vec::new() };
    for _ in 0..OPERATIONS_MAX {
        if choices.0.is_empty() {
            break;
        }
        script.step(&mut choices);
    }
    script.scene.settle();
    for client in &mut script.scene.clients {
        match choices.below(4) {
            0 => client.abandon(),
            1 => client.reset(),
            2 => client.half_close(),
            _ => client.close(1000),
        }
    }
    script.scene.end();
}

struct Script {
    scene: Scene,
    /// What clients said that were left to themselves from the first byte on.
    heads: Vec<Vec<u8>>,
}

impl Script {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.connect(choices),
            1..=6 => self.speak(choices),
            7 | 8 => self.publish(choices),
            9 => self.read(choices),
            10 => self.leave(choices),
            11 => self.advance(choices),
            12 => self.scene.world.net.set_faults(faults(choices)),
            13 if choices.below(16) == 0 => {
                let timeout = Duration::from_millis(100 * u64::from(choices.byte()));
                self.scene.world.drain(timeout);
            }
            _ => {}
        }
        self.scene.world.turn();
        (0..self.scene.clients.len()).for_each(|number| self.scene.pump(number));
        self.scene.check();
    }

    fn connect(&mut self, choices: &mut Choices<'_>) {
        if self.scene.clients.len() == CLIENTS_MAX {
            return;
        }
        let number = self.scene.connect();
        self.heads.push(Vec::new());
        let client = &mut self.scene.clients[number];
        let encoding = match choices.below(4) {
            0 => {
                client.is_raw = true;
                return;
            }
            1 => "",
            2 => "encoding=json&",
            _ => {
                client.is_packed = true;
                "encoding=msgpack&"
            }
        };
        client.send_raw(request(&format!("/ws?{encoding}client={number}")).as_bytes());
    }

    /// Something a client says.
    fn speak(&mut self, choices: &mut Choices<'_>) {
        let Some(number) = self.someone(choices) else { return };
        let client = &mut self.scene.clients[number];
        match choices.below(8) {
            0 => self.say_bytes(number, choices),
            1 => {
                client.is_raw = true;
                let opcode = choices.below(16);
                client.send_raw(&frame(opcode, choices.bytes()));
            }
            2 => {
                let mut whole = frame(choices.below(3), choices.bytes());
                // A fragment, or with a bit that nothing has agreed on.
                whole[0] ^= choices.byte() & 0xF0;
                client.is_raw = true;
                client.send_raw(&whole);
            }
            3 => {
                let id = format!("s{}", choices.below(SUBSCRIPTIONS_MAX as u8 + 2));
                client.unsubscribe(&id);
            }
            4 if choices.below(2) == 0 => client.pause(choices.below(3) > 0),
            4 => client.send(&json!({"type": "ping", "timestamp": "now"})),
            _ => {
                let id = format!("s{}", choices.below(SUBSCRIPTIONS_MAX as u8 + 2));
                let filters = filters(choices);
                client.subscribe_with(&id, filters, &options(choices));
            }
        }
    }

    /// Bytes as they are. A head that gives a client's number would be taken for that client.
    fn say_bytes(&mut self, number: usize, choices: &mut Choices<'_>) {
        let head = &mut self.heads[number];
        let before = head.len();
        head.extend_from_slice(choices.bytes());
        if head.windows(7).any(|part| part == b"client=") {
            head.truncate(before);
            return;
        }
        let client = &mut self.scene.clients[number];
        client.is_raw = true;
        client.send_raw(&head[before..]);
    }

    fn publish(&mut self, choices: &mut Choices<'_>) {
        let priority = choices.one(&Priority::ALL);
        let source = choices.one(&events::SOURCES);
        for _ in 0..1 + choices.below(32) {
            self.scene.world.publish(events::of(priority, source));
        }
        for _ in 0..choices.below(8) {
            self.scene.world.publish(events::of_storm(choices.below(60).into()));
        }
    }

    fn read(&mut self, choices: &mut Choices<'_>) {
        let Some(number) = self.someone(choices) else { return };
        let client = &mut self.scene.clients[number];
        client.read_bytes = choices.one(&[0, 1, 100, 2_000, usize::MAX]);
        client.answers_pings = choices.below(4) > 0;
        client.answers_close = choices.below(4) > 0;
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        let Some(number) = self.someone(choices) else { return };
        let client = &mut self.scene.clients[number];
        match choices.below(8) {
            0 => client.reset(),
            1 => client.abandon(),
            2 | 3 => client.half_close(),
            4 => {
                client.is_raw = true;
                client.send_raw(&frame(CLOSE, choices.bytes()));
            }
            _ => client.close(1000),
        }
    }

    fn advance(&mut self, choices: &mut Choices<'_>) {
        let millis = choices.one(&[1, 5, 20, 50, 100, 250, 700, 2_500]);
        self.scene.world.net.clock().advance(Duration::from_millis(millis));
    }

    fn someone(&self, choices: &mut Choices<'_>) -> Option<usize> {
        let count = self.scene.clients.len();
        (count > 0).then(|| usize::from(choices.byte()) % count)
    }
}

fn plan(choices: &mut Choices<'_>) -> Plan {
    let mut plan = Plan::new(choices.byte().into());
    plan.faults = faults(choices);
    plan.faults.socket_buffer_bytes = choices.one(&[2048, 8192, 65_536]);
    let secs = Duration::from_secs;
    let timing = Timing {
        handshake: secs(1),
        heartbeat_interval: secs(choices.one(&[1, 3])),
        heartbeat_timeout: secs(choices.one(&[1, 3])),
        idle: secs(6),
        write: secs(choices.one(&[1, 3])),
        close: secs(1),
        ..settings().timing
    };
    plan.settings = Settings {
        sockets_max: choices.one(&[2, 4, 8]),
        connections_max: choices.one(&[1, 2, 8]),
        outbox: Limits {
            messages_max: choices.one(&[8, 24, 1000]),
            bytes_max: choices.one(&[4 * 1024, 1024 * 1024]),
        },
        backlog_bytes_max: choices.one(&[8 * 1024, usize::MAX]),
        send_bytes_max: choices.one(&[500, 4096, 32_768]),
        turn_sends_max: choices.one(&[1, 2048]),
        turn_deliveries_max: choices.one(&[1, 65_536]),
        timing,
        ..settings()
    };
    plan
}

fn faults(choices: &mut Choices<'_>) -> Faults {
    let mut faults = if choices.below(2) == 0 { Faults::none() } else { Faults::rough() };
    faults.resets = choices.one(&[0, 0, 0, 10]);
    faults.delay_max = Duration::from_millis(choices.one(&[0, 1, 30]));
    faults
}

fn filters(choices: &mut Choices<'_>) -> Value {
    let source = choices.one(&events::SOURCES);
    match choices.below(8) {
        0..=2 => json!({}),
        3 => json!({"severities": ["P0", "P1"]}),
        4 => json!({"sources": [source], "event_types": ["incident_created"]}),
        5 => json!({"labels": {"team": source}}),
        6 => json!({"none_of": [{"sources": [{"glob": "?b"}]}], "min_priority": "high"}),
        _ => json!({"severity": "unknown field"}),
    }
}

fn options(choices: &mut Choices<'_>) -> Value {
    let asked = choices.byte();
    let mut options = json!({"conflate": asked & 1 > 0});
    if asked & 2 > 0 {
        let max_events = choices.one(&[1, 2, 5, 256]);
        options["batch"] =
            json!({"max_events": max_events, "max_delay_ms": choices.one(&[1, 30, 400])});
    }
    if asked & 4 > 0 {
        let window_ms = choices.one(&[100, 500, 2_000]);
        options["collapse"] = json!({"window_ms": window_ms, "after": choices.one(&[1, 2, 5])});
    }
    options
}

/// What the input decides.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// As many bytes as the next one says.
    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

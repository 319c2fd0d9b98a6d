//! A shard with many subscribers on any driver, whose turns are counted.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use alarmcast::base::clock::Clock;
use alarmcast::event::Priority;
use alarmcast::io::sim::{Faults, SimClient, SimDriver, SimListener, SimNet};
use alarmcast::io::{Driver, DriverConfig, Waker};
use alarmcast::protocol::{Encoded, msgpack, parse_item};
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::session::rate::Rate;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{
    Admission, CatchUpLimits, Handle, HandshakeLimits, Inbox, Intake, Links, Settings, Shard,
    StreamHandler, StreamSettings,
};
use alarmcast::stream::history::{self, WindowWriter};
use alarmcast::stream::{Sequenced, Sequencer};
use alarmcast::ws;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::counting::Counts;

const SOCKETS_MAX: u32 = 12_000;

/// A usual incident; every other one is of another source.
pub fn event(number: usize, priority: &str) -> Value {
    let source = if number.is_multiple_of(2) { "api" } else { "db" };
    json!({
        "event_type": "incident_created",
        "priority": priority,
        "incident": {
            "id": "019ca8e1-9f40-7000-8000-0000000000aa",
            "severity": "P1",
            "source": source,
            "title": "Checkout is slow",
            "labels": {"team": "payments"},
        },
    })
}

/// How the subscribers reach their shard.
pub trait Network {
    type Driver: Driver;
    type Link: Read + Write;

    fn new(config: DriverConfig) -> (Self, Self::Driver)
    where
        Self: Sized;
    fn connect(&self) -> Self::Link;
    fn clock(&self) -> Clock;
    /// Lets so much time pass, where that is up to the test.
    fn pass(&self, _time: Duration) {}
}

/// One subscriber.
pub struct Subscriber<L> {
    link: L,
    /// Bytes that it reads when it does.
    pub appetite: usize,
}

pub struct Crowd<N: Network> {
    pub network: N,
    shard: Shard<N::Driver, StreamHandler>,
    handle: Handle,
    pub stats: Arc<ShardStats>,
    sequencer: Sequencer,
    pub subscribers: Vec<Subscriber<N::Link>>,
    /// What was counted within turns.
    pub counted: Counts,
}

/// What a client asks for when it comes.
pub struct Wishes {
    pub subscription_id: String,
    pub filters: Value,
    pub is_packed: bool,
    /// By its full name: such a client is told what was shed for it, instead of being closed.
    pub is_versioned: bool,
}

impl<N: Network> Crowd<N> {
    pub fn new() -> Self {
        let config = DriverConfig {
            sockets_max: SOCKETS_MAX,
            accepts: 256,
            recv_buffers: 1024,
            recv_buffer_bytes: 1024,
            ..DriverConfig::default()
        };
        let (network, driver) = N::new(config);
        let stats = Arc::new(ShardStats::default());
        let inbox = Arc::new(Inbox::new(64));
        let waker = driver.waker();
        let handle = Handle::new(0, "test", Arc::clone(&stats), Arc::clone(&inbox), waker);
        let clock = network.clock();
        let handler = StreamHandler::new(stream_settings(), clock.clone(), Arc::clone(&stats));
        let links = Links { inbox, stats: Arc::clone(&stats), hub: Waker::new(|| {}) };
        let shard = Shard::new(driver, handler, clock, settings(&stats), links);
        Self {
            network,
            shard,
            handle,
            stats,
            sequencer: Sequencer::new("test".to_owned()),
            subscribers: Vec::new(),
            counted: Counts::default(),
        }
    }

    /// Connects and subscribes so many, some at a time; `appetite` is how much each reads.
    pub fn join(&mut self, count: usize, wishes: impl Fn(usize) -> (Wishes, usize)) {
        const AT_ONCE: usize = 100;
        for first in (0..count).step_by(AT_ONCE) {
            for number in first..count.min(first + AT_ONCE) {
                let (wishes, appetite) = wishes(number);
                let mut link = self.network.connect();
                link.write_all(&wishes.greeting()).expect("room for a greeting");
                self.subscribers.push(Subscriber { link, appetite });
            }
            while self.stats.subscriptions_active.get() < self.subscribers.len() as u64 {
                self.turn();
            }
            self.publish(
                json!({"event_type": "system_event", "category": "test", "message": "flush"}),
            );
            self.turns();
            self.read();
        }
    }

    fn turn(&mut self) {
        let before = Counts::now();
        let goes_on = self.shard.turn();
        self.counted.add(Counts::now() - before);
        assert!(goes_on.expect("the driver goes on"));
    }

    /// One turn delivers and sends, those after it see the completions. To be called with
    /// something in the inbox, so that none of them waits for ever.
    pub fn turns(&mut self) {
        self.turn();
        self.turn();
    }

    /// Puts an event into the inbox.
    pub fn publish(&mut self, item: Value) {
        let clock = self.network.clock();
        let Ok(publish) = parse_item(item, clock.wall()) else { panic!("an event") };
        let id = Uuid::from_u128(u128::from(self.sequencer.newest()) + 1);
        let Sequenced::New(event) = self.sequencer.sequence(publish, clock.now(), clock.wall(), id)
        else {
            panic!("no keys are used")
        };
        assert!(self.handle.push_event(Arc::new(Encoded::new(*event))).is_ok());
    }

    /// Everyone reads as much as they can take.
    pub fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for Subscriber { link, appetite } in &mut self.subscribers {
            let mut left = *appetite;
            while left > 0 {
                let length = left.min(buffer.len());
                match link.read(&mut buffer[..length]) {
                    Ok(0) => panic!("the server ended a connection"),
                    Ok(count) => left -= count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

impl Wishes {
    /// The upgrade request and the subscription, masked with zeros.
    fn greeting(&self) -> Vec<u8> {
        let Self { subscription_id, filters, is_packed, is_versioned } = self;
        let protocol = match (is_packed, is_versioned) {
            (false, false) => "",
            (false, true) => "Sec-WebSocket-Protocol: alarmcast.v1.json\r\n",
            (true, _) => "Sec-WebSocket-Protocol: alarmcast.v1.msgpack\r\n",
        };
        let mut bytes = format!(
            "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {protocol}\r\n"
        )
        .into_bytes();
        let subscribe =
            json!({"type": "subscribe", "subscription_id": subscription_id, "filters": filters});
        let (opcode, payload) = match is_packed {
            true => (0x82, msgpack::to_vec(&subscribe)),
            false => (0x81, subscribe.to_string().into_bytes()),
        };
        let length = u16::try_from(payload.len()).expect("a short message");
        match u8::try_from(length) {
            Ok(length) if length < 126 => bytes.extend([opcode, 0x80 | length]),
            _ => {
                bytes.extend([opcode, 0x80 | 126]);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }
}

/// In virtual time.
pub struct Simulated {
    net: SimNet,
    listener: SimListener,
}

impl Network for Simulated {
    type Driver = SimDriver;
    type Link = SimLink;

    fn new(config: DriverConfig) -> (Self, SimDriver) {
        let net = SimNet::new(1, Faults { socket_buffer_bytes: 8192, ..Faults::none() });
        let driver = net.driver(&config);
        (Self { net, listener: driver.listener() }, driver)
    }

    fn connect(&self) -> SimLink {
        SimLink(self.net.connect(self.listener))
    }

    fn clock(&self) -> Clock {
        self.net.clock()
    }

    fn pass(&self, time: Duration) {
        self.net.clock().advance(time);
    }
}

pub struct SimLink(SimClient);

impl Read for SimLink {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for SimLink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn settings(stats: &Arc<ShardStats>) -> Settings {
    let long = Duration::from_secs(1_000_000);
    Settings {
        sockets_max: SOCKETS_MAX,
        connections_max: SOCKETS_MAX as usize,
        accepts: 256,
        outbox: Limits { messages_max: 64, bytes_max: 1024 * 1024 },
        backlog_bytes_max: usize::MAX,
        send_bytes_max: 8 * 1024,
        message: ws::Limits::default(),
        admission: Admission::default(),
        handshakes: HandshakeLimits::UNLIMITED,
        catch_up: CatchUpLimits::UNLIMITED,
        intake: Intake::UNLIMITED,
        timing: Timing {
            handshake: long,
            // What a heartbeat sends is no delivery.
            heartbeat_interval: Duration::ZERO,
            heartbeat_timeout: long,
            idle: Duration::ZERO,
            message: long,
            write: long,
            close: long,
            end: long,
        },
        retry_after_secs: 5,
        turn_deliveries_max: 1 << 20,
        turn_sends_max: 1 << 20,
        all_stats: vec![Arc::clone(stats)],
    }
}

fn stream_settings() -> StreamSettings {
    let unlimited = Rate::UNLIMITED;
    StreamSettings {
        path: "/ws".to_owned(),
        allowed_origins: Vec::new(),
        epoch: "test".to_owned(),
        history: WindowWriter::new(history::Limits::default()).window(),
        shed_below: Priority::Critical,
        message_bytes_max: 64 * 1024,
        subscriptions_max: 4,
        message_rate: unlimited,
        subscription_rate: unlimited,
        frame_rate: unlimited,
        byte_rate: unlimited,
        heartbeat_interval: Duration::from_secs(30),
    }
}

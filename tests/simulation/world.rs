//! A shard on a simulated network, stepped by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alarmcast::base::clock::{Clock, Instant};
use alarmcast::event::{Priority, Publish};
use alarmcast::io::sim::{Faults, SimDriver, SimListener, SimNet};
use alarmcast::io::{Driver, DriverConfig, Waker};
use alarmcast::protocol::Encoded;
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::session::rate::Rate;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{
    Admission, CatchUpLimits, Handle, Handler, HandshakeLimits, Inbox, Intake, Links, Request,
    Settings, Shard, StreamHandler, StreamSettings,
};
use alarmcast::stream::history::{self, History, WindowWriter};
use alarmcast::stream::{Sequenced, Sequencer};
use alarmcast::ws;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::client::{Client, request};

pub const SUBSCRIPTIONS_MAX: usize = 4;

/// What a world is built with.
pub struct Plan {
    pub seed: u64,
    pub faults: Faults,
    pub settings: Settings,
    pub inbox_events_max: usize,
    pub message_rate: Rate,
    pub subscription_rate: Rate,
    pub history: history::Limits,
    pub shed_below: Priority,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Faults::none(),
            settings: settings(),
            inbox_events_max: 4096,
            message_rate: Rate::UNLIMITED,
            subscription_rate: Rate::UNLIMITED,
            history: history::Limits::default(),
            shed_below: Priority::Critical,
        }
    }

    pub fn build(self) -> World<StreamHandler> {
        self.build_with(StreamHandler::new)
    }

    pub fn build_with<H: Handler>(
        self,
        handler: impl FnOnce(StreamSettings, Clock, Arc<ShardStats>) -> H,
    ) -> World<H> {
        let Self { seed, faults, mut settings, inbox_events_max, history, .. } = self;
        let history = WindowWriter::new(history);
        let stream = StreamSettings {
            message_rate: self.message_rate,
            subscription_rate: self.subscription_rate,
            shed_below: self.shed_below,
            ..stream_settings("sim", history.window())
        };
        let net = SimNet::new(seed, faults);
        let config = DriverConfig {
            sockets_max: settings.sockets_max,
            accepts: settings.accepts as usize,
            recv_buffers: 16,
            recv_buffer_bytes: 1024,
            ..DriverConfig::default()
        };
        let driver = net.driver(&config);
        let listener = driver.listener();
        let stats = Arc::new(ShardStats::default());
        settings.all_stats = vec![Arc::clone(&stats)];
        let inbox = Arc::new(Inbox::new(inbox_events_max));
        let handle = Handle::new(0, "sim", Arc::clone(&stats), Arc::clone(&inbox), driver.waker());
        let hub_wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&hub_wakes);
        let hub = Waker::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let handler = handler(stream, net.clock(), Arc::clone(&stats));
        let links = Links { inbox, stats: Arc::clone(&stats), hub: hub.clone() };
        let shard = Shard::new(driver, handler, net.clock(), settings, links);
        let sequencer = Sequencer::new("sim".to_owned());
        World {
            net,
            listener,
            shard,
            handle,
            stats,
            hub,
            hub_wakes,
            sequencer,
            history,
            is_running: true,
        }
    }
}

pub fn settings() -> Settings {
    Settings {
        backlog_bytes_max: usize::MAX,
        sockets_max: 64,
        connections_max: 48,
        admission: Admission::default(),
        handshakes: HandshakeLimits::UNLIMITED,
        catch_up: CatchUpLimits::UNLIMITED,
        accepts: 4,
        outbox: Limits { messages_max: 1000, bytes_max: 1024 * 1024 },
        send_bytes_max: 8 * 1024,
        message: ws::Limits { message_bytes_max: 16 * 1024, fragments_max: 16 },
        intake: Intake::UNLIMITED,
        timing: Timing {
            handshake: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            message: Duration::from_secs(20),
            write: Duration::from_secs(10),
            close: Duration::from_secs(5),
            end: Duration::from_secs(1),
        },
        retry_after_secs: 5,
        turn_deliveries_max: 65_536,
        turn_sends_max: 2_048,
        all_stats: Vec::new(),
    }
}

pub fn stream_settings(epoch: &str, history: Arc<dyn History>) -> StreamSettings {
    let unlimited = Rate::UNLIMITED;
    StreamSettings {
        path: "/ws".to_owned(),
        allowed_origins: Vec::new(),
        epoch: epoch.to_owned(),
        history,
        shed_below: Priority::Critical,
        message_bytes_max: 16 * 1024,
        subscriptions_max: SUBSCRIPTIONS_MAX,
        message_rate: unlimited,
        subscription_rate: unlimited,
        frame_rate: unlimited,
        byte_rate: unlimited,
        heartbeat_interval: Duration::from_secs(30),
    }
}

pub struct World<H> {
    pub net: SimNet,
    listener: SimListener,
    pub shard: Shard<SimDriver, H>,
    pub handle: Handle,
    pub stats: Arc<ShardStats>,
    pub hub: Waker,
    pub hub_wakes: Arc<AtomicUsize>,
    sequencer: Sequencer,
    history: WindowWriter,
    /// The shard has not ended.
    pub is_running: bool,
}

impl<H: Handler> World<H> {
    pub fn now(&self) -> Instant {
        self.net.clock().now()
    }

    /// A connection on which nothing was said yet.
    pub fn connect(&self) -> Client {
        Client::new(self.net.connect(self.listener))
    }

    /// A connection from this address on which nothing was said yet.
    pub fn connect_from(&self, address: &str) -> Client {
        let address = address.parse().expect("an address");
        Client::new(self.net.connect_from(self.listener, Some(address)))
    }

    /// A connection with its request sent.
    pub fn knock(&self) -> Client {
        let mut client = self.connect();
        client.send_raw(request("/ws").as_bytes());
        client
    }

    /// An open connection.
    pub fn join(&mut self) -> Client {
        let mut client = self.knock();
        self.settle(&mut [&mut client]);
        assert_eq!(client.status(), Some(101));
        assert_eq!(client.count("welcome"), 1);
        client
    }

    /// An open connection with one subscription.
    pub fn join_subscribed(&mut self, filters: serde_json::Value) -> Client {
        let mut client = self.join();
        client.subscribe("all", filters);
        self.settle(&mut [&mut client]);
        assert_eq!(client.count("subscribed"), 1);
        client
    }

    pub fn sequence(&mut self, publish: Publish) -> Arc<Encoded> {
        let clock = self.net.clock();
        let id = Uuid::from_u128(u128::from(self.sequencer.newest()) + 1);
        match self.sequencer.sequence(publish, clock.now(), clock.wall(), id) {
            Sequenced::New(event) => {
                let event = Arc::new(Encoded::new(*event));
                self.history.push(Arc::clone(&event));
                event
            }
            Sequenced::Duplicate { .. } => panic!("no keys are used"),
        }
    }

    /// Puts an event into the inbox; its sequence number.
    pub fn publish(&mut self, publish: Publish) -> u64 {
        let event = self.sequence(publish);
        let seq = event.event.seq;
        assert!(self.handle.push_event(event).is_ok(), "the inbox has room");
        self.handle.set_complete_to(seq);
        self.handle.wake();
        seq
    }

    pub fn drain(&self, timeout: Duration) {
        self.drain_over(Duration::ZERO, timeout);
    }

    pub fn drain_over(&self, window: Duration, timeout: Duration) {
        let deadline = self.now() + timeout;
        self.handle.request(Request::Drain { window, deadline }).expect("room for a request");
    }

    /// One turn in which no time passes: a request that waits keeps the shard from waiting.
    pub fn turn(&mut self) {
        if self.is_running {
            let (answer, _) = oneshot::channel();
            let _ = self.handle.request(Request::Histograms(answer));
            self.turn_freely();
        }
    }

    /// One turn that may let time pass to whatever comes next.
    pub fn turn_freely(&mut self) {
        if self.is_running {
            self.is_running = self.shard.turn().expect("the driver goes on");
            self.shard.invariants();
        }
    }

    /// Turns and reads until nothing more happens without time passing.
    pub fn settle(&mut self, clients: &mut [&mut Client]) {
        for _ in 0..12 {
            self.turn();
            clients.iter_mut().for_each(|client| client.pump());
        }
    }

    /// Lets so much time pass, in steps, while the clients do their part.
    pub fn pass(&mut self, time: Duration, clients: &mut [&mut Client]) {
        const STEP: Duration = Duration::from_millis(50);
        let until = self.now() + time;
        while self.now() < until {
            self.net.clock().advance(STEP.min(until.since(self.now())));
            for _ in 0..2 {
                self.turn();
                clients.iter_mut().for_each(|client| client.pump());
            }
        }
    }

    /// Lets time pass until everything of the connections is gone, and checks that it is.
    pub fn end(&mut self, limit: Duration, clients: &mut [&mut Client]) {
        let until = self.now() + limit;
        while !self.shard.is_idle() && self.now() < until {
            self.pass(Duration::from_millis(50), clients);
        }
        self.shard.invariants();
        assert!(self.shard.is_idle(), "something is left: {:?}", self.stats);
        assert_eq!(self.stats.subscriptions_active.get(), 0);
        assert_eq!(self.stats.connections_active.get(), 0);
        assert_eq!(self.stats.sockets_active.get(), 0);
        assert_eq!(self.stats.outbox_bytes.get(), 0);
    }
}

//! One of two real shards is stuck in the handler of a message: it is named, the other goes on,
//! and it is forgotten once it turns again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use alarmcast::base::clock::{Clock, Instant};
use alarmcast::base::lifecycle::{Lifecycle, Stage};
use alarmcast::base::slab::Key;
use alarmcast::config::Config;
use alarmcast::control;
use alarmcast::hub::{DrainPlan, Hub, HubSettings};
use alarmcast::io::{Driver, DriverConfig, EpollDriver, UringDriver, Waker};
use alarmcast::protocol::{Encoded, Encoding};
use alarmcast::queue;
use alarmcast::session::Timing;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{
    Admission, CatchUpLimits, Close, Handle, Handler, HandshakeLimits, Inbox, Intake, Links,
    Message, Replies, Settings, Shard,
};
use alarmcast::stream::history;
use alarmcast::ws::{self, Refusal, Request, frame};
use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::plane::{Answer, Plane, read, refused, serve};

/// Echoes; at `stop` it waits until it is told to go on, and its shard with it.
struct Obedient {
    stopped: SyncSender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Handler for Obedient {
    fn admit(&mut self, _key: Key, _request: &Request) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    fn opened(&mut self, _key: Key, _id: Uuid, _now: Instant, _replies: &mut Replies) {}

    fn message(&mut self, _key: Key, message: Message<'_>, _now: Instant, replies: &mut Replies) {
        const TEXT: u8 = 0x1;
        let Message::Text(text) = message else { return };
        match text {
            "stop" => {
                self.stopped.send(()).expect("awaited");
                self.go_on.lock().expect("no panic").recv().expect("told in the end");
            }
            "panic" => panic!("as it was told"),
            _ => {}
        }
        replies.send(Bytes::from(frame::frame(TEXT.into(), text.as_bytes())));
    }

    fn closed(&mut self, _key: Key) {}

    fn closing(&mut self, _key: Key, _close: &Close, _after: Option<u64>) -> Option<Bytes> {
        None
    }

    fn matching(&mut self, _event: &Arc<Encoded>, _slots: &mut Vec<u32>) {}

    fn encoding(&self, _slot: u32) -> Encoding {
        Encoding::default()
    }

    fn interested(&self) -> usize {
        0
    }
}

struct Pair {
    control: SocketAddr,
    /// One for each shard.
    streams: Vec<SocketAddr>,
    stopped: Receiver<()>,
    go_on: SyncSender<()>,
    handles: Vec<Handle>,
    lifecycle: Lifecycle,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

fn settings(all_stats: Vec<Arc<ShardStats>>) -> Settings {
    let long = Duration::from_secs(300);
    Settings {
        sockets_max: 16,
        connections_max: 16,
        admission: Admission::default(),
        accepts: 2,
        handshakes: HandshakeLimits::UNLIMITED,
        catch_up: CatchUpLimits::UNLIMITED,
        outbox: queue::Limits { messages_max: 100, bytes_max: 100_000 },
        backlog_bytes_max: 1_000_000,
        send_bytes_max: 10_000,
        message: ws::Limits { message_bytes_max: 1_000, fragments_max: 10 },
        intake: Intake::UNLIMITED,
        timing: Timing {
            handshake: long,
            heartbeat_interval: long,
            heartbeat_timeout: long,
            idle: long,
            message: long,
            write: long,
            close: Duration::from_secs(1),
            end: Duration::from_secs(1),
        },
        retry_after_secs: 1,
        turn_deliveries_max: 1_000,
        turn_sends_max: 100,
        all_stats,
    }
}

/// Two shards with a listener each, on drivers that `make` makes.
fn pair<D: Driver + 'static>(make: fn(TcpListener) -> D) -> Pair {
    let lifecycle = Lifecycle::new();
    let hub_settings = HubSettings {
        epoch: "test".into(),
        ingest_events_max: 10,
        history: history::Limits::default(),
        drain: DrainPlan { window: Duration::ZERO, timeout: Duration::from_secs(1) },
    };
    let hub = Hub::new(hub_settings, lifecycle.clone(), Clock::System);
    let (stopped, is_stopped) = sync_channel(1);
    let (go_on, goes_on) = sync_channel(1);
    let goes_on = Arc::new(Mutex::new(goes_on));
    let all_stats: Vec<Arc<ShardStats>> = (0..2).map(|_| Arc::default()).collect();
    let (mut handles, mut streams, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        streams.push(listener.local_addr().expect("bound"));
        let handler = Obedient { stopped: stopped.clone(), go_on: Arc::clone(&goes_on) };
        let (born, birth) = sync_channel(1);
        let (settings, hub) = (settings(all_stats.clone()), hub.waker());
        threads.push(thread::spawn(move || {
            run_shard(index, make(listener), handler, settings, hub, &born);
        }));
        handles.push(birth.recv().expect("a shard"));
    }
    let context = control::Context {
        publisher: hub.publisher(),
        drainer: hub.drainer(),
        history: hub.history(),
        epoch: "test".into(),
        shards: handles.clone(),
        lifecycle: lifecycle.clone(),
        clock: Clock::System,
        config: Arc::new(Config::default()),
        driver: "sim",
        driver_fallback_reason: None,
    };
    let (stop, stops) = oneshot::channel();
    let (control, server) = serve(context, stops);
    threads.push(server);
    lifecycle.advance(Stage::Serving);
    let (stopped, stop) = (is_stopped, Some(stop));
    Pair { control, streams, stopped, go_on, handles, lifecycle, stop, threads }
}

fn run_shard<D: Driver>(
    index: usize,
    driver: D,
    handler: Obedient,
    settings: Settings,
    hub: Waker,
    born: &SyncSender<Handle>,
) {
    let stats = Arc::clone(&settings.all_stats[index]);
    let inbox = Arc::new(Inbox::new(16));
    let waker = driver.waker();
    born.send(Handle::new(index, "test", Arc::clone(&stats), Arc::clone(&inbox), waker))
        .expect("awaited");
    let links = Links { inbox, stats, hub };
    Shard::new(driver, handler, Clock::System, settings, links).run().expect("a useful driver");
}

impl Pair {
    fn get(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.control);
        read(Plane::agent().get(&url).call().expect("answered"))
    }

    fn await_ready(&self, status: u16) -> Answer {
        loop {
            let ready = self.get("/health/ready");
            if ready.status == status {
                return ready;
            }
            thread::yield_now();
        }
    }

    fn assert_metric(&self, line: &str) {
        let metrics = self.get("/metrics").text;
        assert!(metrics.contains(&format!("\n{line}\n")), "{line} is not in\n{metrics}");
    }

    fn connect(&self, shard: usize) -> Echoing {
        let mut stream = TcpStream::connect(self.streams[shard]).expect("it listens");
        let request = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        Echoing(stream)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // One that still waits would never end.
        let _ = self.go_on.try_send(());
        self.handles.iter().for_each(Handle::force);
        self.lifecycle.advance(Stage::Stopped);
        let _ = self.stop.take().map(|stop| stop.send(()));
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || thread::panicking());
        }
    }
}

struct Echoing(TcpStream);

impl Echoing {
    fn say(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).expect("sent");
    }

    fn hear(&mut self, text: &str) {
        let mut frame = vec![0; 2 + text.len()];
        self.0.read_exact(&mut frame).expect("an echo");
        assert_eq!(frame[2..], *text.as_bytes());
    }
}

fn is_told_and_forgotten(pair: &Pair) {
    let (mut unlucky, mut other) = (pair.connect(1), pair.connect(0));
    pair.await_ready(200);
    unlucky.say("stop");
    pair.stopped.recv().expect("it stops");
    let ready = pair.await_ready(503);
    assert_eq!(ready.json()["reason"], "shard 1 is stalled: its thread does not turn");
    assert_eq!(pair.get("/health/live").status, 200);
    pair.assert_metric("alarmcast_shard_stalled{shard=\"0\"} 0");
    pair.assert_metric("alarmcast_shard_stalled{shard=\"1\"} 1");
    pair.assert_metric("alarmcast_shard_stalls_total{shard=\"1\"} 1");
    other.say("still here");
    other.hear("still here");
    // What the shard alone knows is not made up.
    let of_0 = pair.get("/api/v1/connections?shard=0").json();
    assert_eq!(of_0["connections"].as_array().map(Vec::len), Some(1), "{of_0}");
    let stranger = "/api/v1/connections/019ca8e1-9f40-7000-8000-0000000000aa";
    refused(&pair.get(stranger), 503, "UNAVAILABLE");
    pair.go_on.send(()).expect("awaited");
    unlucky.hear("stop");
    pair.await_ready(200);
    pair.assert_metric("alarmcast_shard_stalled{shard=\"1\"} 0");
    pair.assert_metric("alarmcast_shard_stalls_total{shard=\"1\"} 1");
    pair.assert_metric("alarmcast_shard_stalls_total{shard=\"0\"} 0");
    refused(&pair.get(stranger), 404, "NOT_FOUND");
}

fn config() -> DriverConfig {
    DriverConfig { sockets_max: 16, accepts: 2, ..DriverConfig::default() }
}

#[test]
fn a_stalled_shard_on_epoll_is_named_while_the_other_goes_on() {
    let driver = |listener| EpollDriver::new(&config(), listener).expect("a driver");
    is_told_and_forgotten(&pair(driver));
}

#[test]
fn a_stalled_shard_on_io_uring_is_named_while_the_other_goes_on() {
    // Where the kernel refuses it, no server runs on it.
    if alarmcast::io::probe_uring().is_err() {
        let is_known = std::env::var_os("ALARMCAST_TEST_NO_URING");
        assert!(is_known.is_some_and(|value| value == "1"), "io_uring is refused");
        return;
    }
    let driver = |listener| UringDriver::new(&config(), listener).expect("a driver");
    is_told_and_forgotten(&pair(driver));
}

#[test]
fn a_shard_that_has_ended_is_neither_stalled_nor_asked() {
    let pair = pair(|listener| EpollDriver::new(&config(), listener).expect("a driver"));
    pair.handles[1].force();
    while !pair.handles[1].has_ended() {
        thread::yield_now();
    }
    let mut last = pair.connect(0);
    let page = pair.get("/api/v1/connections");
    assert_eq!((page.status, page.json()["connections"].as_array().map(Vec::len)), (200, Some(1)));
    let stranger = "/api/v1/connections/019ca8e1-9f40-7000-8000-0000000000aa";
    refused(&pair.get(stranger), 404, "NOT_FOUND");
    // It would be found to be stalled before the other one is.
    last.say("stop");
    pair.stopped.recv().expect("it stops");
    let ready = pair.await_ready(503);
    assert_eq!(ready.json()["reason"], "shard 0 is stalled: its thread does not turn");
    pair.assert_metric("alarmcast_shard_stalls_total{shard=\"1\"} 0");
    pair.go_on.send(()).expect("awaited");
    pair.await_ready(200);
}

#[test]
fn a_panic_of_one_handler_is_counted_and_its_connection_is_gone_from_the_list() {
    let pair = pair(|listener| EpollDriver::new(&config(), listener).expect("a driver"));
    let (mut unlucky, mut other) = (pair.connect(0), pair.connect(0));
    other.say("a");
    other.hear("a");
    let listed = || {
        let page = pair.get("/api/v1/connections").json();
        page["connections"].as_array().expect("a list").clone()
    };
    assert_eq!(listed().len(), 2);
    unlucky.say("panic");
    let mut rest = Vec::new();
    unlucky.0.read_to_end(&mut rest).expect("the server ends it");
    assert_eq!(rest[2..4], 1011_u16.to_be_bytes(), "{rest:?}");
    pair.assert_metric("alarmcast_handler_panics_total 1");
    pair.assert_metric("websocket_connection_errors_total{reason=\"handler_panic\"} 1");
    drop(unlucky);
    while listed().len() > 1 {
        thread::yield_now();
    }
    assert_eq!(listed()[0]["state"], "open");
    other.say("b");
    other.hear("b");
}

//! A shard on a driver that takes everything at once, so that nothing but the shard costs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alarmcast::base::buffers::RecvPool;
use alarmcast::base::clock::{Clock, Instant};
use alarmcast::event::{Event, Priority, Publish};
use alarmcast::io::{Completion, Completions, Driver, Op, Outcome, Socket, Token, Waker};
use alarmcast::protocol::{Encoded, Encoding, parse_item};
use alarmcast::queue::Limits;
use alarmcast::session::Timing;
use alarmcast::session::rate::Rate;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{
    Admission, CatchUpLimits, Handle, HandshakeLimits, Inbox, Intake, Links, Settings, Shard,
    StreamHandler, StreamSettings,
};
use alarmcast::stream::history::{self, WindowWriter};
use alarmcast::ws;
use serde_json::json;

/// Takes every send at once; each of its sockets upgrades, subscribes to everything, and is
/// silent from then on.
pub struct NullDriver {
    waker: Waker,
    pool: RecvPool,
    done: Completions,
    sockets: u32,
    sockets_max: u32,
}

impl NullDriver {
    fn new(sockets_max: u32) -> Self {
        let (waker, pool) = (Waker::new(|| {}), RecvPool::new(1024, 4096));
        Self { waker, pool, done: Completions::new(), sockets: 0, sockets_max }
    }

    fn complete(&mut self, op: Op) -> Option<Outcome> {
        match op {
            Op::Accept if self.sockets == self.sockets_max => None,
            Op::Accept => {
                self.sockets += 1;
                let peer = SocketAddr::from(([127, 0, 0, 1], 1));
                Some(Outcome::Accepted { socket: Socket(self.sockets - 1), peer })
            }
            Op::Recv(_) => {
                let said = hello();
                let bytes = self.pool.fill(|buffer| {
                    buffer[..said.len()].copy_from_slice(&said);
                    Ok(said.len())
                });
                Some(Outcome::Received { bytes: bytes.expect("a free buffer"), more: true })
            }
            Op::Send(_, mut buf) => {
                let count = buf.remaining().len();
                buf.advance(count);
                Some(Outcome::Sent { buf, count })
            }
            Op::Shutdown(..) => Some(Outcome::ShutDown),
            Op::Close(_) => Some(Outcome::Closed),
        }
    }
}

impl Driver for NullDriver {
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op> {
        let outcome = self.complete(op);
        self.done.extend(outcome.map(|outcome| Completion { token, outcome }));
        Ok(())
    }

    fn cancel(&mut self, _token: Token) {}

    fn submit(&mut self) {}

    fn submit_and_wait(
        &mut self,
        _deadline: Option<Instant>,
        completions: &mut Completions,
    ) -> io::Result<()> {
        completions.append(&mut self.done);
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// An upgrade request and a subscription to everything, masked with zeros.
fn hello() -> Vec<u8> {
    let subscribe = json!({"type": "subscribe", "subscription_id": "a", "filters": {}}).to_string();
    let length = u8::try_from(subscribe.len()).expect("a short message");
    assert!(length < 126);
    let mut bytes = b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    bytes.extend([0x81, 0x80 | length, 0, 0, 0, 0]);
    bytes.extend(subscribe.as_bytes());
    bytes
}

fn settings(stats: &Arc<ShardStats>) -> Settings {
    let long = Duration::from_secs(3600);
    Settings {
        backlog_bytes_max: usize::MAX,
        sockets_max: 2000,
        connections_max: 2000,
        admission: Admission::default(),
        handshakes: HandshakeLimits::UNLIMITED,
        catch_up: CatchUpLimits::UNLIMITED,
        accepts: 16,
        outbox: Limits { messages_max: 1000, bytes_max: 4 << 20 },
        send_bytes_max: 32 * 1024,
        message: ws::Limits::default(),
        intake: Intake::UNLIMITED,
        timing: Timing {
            handshake: long,
            heartbeat_interval: long,
            heartbeat_timeout: long,
            idle: long,
            message: long,
            write: long,
            close: long,
            end: long,
        },
        retry_after_secs: 5,
        turn_deliveries_max: 65_536,
        turn_sends_max: 2_048,
        all_stats: vec![Arc::clone(stats)],
    }
}

/// A shard with so many subscribers, and the way into its inbox.
pub fn shard(subscribers: u32) -> (Shard<NullDriver, StreamHandler>, Handle) {
    let driver = NullDriver::new(subscribers);
    let stats = Arc::new(ShardStats::default());
    let inbox = Arc::new(Inbox::new(1024));
    let waker = driver.waker();
    let handle = Handle::new(0, "null", Arc::clone(&stats), Arc::clone(&inbox), waker);
    let clock = Clock::manual();
    let unlimited = Rate { per_second: 0, burst: 0 };
    let stream = StreamSettings {
        path: "/ws".to_owned(),
        allowed_origins: Vec::new(),
        epoch: "bench".to_owned(),
        history: WindowWriter::new(history::Limits::default()).window(),
        shed_below: Priority::Critical,
        message_bytes_max: 64 * 1024,
        subscriptions_max: 1,
        message_rate: unlimited,
        subscription_rate: unlimited,
        frame_rate: unlimited,
        byte_rate: unlimited,
        heartbeat_interval: Duration::from_secs(30),
    };
    let handler = StreamHandler::new(stream, clock.clone(), Arc::clone(&stats));
    let links = Links { inbox, stats: Arc::clone(&stats), hub: Waker::new(|| {}) };
    let mut shard = Shard::new(driver, handler, clock, settings(&stats), links);
    while stats.subscriptions_active.get() < u64::from(subscribers) {
        shard.turn().expect("the driver goes on");
    }
    // What they were answered goes out.
    (0..4).for_each(|_| drop(shard.turn()));
    (shard, handle)
}

pub fn event() -> Arc<Encoded> {
    let item = json!({"event_type": "incident_created", "incident": {
        "id": "019ca8e1-9f40-7000-8000-0000000000aa", "severity": "P1", "source": "prometheus",
        "title": "Checkout is slow", "description": "p99 above 2 s for 5 minutes. ".repeat(12),
    }});
    let publish = parse_item(item, jiff::Timestamp::UNIX_EPOCH);
    let Ok(Publish { payload, .. }) = publish else { panic!("an event") };
    let event = Encoded::new(Event {
        seq: 1,
        message_id: uuid::Uuid::from_u128(1),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        priority: payload.priority(),
        context: payload.own_context(),
        payload,
        accepted_at: Instant::default(),
    });
    event.frame(Encoding::Json);
    Arc::new(event)
}

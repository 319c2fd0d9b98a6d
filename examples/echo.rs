//! An echo server on the shard loop: what the WebSocket conformance tests run against.
//!
//! ```sh
//! cargo run --release --example echo -- --listen 127.0.0.1:9001 --driver uring
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alarmcast::base::clock::{Clock, Instant};
use alarmcast::base::slab::Key;
use alarmcast::io::epoll::EpollDriver;
use alarmcast::io::socket::{ListenOptions, listen};
use alarmcast::io::uring::UringDriver;
use alarmcast::io::{Driver, DriverChoice, DriverConfig, Waker};
use alarmcast::protocol::{Encoded, Encoding};
use alarmcast::queue;
use alarmcast::session::Timing;
use alarmcast::shard::stats::ShardStats;
use alarmcast::shard::{
    Admission, CatchUpLimits, Close, Handler, HandshakeLimits, Inbox, Intake, Links, Message,
    Replies, Settings, Shard,
};
use alarmcast::ws;
use alarmcast::ws::frame::{BINARY, TEXT, frame};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use clap::Parser;
use uuid::Uuid;

/// Sends every WebSocket message back.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// auto, uring or epoll.
    #[arg(long, default_value = "auto")]
    driver: DriverChoice,
}

struct Echo;

impl Handler for Echo {
    fn admit(&mut self, _key: Key, _request: &Request) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    fn opened(&mut self, _key: Key, _id: Uuid, _now: Instant, _replies: &mut Replies) {}

    fn message(&mut self, _key: Key, message: Message<'_>, _now: Instant, replies: &mut Replies) {
        let echoed = match message {
            Message::Text(text) => frame(TEXT, text.as_bytes()),
            Message::Binary(bytes) => frame(BINARY, bytes),
        };
        replies.send(Bytes::from(echoed));
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

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let listener = listen(arguments.listen, &ListenOptions::default())?;
    println!("listening on ws://{}", listener.local_addr()?);
    let use_uring = match arguments.driver {
        DriverChoice::Uring => true,
        DriverChoice::Epoll => false,
        DriverChoice::Auto => alarmcast::io::probe_uring().is_ok(),
    };
    let config = DriverConfig { sockets_max: 1024, ..DriverConfig::default() };
    if use_uring {
        serve(UringDriver::new(&config, listener)?, &config)
    } else {
        serve(EpollDriver::new(&config, listener)?, &config)
    }
}

fn serve<D: Driver>(driver: D, config: &DriverConfig) -> Result<(), Box<dyn Error>> {
    let stats = Arc::new(ShardStats::default());
    let links =
        Links { inbox: Arc::new(Inbox::new(1)), stats: Arc::clone(&stats), hub: Waker::new(|| {}) };
    Shard::new(driver, Echo, Clock::System, settings(config, stats), links).run()?;
    Ok(())
}

/// Generous limits: the conformance tests send messages of 16 MiB, and echo does not drop.
fn settings(config: &DriverConfig, stats: Arc<ShardStats>) -> Settings {
    const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
    let minute = Duration::from_secs(60);
    Settings {
        admission: Admission::default(),
        handshakes: HandshakeLimits::UNLIMITED,
        catch_up: CatchUpLimits::UNLIMITED,
        sockets_max: config.sockets_max,
        connections_max: config.sockets_max as usize - 64,
        accepts: config.accepts as u32,
        outbox: queue::Limits { messages_max: 1 << 20, bytes_max: 4 * MESSAGE_BYTES_MAX },
        backlog_bytes_max: usize::MAX,
        send_bytes_max: 64 * 1024,
        message: ws::Limits { message_bytes_max: MESSAGE_BYTES_MAX, fragments_max: 1 << 20 },
        intake: Intake::UNLIMITED,
        timing: Timing {
            handshake: Duration::from_secs(10),
            heartbeat_interval: minute,
            heartbeat_timeout: minute,
            idle: Duration::ZERO,
            message: minute,
            write: minute,
            close: Duration::from_secs(5),
            end: Duration::from_secs(1),
        },
        retry_after_secs: 1,
        turn_deliveries_max: 1,
        turn_sends_max: 1024,
        all_stats: vec![stats],
    }
}

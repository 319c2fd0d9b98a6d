//! Builds a server's threads and ties them together.

use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::watch;
use uuid::Uuid;

use crate::base::clock::Clock;
use crate::base::lifecycle::{Lifecycle, Stage};
use crate::base::limits;
use crate::config::{self, Config, ProxyProtocol, ShedBelow};
use crate::control;
use crate::event::Priority;
use crate::hub::{DrainPlan, Hub, HubSettings};
use crate::io::epoll::EpollDriver;
use crate::io::socket::{ListenOptions, listen_together};
use crate::io::uring::UringDriver;
use crate::io::{Driver, DriverConfig, Waker};
use crate::queue;
use crate::server::capacity::sockets_max;
use crate::server::driver::{Decision, DriverName, decide};
use crate::server::handlers::Publishing;
use crate::server::{Error, Server, Stopper};
use crate::session::Timing;
use crate::session::rate::Rate;
use crate::shard::stats::ShardStats;
use crate::shard::{
    AddressLimits, AddressQuota, Admission, CatchUpLimits, Handle, HandshakeLimits, Inbox, Intake,
    Links, Settings, Shard, StreamHandler, StreamSettings,
};
use crate::stream::history;
use crate::ws;

/// What to join in the end, by what it is.
pub(super) type Threads = Vec<(&'static str, JoinHandle<()>)>;

/// How a shard's thread ended.
#[derive(Debug)]
pub(super) struct ShardEnd {
    pub index: usize,
    pub result: io::Result<()>,
}

/// Starts everything, in the order in which it depends on each other.
pub(super) fn start(config: Arc<Config>, clock: Clock) -> Result<Server, Error> {
    let decision = decide(config.server.driver)?;
    let cores = core_ids();
    let shard_count = match config.server.shards {
        0 => cores.len().max(1),
        count => count,
    };
    let listeners = listen(&config, shard_count)?;
    let stream_addr = local_addr(&listeners[0], "stream")?;
    let control_listener = TcpListener::bind(config.control.listen)
        .map_err(|error| Error::Listen { what: "control", addr: config.control.listen, error })?;
    let control_addr = local_addr(&control_listener, "control")?;

    let lifecycle = Lifecycle::new();
    let epoch = epoch(&clock);
    let hub = Hub::new(hub_settings(&config, &epoch), lifecycle.clone(), clock.clone());
    let (history, drainer) = (hub.history(), hub.drainer());
    let stream = stream_settings(&config, epoch.clone(), history.clone());
    let plan = ShardPlan::new(&config, &decision, &clock, stream, shard_count, hub.waker());
    let (ended, shard_ends) = bounded(shard_count);
    let (shards, mut threads) = plan.spawn_all(listeners, &cores, &ended)?;

    let publisher = hub.publisher();
    let (control_stop, control_stopped) = watch::channel(false);
    let stopper =
        Stopper::new(lifecycle.clone(), drainer.clone(), hub.waker(), shards.clone(), control_stop);
    let context = control::Context {
        publisher: publisher.clone(),
        drainer,
        history,
        epoch,
        shards: shards.clone(),
        lifecycle: lifecycle.clone(),
        clock: clock.clone(),
        config,
        driver: decision.name.as_str(),
        driver_fallback_reason: decision.fallback_reason,
    };
    let (hub_shards, hub_stopper) = (shards.clone(), stopper.clone());
    let run_hub = move || {
        let result = unpanicked(|| {
            hub.run(hub_shards);
            Ok(())
        });
        result.unwrap_or_else(|error| {
            // Shards without a hub would serve clients that never hear anything again.
            hub_stopper.force();
            panic!("{error}");
        });
    };
    threads.push(("hub", spawn("hub", run_hub)?));
    let control =
        spawn("control", move || serve_control(control_listener, context, control_stopped))?;
    lifecycle.advance(Stage::Serving);
    Ok(Server {
        stream_addr,
        control_addr,
        driver: decision.name,
        publishing: Publishing::new(publisher, clock),
        shards,
        stopper,
        shard_ends,
        threads,
        control: Some(control),
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(Error::Thread)
}

/// What `body` comes to, its panic being a failure like others: the thread has something to
/// tell before it ends. The panic itself was reported by the hook.
fn unpanicked<T>(body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // Nothing that the body owned is looked at afterwards.
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(io::Error::other("panicked; this is a bug")))
}

fn listen(config: &Config, shard_count: usize) -> Result<Vec<TcpListener>, Error> {
    let options = ListenOptions {
        listen_backlog: u16::try_from(config.limits.listen_backlog).unwrap_or(u16::MAX),
        ..ListenOptions::default()
    };
    let addr = config.stream.listen;
    listen_together(addr, shard_count, &options).map_err(|error| Error::Listen {
        what: "stream",
        addr,
        error,
    })
}

fn local_addr(listener: &TcpListener, what: &'static str) -> Result<std::net::SocketAddr, Error> {
    let unknown = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|error| Error::Listen { what, addr: unknown, error })
}

/// Identity of this process's sequence: when it began, and something random.
fn epoch(clock: &Clock) -> String {
    let seconds = clock.wall().as_second();
    let random = Uuid::new_v4().simple().to_string();
    format!("{seconds:x}-{}", &random[..8])
}

fn serve_control(
    listener: TcpListener,
    context: control::Context,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stop = async move {
            // A server that was dropped has ended as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        control::serve(listener, context, stop).await
    })
}

/// The cores that this process may use.
fn core_ids() -> Vec<usize> {
    let this_thread = nix::unistd::Pid::from_raw(0);
    let Ok(allowed) = nix::sched::sched_getaffinity(this_thread) else { return Vec::new() };
    (0..nix::sched::CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect()
}

fn pin_to(core: usize) {
    let mut cores = nix::sched::CpuSet::new();
    let pinned = cores
        .set(core)
        .and_then(|()| nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cores));
    if let Err(error) = pinned {
        tracing::warn!(core, %error, "a shard could not be pinned to its core");
    }
}

/// Everything that the shards have in common.
struct ShardPlan {
    driver: DriverName,
    driver_config: DriverConfig,
    clock: Clock,
    settings: Settings,
    stream: StreamSettings,
    inbox_events_max: usize,
    hub: Waker,
    pin: bool,
}

impl ShardPlan {
    fn new(
        config: &Config,
        decision: &Decision,
        clock: &Clock,
        stream: StreamSettings,
        shard_count: usize,
        hub: Waker,
    ) -> Self {
        let descriptors_max = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let sockets_max =
            sockets_max(config.limits.connections_max, decision.name, shard_count, descriptors_max);
        let driver_config =
            DriverConfig { clock: clock.clone(), sockets_max, ..DriverConfig::default() };
        let all_stats = (0..shard_count).map(|_| Arc::new(ShardStats::default())).collect();
        Self {
            driver: decision.name,
            settings: shard_settings(config, &driver_config, all_stats),
            driver_config,
            clock: clock.clone(),
            stream,
            inbox_events_max: config.hub.inbox_events_max,
            hub,
            pin: config.server.pin,
        }
    }

    fn spawn_all(
        self,
        listeners: Vec<TcpListener>,
        cores: &[usize],
        ended: &Sender<ShardEnd>,
    ) -> Result<(Vec<Handle>, Threads), Error> {
        let plan = Arc::new(self);
        let mut shards = Vec::new();
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let core = cores.get(index % cores.len().max(1)).copied().filter(|_| plan.pin);
            let (born, birth) = bounded(1);
            let (plan, ended) = (Arc::clone(&plan), ended.clone());
            let thread = spawn(&format!("shard-{index}"), move || {
                if let Some(core) = core {
                    pin_to(core);
                }
                let result = unpanicked(|| plan.run(index, listener, &born));
                // The server may have given up on its shards already.
                let _ = ended.send(ShardEnd { index, result });
            })?;
            threads.push(("a shard", thread));
            match await_birth(index, &birth) {
                Ok(handle) => shards.push(handle),
                Err(error) => {
                    // Those that live already would serve on without a server.
                    shards.iter().for_each(Handle::force);
                    return Err(error);
                }
            }
        }
        Ok((shards, threads))
    }

    /// A shard's whole life, on its thread: drivers cannot move between threads.
    fn run(&self, index: usize, listener: TcpListener, born: &Sender<Birth>) -> io::Result<()> {
        let config = &self.driver_config;
        match self.driver {
            DriverName::Uring => {
                let driver = UringDriver::new(config, listener).map_err(io::Error::other);
                self.run_on(index, driver, born)
            }
            DriverName::Epoll => self.run_on(index, EpollDriver::new(config, listener), born),
        }
    }

    fn run_on<D: Driver>(
        &self,
        index: usize,
        driver: io::Result<D>,
        born: &Sender<Birth>,
    ) -> io::Result<()> {
        let driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                // Who started the shard waits for this.
                let _ = born.send(Err(error));
                return Ok(());
            }
        };
        let stats = Arc::clone(&self.settings.all_stats[index]);
        let inbox = Arc::new(Inbox::new(self.inbox_events_max));
        let name = self.driver.as_str();
        let handle =
            Handle::new(index, name, Arc::clone(&stats), Arc::clone(&inbox), driver.waker());
        let _ = born.send(Ok(handle));
        let handler = StreamHandler::new(self.stream.clone(), self.clock.clone(), stats.clone());
        let links = Links { inbox, stats, hub: self.hub.clone() };
        Shard::new(driver, handler, self.clock.clone(), self.settings.clone(), links).run()
    }
}

type Birth = io::Result<Handle>;

fn await_birth(index: usize, birth: &Receiver<Birth>) -> Result<Handle, Error> {
    match birth.recv() {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(error)) => {
            Err(Error::Driver(format!("shard {index} cannot set up its driver: {error}")))
        }
        Err(_) => Err(Error::Panicked(format!("shard {index}"))),
    }
}

fn shard_settings(
    config: &Config,
    driver: &DriverConfig,
    all_stats: Vec<Arc<ShardStats>>,
) -> Settings {
    /// The kernel has taken everything; only the peer's part of the end is missing.
    const CLOSE: Duration = Duration::from_secs(5);
    const END: Duration = Duration::from_secs(1);
    let limits = &config.limits;
    let heartbeat = Duration::from_secs(config.session.heartbeat_interval_secs);
    Settings {
        sockets_max: driver.sockets_max,
        connections_max: limits.connections_max,
        admission: admission(config),
        catch_up: CatchUpLimits {
            at_once_max: limits.catch_ups_per_shard_max,
            waiting_max: limits.catch_ups_waiting_per_shard_max,
        },
        handshakes: HandshakeLimits {
            pending_max: limits.handshakes_per_shard_max,
            rate: Rate {
                per_second: limits.handshakes_per_shard_per_second,
                burst: limits.handshakes_per_shard_burst,
            },
        },
        accepts: driver.accepts as u32,
        outbox: queue::Limits {
            messages_max: limits.outbox_messages_max,
            bytes_max: limits.outbox_bytes_max,
        },
        backlog_bytes_max: limits.backlog_bytes_max / all_stats.len(),
        send_bytes_max: limits::SEND_BYTES_MAX,
        message: ws::Limits {
            message_bytes_max: limits.message_bytes_max,
            fragments_max: limits::MESSAGE_FRAGMENTS_MAX,
        },
        intake: Intake {
            frames: frame_rate(limits),
            bytes: byte_rate(limits),
            partial_bytes_max: limits.partial_messages_bytes_max / all_stats.len(),
        },
        timing: Timing {
            handshake: Duration::from_secs(limits.handshake_timeout_secs),
            heartbeat_interval: heartbeat,
            heartbeat_timeout: heartbeat,
            idle: Duration::from_secs(config.session.idle_timeout_secs),
            message: Duration::from_secs(limits.message_timeout_secs),
            write: Duration::from_secs(limits.write_timeout_secs),
            close: CLOSE,
            end: END,
        },
        retry_after_secs: 5,
        turn_deliveries_max: 131_072,
        turn_sends_max: 256,
        all_stats,
    }
}

fn hub_settings(config: &Config, epoch: &str) -> HubSettings {
    let history = &config.history;
    HubSettings {
        epoch: epoch.to_owned(),
        ingest_events_max: config.hub.ingest_events_max,
        history: history::Limits {
            bytes_max: history.bytes_max,
            events_max: history.events_max,
            age_max: Duration::from_secs(history.age_max_secs),
        },
        drain: DrainPlan {
            window: Duration::from_secs(config.server.drain_window_secs),
            timeout: config.server.drain_timeout(),
        },
    }
}

fn admission(config: &Config) -> Admission {
    let (stream, limits) = (&config.stream, &config.limits);
    let rate = Rate {
        per_second: limits.connects_per_address_per_second,
        burst: limits.connects_per_address_burst,
    };
    let quota = AddressQuota { connections_max: limits.connections_per_address_max, rate };
    Admission {
        limits: AddressLimits::new(quota, limits.connections_max).map(Arc::new),
        trusted_proxies: stream.trusted_proxies.clone().into(),
        expects_proxy_header: stream.proxy_protocol == ProxyProtocol::V2,
    }
}

fn stream_settings(
    config: &Config,
    epoch: String,
    history: Arc<dyn history::History>,
) -> StreamSettings {
    let limits = &config.limits;
    StreamSettings {
        path: config.stream.path.clone(),
        allowed_origins: config.stream.allowed_origins.clone(),
        epoch,
        history,
        shed_below: match limits.shed_below {
            ShedBelow::Critical => Priority::Critical,
            ShedBelow::High => Priority::High,
            ShedBelow::Normal => Priority::Normal,
            ShedBelow::Low => Priority::Low,
        },
        message_bytes_max: limits.message_bytes_max,
        subscriptions_max: limits.subscriptions_per_connection_max,
        message_rate: Rate { per_second: limits.messages_per_second, burst: limits.messages_burst },
        subscription_rate: Rate {
            per_second: limits.subscription_changes_per_second,
            burst: limits.subscription_changes_burst,
        },
        frame_rate: frame_rate(limits),
        byte_rate: byte_rate(limits),
        heartbeat_interval: Duration::from_secs(config.session.heartbeat_interval_secs),
    }
}

/// Each message is a frame as well: who may send more of them may send more frames.
fn frame_rate(limits: &config::Limits) -> Rate {
    Rate {
        per_second: limits.frames_per_second.saturating_add(limits.messages_per_second),
        burst: limits.frames_burst.saturating_add(limits.messages_burst),
    }
}

fn byte_rate(limits: &config::Limits) -> Rate {
    Rate { per_second: limits.bytes_per_second, burst: limits.bytes_burst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_a_thread_is_a_failure_that_can_be_reported() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panicked: io::Result<()> = unpanicked(|| panic!("as planned"));
        std::panic::set_hook(hook);
        assert!(panicked.unwrap_err().to_string().contains("bug"));
        assert_eq!(unpanicked(|| Ok(7)).unwrap(), 7);
    }
}

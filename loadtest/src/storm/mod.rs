//! The scenario of a storm: very many subscribers are cut off at once and come back at once,
//! while others go on receiving.

mod member;
mod outcome;
mod party;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Error;
use crate::clock::now_ns;
use crate::crowd::dial::Dialer;
use crate::partition::sources;
use crate::publish::{self, Kind, Published, Way, publish};
use crate::say::Say;
use crate::server_process;
use crate::target::Target;

use outcome::{series, span};
use party::{Party, Signals};

pub use outcome::{Span, StormOutcome};

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    /// The control endpoint, to publish to.
    pub control: String,
    /// Subscribers that are cut off and come back.
    pub connections: u32,
    /// Subscribers that go on receiving.
    pub live: u32,
    /// Empty: the kernel chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Events per second.
    pub rate: f64,
    pub event_bytes: usize,
    /// How long events go out before the cut.
    pub before: Duration,
    /// Within what time all have to be back.
    pub limit: Duration,
    pub server_pid: Option<u32>,
}

/// How long what was published may take to come in the end.
const END: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<StormOutcome, Error> {
    let run = u64::from(fastrand::u32(..));
    let signals = Arc::new(Signals::default());
    let [live, storm] = start_parties(settings, run, &signals)?;
    say.phase("connecting");
    for crowd in [&live, &storm] {
        crowd.signals.await_all(crowd.members, END * 2, say)?;
    }
    let publisher = start_publisher(settings, run)?;
    let cut_ns = now_ns() + settings.before.as_nanos() as u64;
    while now_ns() < cut_ns {
        say.progress(&|| {
            format!("{} s to the cut", (cut_ns - now_ns().min(cut_ns)) / 1_000_000_000)
        });
        thread::sleep(Duration::from_nanos(cut_ns - now_ns().min(cut_ns)).min(LOOK));
    }
    say.phase("cutting all off");
    let cpu_us = || settings.server_pid.and_then(|pid| server_process::cpu_us(pid).ok());
    let (cpu_before_us, cut_ns) = (cpu_us(), now_ns());
    signals.cut.store(true, Ordering::SeqCst);
    // Everyone is away before anyone counts as back.
    while signals.cut.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    let is_back = signals.await_all(settings.connections, settings.limit.max(END), say).is_ok();
    let back_ns = signals.last_back_ns.load(Ordering::SeqCst).max(cut_ns);
    let cpu_after_us = cpu_us();
    say.phase("all are back; waiting for the last events");
    let published = publisher.join().map_err(|_| Error::PublisherPanicked)?;
    let newest = signals.newest_of(&live.signals, END);
    let (live_party, storm_party) = (live.finish(newest)?, storm.finish(newest)?);
    let latencies = &live_party.latencies;
    let series = vec![
        series("before", latencies, 0..cut_ns),
        series("during", latencies, cut_ns..back_ns),
        series("after", latencies, back_ns..u64::MAX),
    ];
    let mut outcome = StormOutcome {
        connections: settings.connections,
        live: settings.live,
        rate: settings.rate,
        published: published.accepted,
        back_seconds: (back_ns - cut_ns) as f64 / 1e9,
        limit_seconds: settings.limit.as_secs_f64(),
        before: span(&series[0]),
        during: span(&series[1]),
        after: span(&series[2]),
        refusals: storm_party.refusals,
        retries: storm_party.retries,
        replayed: storm_party.replayed,
        holes: live_party.holes + storm_party.holes,
        duplicates: live_party.duplicates + storm_party.duplicates,
        dropped: live_party.dropped + storm_party.dropped,
        behind: live_party.behind + storm_party.behind,
        lost: live_party.lost,
        server_cpu_us_per_return: cpu_before_us.zip(cpu_after_us).map(|(before, after)| {
            after.saturating_sub(before) as f64 / f64::from(settings.connections.max(1))
        }),
        series,
        ..StormOutcome::default()
    };
    outcome.judge(is_back, published.failure);
    Ok(outcome)
}

/// A party on a thread of its own.
struct Running {
    signals: Arc<Signals>,
    members: u32,
    thread: JoinHandle<Result<Party, Error>>,
}

impl Running {
    fn finish(self, newest: u64) -> Result<Party, Error> {
        self.signals.finish_at(newest, END);
        self.thread.join().map_err(|_| Error::PublisherPanicked)?
    }
}

/// Those that go on receiving, and those that are cut off at a signal.
fn start_parties(
    settings: &Settings,
    run: u64,
    signals: &Arc<Signals>,
) -> Result<[Running; 2], Error> {
    let target = &settings.target;
    let shares = [settings.live, settings.connections];
    let sources = sources(&shares, &settings.source_addresses, target.addr.ip())?;
    let mut dialers = sources.into_iter().map(|ports| Dialer::new(target.addr, ports, None));
    let mut start = |members, signals: &Arc<Signals>| {
        let dialer = dialers.next().unwrap_or_else(|| Dialer::new(target.addr, Vec::new(), None));
        start_party(members, Party::new(target.clone(), dialer, run, members, Arc::clone(signals))?)
    };
    Ok([start(settings.live, &Arc::default())?, start(settings.connections, signals)?])
}

fn start_party(members: u32, party: Party) -> Result<Running, Error> {
    let signals = Arc::clone(party.signals());
    let thread = thread::Builder::new().name("party".to_owned()).spawn(move || party.run());
    let thread = thread.map_err(Error::io("cannot start a thread"))?;
    Ok(Running { signals, members, thread })
}

/// As many events as there are from now until some time after the storm.
fn start_publisher(settings: &Settings, run: u64) -> Result<JoinHandle<Published>, Error> {
    const AFTER: Duration = Duration::from_secs(2);
    let seconds = (settings.before + settings.limit + AFTER).as_secs_f64();
    let plan = publish::Plan {
        way: Way::Alarmcast { control: settings.control.clone() },
        run,
        events: (settings.rate * seconds).ceil() as u32,
        rate: settings.rate,
        event_bytes: settings.event_bytes,
        kind: Kind::Low,
    };
    let thread = thread::Builder::new().name("publisher".to_owned());
    thread.spawn(move || publish(&plan)).map_err(Error::io("cannot start the publisher's thread"))
}

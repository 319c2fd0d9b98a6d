//! The scenario of very many subscribers that never read: what they cost the server in memory, and
//! those that read in latency, in turns without and with them.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::by_event::ByEvent;
use crate::descriptors::{Parked, Placeholders};
use crate::fanout::{self, Settings as FanoutSettings};
use crate::median::{geometric_mean, median};
use crate::outcome::Outcome;
use crate::say::Say;
use crate::series::{Series, merged, named};
use crate::server_process::{resident_bytes, sample};
use crate::slow::heard::Counts;
use crate::slow::reader::Reader;
use crate::target::Target;
use crate::wire::upgrade::JSON_SUBPROTOCOL;

/// SO_RCVBUF of who never reads: what its kernel takes is not the server's.
const RECEIVE_BUFFER_BYTES: usize = 4_096;
const BETWEEN_SAMPLES: Duration = Duration::from_millis(100);
/// Growth from the middle of a flood to its end that is none.
const NOISE_BYTES: u64 = 2 * 1024 * 1024;
const NOISE_SHARE: u64 = 50;
/// Connections from which is learned how many descriptors one takes.
const PROBES: u32 = 16;
/// Until the server has noticed the end of all that never read.
const END_TIMEOUT: Duration = Duration::from_secs(30);

const WITHOUT: &str = "without";
const PLACEHOLDERS: &str = "placeholders";
const WITH: &str = "with";

const CONNECTIONS: &str = "websocket_active_connections";
const HISTORY_BYTES: &str = "alarmcast_history_bytes";

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The flood, and those that read it.
    pub fanout: FanoutSettings,
    /// Those that do not.
    pub stalled: u32,
    /// Those that offer none are not told of losses: what they cannot take is read from history.
    pub offers_subprotocol: bool,
    pub rounds: u32,
    /// What each of them may cost.
    pub stalled_bytes_max: u64,
    pub server_pid: u32,
    /// The control endpoint, `http://HOST:PORT`.
    pub control: String,
    /// Takes the floods without them; absent: the server itself, before they are connected.
    pub twin: Option<Twin>,
}

/// A server as the other one, but that nobody is connected who never reads.
#[derive(Clone, Debug)]
pub struct Twin {
    pub target: Target,
    pub control: String,
    pub server_pid: u32,
}

/// What the rounds showed; serialised as the result of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StalledOutcome {
    /// Nothing is missing for those that read, and memory is bounded and flat.
    pub ok: bool,
    pub complaints: Vec<String>,
    pub stalled: u32,
    pub rounds: Vec<Round>,
    /// Medians of the rounds, of those that read.
    pub p99_us_without: f64,
    pub p99_us_with: f64,
    pub p99_ratio: f64,
    /// Geometric mean of what each round has of it by itself: two floods that follow each other have
    /// more of the machine's noise in common than those of different rounds.
    #[serde(default)]
    pub p99_ratio_by_round: f64,
    /// The same floods event by event.
    #[serde(default)]
    pub by_event: ComparedByEvent,
    /// Descriptors that those that do not read take, of the server and the load tester.
    #[serde(default)]
    pub descriptors: u64,
    /// The same with so many placeholders instead of them, where they take any.
    #[serde(default)]
    pub p99_us_placeholders: Option<f64>,
    /// Of `p99_us_with` to that.
    #[serde(default)]
    pub p99_ratio_placeholders: Option<f64>,
    /// The most in any round, for each of those that do not read.
    pub bytes_per_stalled: f64,
    /// Of those that read, without and with the others, over all rounds.
    #[serde(skip)]
    pub series: Vec<Series>,
}

/// Of the slowest deliveries, in all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComparedByEvent {
    pub without: ByEvent,
    pub with: ByEvent,
    pub p99_ratio: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub without: Outcome,
    /// Without, while the load tester has as many more descriptors open as those that do not read
    /// take: what slows the machine's other programs is in both then.
    #[serde(default)]
    pub placeholders: Option<Outcome>,
    pub with: Outcome,
    pub memory: Memory,
}

/// Of the server with those that never read, in bytes: VmRSS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// After a flood without those that do not read, which has filled what it needs itself; beside a
    /// twin, with what the history has grown by since.
    pub before: u64,
    /// With all of them subscribed.
    pub connected: u64,
    /// After each tenth of the flood that comes when one like it has filled their sockets.
    pub tenths: Vec<u64>,
    pub max: u64,
    /// By how much the history of events grew in that flood, as the server estimates it: that is
    /// every server's that keeps one, whoever reads.
    pub history_grown: u64,
    /// Connections at the end of the flood, those that do not read among them.
    pub held: u32,
}

/// Runs all rounds; `say` is told how it goes.
///
/// # Errors
/// When one could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<StalledOutcome, Error> {
    if let Some(twin) = &settings.twin {
        return Ok(conclude(settings, 0, rounds_with_twin(settings, twin, say)?));
    }
    let descriptors = descriptors(settings, say)?;
    let rounds = (1..=settings.rounds).map(|number| round(settings, number, descriptors, say));
    Ok(conclude(settings, descriptors, rounds.collect::<Result<_, _>>()?))
}

/// How many those that never read take, of the server and of this process.
fn descriptors(settings: &Settings, say: &mut dyn Say) -> Result<u64, Error> {
    let probes = settings.stalled.min(PROBES);
    let open = metric(&settings.control, CONNECTIONS)?;
    let before = sample(settings.server_pid)?.descriptors;
    let silent = connect(settings, probes, say)?;
    let of_server = sample(settings.server_pid)?.descriptors.saturating_sub(before);
    let taken = of_server + silent.descriptors() as u64;
    drop(silent);
    await_end(settings, open)?;
    // One or two may be another's.
    let each = (taken + u64::from(probes) / 2).checked_div(u64::from(probes)).unwrap_or(0);
    Ok(each * u64::from(settings.stalled))
}

fn round(
    settings: &Settings,
    number: u32,
    descriptors: u64,
    say: &mut dyn Say,
) -> Result<Round, Error> {
    let flood = |say: &mut dyn Say| fanout::run(&settings.fanout, say);
    say.phase(&format!("round {number}: without"));
    // Looked at in the same way as with them, so that this is in both.
    let (without, _) = sampled(settings.server_pid, || flood(say));
    let without = without?;
    let placeholders = if descriptors > 0 {
        say.phase(&format!("round {number}: with {descriptors} more descriptors open"));
        let _held = Placeholders::open(descriptors)?;
        Some(sampled(settings.server_pid, || flood(say)).0?)
    } else {
        None
    };
    let before = resident_bytes(settings.server_pid)?;
    let open = metric(&settings.control, CONNECTIONS)?;
    say.phase(&format!("round {number}: with {} that never read", settings.stalled));
    let silent = connect(settings, settings.stalled, say)?;
    let connected = resident_bytes(settings.server_pid)?;
    // Until their sockets and lanes are full they are clients like others.
    flood(say)?;
    let beside = flood_beside(settings, Memory { before, connected, ..Memory::default() }, say);
    drop(silent);
    await_end(settings, open)?;
    let (with, memory) = beside?;
    Ok(Round { without, placeholders, with, memory })
}

/// All rounds, for which those that never read are connected once: what is compared lies so close
/// together that both have the noise of one hour.
fn rounds_with_twin(
    settings: &Settings,
    twin: &Twin,
    say: &mut dyn Say,
) -> Result<Vec<Round>, Error> {
    let to_twin = FanoutSettings {
        target: twin.target.clone(),
        control: Some(twin.control.clone()),
        server_pid: Some(twin.server_pid),
        ..settings.fanout.clone()
    };
    say.phase("first floods");
    fanout::run(&to_twin, say)?;
    fanout::run(&settings.fanout, say)?;
    let before = resident_bytes(settings.server_pid)?;
    let history = metric(&settings.control, HISTORY_BYTES)?;
    let open = metric(&settings.control, CONNECTIONS)?;
    say.phase(&format!("{} that never read", settings.stalled));
    let silent = connect(settings, settings.stalled, say)?;
    let connected = resident_bytes(settings.server_pid)?;
    fanout::run(&settings.fanout, say)?;
    let rounds = (1..=settings.rounds).map(|number| {
        say.phase(&format!("round {number}: without"));
        let (without, _) = sampled(twin.server_pid, || fanout::run(&to_twin, say));
        say.phase(&format!("round {number}: with {} that never read", settings.stalled));
        let grown = metric(&settings.control, HISTORY_BYTES)?.saturating_sub(history);
        let memory = Memory { before: before + grown, connected, ..Memory::default() };
        let (with, memory) = flood_beside(settings, memory, say)?;
        Ok(Round { without: without?, placeholders: None, with, memory })
    });
    let rounds = rounds.collect::<Result<_, Error>>();
    drop(silent);
    await_end(settings, open)?;
    rounds
}

/// A flood beside those that never read, and what became of the server's memory in it.
fn flood_beside(
    settings: &Settings,
    memory: Memory,
    say: &mut dyn Say,
) -> Result<(Outcome, Memory), Error> {
    let history = metric(&settings.control, HISTORY_BYTES)?;
    let (with, samples) = sampled(settings.server_pid, || fanout::run(&settings.fanout, say));
    let memory = Memory {
        max: samples.iter().copied().max().unwrap_or(0),
        tenths: tenths(&samples),
        history_grown: metric(&settings.control, HISTORY_BYTES)?.saturating_sub(history),
        held: u32::try_from(metric(&settings.control, CONNECTIONS)?).unwrap_or(u32::MAX),
        ..memory
    };
    Ok((with?, memory))
}

fn connect(settings: &Settings, count: u32, say: &mut dyn Say) -> Result<Parked, Error> {
    let target = &settings.fanout.target;
    let subprotocol = settings.offers_subprotocol.then_some(JSON_SUBPROTOCOL);
    let mut silent = Parked::new(count);
    for number in 0..count {
        say.progress(&|| format!("{number} connected that never read"));
        let buffer_bytes = Some(RECEIVE_BUFFER_BYTES);
        let reader = Reader::open(target, subprotocol, buffer_bytes, Counts::default())?;
        silent.park(reader.into_stream());
    }
    Ok(silent)
}

/// Waits until the server has no more than `open` connections, as their end would cost the next run;
/// not for ever, as others may have come.
fn await_end(settings: &Settings, open: u64) -> Result<(), Error> {
    let start = Instant::now();
    while metric(&settings.control, CONNECTIONS)? > open && start.elapsed() < END_TIMEOUT {
        thread::sleep(BETWEEN_SAMPLES);
    }
    Ok(())
}

/// Does `work`, and looks at the server's memory meanwhile.
fn sampled<T>(pid: u32, work: impl FnOnce() -> T) -> (T, Vec<u64>) {
    let is_over = Arc::<AtomicBool>::default();
    let told = Arc::clone(&is_over);
    thread::scope(|scope| {
        let sampler = scope.spawn(move || {
            let mut samples = Vec::new();
            while !told.load(Ordering::Acquire) {
                samples.extend(resident_bytes(pid));
                thread::sleep(BETWEEN_SAMPLES);
            }
            samples
        });
        let result = work();
        is_over.store(true, Ordering::Release);
        (result, sampler.join().unwrap_or_default())
    })
}

fn tenths(samples: &[u64]) -> Vec<u64> {
    let at = |tenth: usize| samples.get((samples.len() * tenth).div_ceil(10).saturating_sub(1));
    (1..=10).filter_map(at).copied().collect()
}

/// A gauge of the server's.
fn metric(control: &str, name: &str) -> Result<u64, Error> {
    let url = format!("{}/metrics", control.trim_end_matches('/'));
    let failed = |error: ureq::Error| Error::Usage(format!("{url}: {error}"));
    let mut response = ureq::get(&url).call().map_err(failed)?;
    let text = response.body_mut().read_to_string().map_err(failed)?;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    let value = text.lines().find_map(value);
    value.ok_or_else(|| Error::Usage(format!("{url} has no {name}")))
}

fn conclude(settings: &Settings, descriptors: u64, rounds: Vec<Round>) -> StalledOutcome {
    let mut complaints = Vec::new();
    let each = f64::from(settings.stalled.max(1));
    let mut bytes_per_stalled: f64 = 0.0;
    for (number, round) in (1..).zip(&rounds) {
        let of_fanout = round.runs().flat_map(|(_, run)| &run.complaints);
        complaints.extend(of_fanout.map(|complaint| format!("round {number}: {complaint}")));
        let Memory { before, max, held, .. } = round.memory;
        bytes_per_stalled = bytes_per_stalled.max(max.saturating_sub(before) as f64 / each);
        if let Some(grown) = growth(&round.memory.tenths, round.memory.history_grown) {
            complaints.push(format!("round {number}: memory grew by {grown} bytes to the end"));
        }
        if held < settings.stalled {
            complaints.push(format!(
                "round {number}: {} of those that never read were ended; give the server longer \
                 limits.write_timeout_secs and session.heartbeat_interval_secs",
                settings.stalled - held
            ));
        }
    }
    if bytes_per_stalled > settings.stalled_bytes_max as f64 {
        complaints.push(format!("{bytes_per_stalled:.0} bytes for each that never reads"));
    }
    let p99_us = |name| {
        let runs = rounds.iter().flat_map(Round::runs).filter(|run| run.0 == name);
        median(&runs.map(|(_, run)| run.latency_us.p99 as f64).collect::<Vec<_>>())
    };
    let (p99_us_without, p99_us_with) = (p99_us(WITHOUT), p99_us(WITH));
    let p99_us_placeholders = (descriptors > 0).then(|| p99_us(PLACEHOLDERS));
    let ratio = |to: f64| if to > 0.0 { p99_us_with / to } else { 0.0 };
    StalledOutcome {
        ok: complaints.is_empty(),
        complaints,
        stalled: settings.stalled,
        p99_us_without,
        p99_us_with,
        p99_ratio: ratio(p99_us_without),
        p99_ratio_by_round: geometric_mean(
            &rounds.iter().filter_map(Round::p99_ratio).collect::<Vec<_>>(),
        ),
        by_event: ComparedByEvent::of(&rounds),
        descriptors,
        p99_us_placeholders,
        p99_ratio_placeholders: p99_us_placeholders.map(ratio),
        bytes_per_stalled,
        series: merged(
            rounds.iter().flat_map(Round::runs).flat_map(|(name, run)| named(name, run)),
        ),
        rounds,
    }
}

impl ComparedByEvent {
    fn of(rounds: &[Round]) -> Self {
        let without = ByEvent::of(rounds.iter().map(|round| &round.without));
        let with = ByEvent::of(rounds.iter().map(|round| &round.with));
        let is_known = without.p99_us > 0.0;
        let p99_ratio = if is_known { with.p99_us / without.p99_us } else { 0.0 };
        Self { without, with, p99_ratio }
    }
}

impl Round {
    /// None where a flood brought nothing.
    fn p99_ratio(&self) -> Option<f64> {
        let [with, without] = [&self.with, &self.without].map(|run| run.latency_us.p99 as f64);
        (with > 0.0 && without > 0.0).then(|| with / without)
    }

    /// Its runs that are compared, by their names.
    pub fn runs(&self) -> impl Iterator<Item = (&'static str, &Outcome)> {
        let placeholders = self.placeholders.iter().map(|run| (PLACEHOLDERS, run));
        iter::once((WITHOUT, &self.without)).chain(placeholders).chain([(WITH, &self.with)])
    }
}

/// Growth from the middle of a flood to its end, beyond that of the history in all of it.
fn growth(tenths: &[u64], history_grown: u64) -> Option<u64> {
    let (middle, end) = (*tenths.get(tenths.len() / 2)?, *tenths.last()?);
    let grown = end.saturating_sub(middle + history_grown);
    (grown > NOISE_BYTES + middle / NOISE_SHARE).then_some(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_to_the_end_is_not_flat() {
        const MIB: u64 = 1024 * 1024;
        let flat: Vec<u64> =
            [10, 60, 99, 100, 100, 100, 101, 100, 102, 101].map(|m| m * MIB).into();
        let grows: Vec<u64> = (1..=10).map(|tenth| tenth * 20 * MIB).collect();
        assert_eq!(growth(&flat, 0), None);
        assert_eq!(growth(&grows, 0), Some(80 * MIB));
        assert_eq!(growth(&grows, 30 * MIB), Some(50 * MIB));
        assert_eq!(growth(&grows, 80 * MIB), None);
        assert_eq!(growth(&[], 0), None);
        assert_eq!(tenths(&(1..=20).collect::<Vec<_>>()), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        assert_eq!(tenths(&[]), [0; 0]);
    }
}

//! The fan-out scenario: connect, subscribe, publish, count; then perhaps watch a drain.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::clock::now_ns;
use crate::fleet::Fleet;
use crate::link::{Plan, Progress};
use crate::outcome::{Connections, Deliveries, Drain, Latency, Outcome, Publishing, Server};
use crate::partition::{connections_per_process, shares, sources};
use crate::publish::{self, Published};
use crate::server_process::{Sample, sample};
use crate::tally::Tally;
use crate::target::Target;
use crate::{Error, publish::publish};

/// What is printed when the server may be stopped.
pub const READY_FOR_DRAIN: &str = "ready for drain";

const LISTEN: Duration = Duration::from_millis(100);
const SAY_INTERVAL_NS: u64 = 1_000_000_000;

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    /// The control endpoint; nothing is published without.
    pub control: Option<String>,
    pub connections: u32,
    /// Absent: as many as descriptors require.
    pub processes: Option<u32>,
    /// Attempts under way at once, all processes together.
    pub window: u32,
    /// Attempts for each connection.
    pub attempts: u32,
    pub handshake_timeout: Duration,
    pub events: u32,
    pub rate: f64,
    pub event_bytes: usize,
    pub filters: Value,
    pub source_addresses: Vec<IpAddr>,
    /// How long nothing may arrive before what is missing counts as missing.
    pub quiet: Duration,
    /// How long to wait for the server to end all connections; absent: it is not awaited.
    pub drain: Option<Duration>,
    pub server_pid: Option<u32>,
    /// This program, to start workers from.
    pub program: PathBuf,
}

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Outcome, Error> {
    Run::start(settings, say)?.finish()
}

struct Run<'a> {
    settings: &'a Settings,
    say: &'a mut dyn FnMut(&str),
    said_ns: u64,
    fleet: Fleet,
    processes: usize,
    run: u64,
    started_ns: u64,
    samples: Vec<Sample>,
}

/// When things happened, and what came of publishing.
struct Timeline {
    connected: Progress,
    publish_ns: u64,
    published: Published,
    delivered: Progress,
    drain: Option<Drain>,
}

impl<'a> Run<'a> {
    fn start(settings: &'a Settings, say: &'a mut dyn FnMut(&str)) -> Result<Self, Error> {
        let shares = shares(settings.connections, settings.processes, connections_per_process())?;
        let target = settings.target.addr.ip();
        let sources = sources(&shares, &settings.source_addresses, target)?;
        let samples = settings.server_pid.map(sample).transpose()?.into_iter().collect();
        let run = u64::from(fastrand::u32(..));
        let processes = shares.len();
        let window = settings.window.div_ceil(processes as u32).max(1);
        let plans = shares.into_iter().zip(sources).map(|(connections, sources)| Plan {
            target: settings.target.clone(),
            run,
            connections,
            window,
            attempts: settings.attempts,
            handshake_timeout_ms: settings.handshake_timeout.as_millis() as u64,
            filters: settings.filters.clone(),
            sources,
        });
        let started_ns = now_ns();
        let fleet = Fleet::start(&settings.program, plans.collect())?;
        Ok(Self { settings, say, said_ns: started_ns, fleet, processes, run, started_ns, samples })
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        let connected = self.await_connections()?;
        self.sample();
        let publish_ns = now_ns();
        let (published, delivered) = self.await_deliveries(connected)?;
        self.sample();
        let drain = self.await_drain()?;
        let tally = self.fleet.finish(published.accepted)?;
        let timeline = Timeline { connected, publish_ns, published, delivered, drain };
        let times = Times {
            settings: self.settings,
            started_ns: self.started_ns,
            processes: self.processes,
            samples: &self.samples,
        };
        Ok(times.outcome(&timeline, &tally))
    }

    fn await_connections(&mut self) -> Result<Progress, Error> {
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            let settled = progress.subscribed + progress.failed;
            if settled >= u64::from(self.settings.connections) {
                return Ok(progress);
            }
            self.tell(|| format!("{} subscribed, {} failed", progress.subscribed, progress.failed));
        }
    }

    /// Publishes, and listens until everything has come or nothing comes any more.
    fn await_deliveries(&mut self, connected: Progress) -> Result<(Published, Progress), Error> {
        let Some(publisher) = self.start_publisher()? else {
            return Ok((Published::default(), connected));
        };
        let mut publisher = Some(publisher);
        let mut published: Option<Published> = None;
        let mut last_change = (0, now_ns());
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            if let Some(handle) = publisher.take_if(|handle| handle.is_finished()) {
                published = Some(join(handle)?);
                last_change.1 = now_ns();
            }
            if progress.deliveries != last_change.0 {
                last_change = (progress.deliveries, now_ns());
            }
            self.tell(|| format!("{} deliveries", progress.deliveries));
            let Some(known) = &published else { continue };
            let expected = u64::from(known.accepted) * progress.subscribed;
            let is_quiet = now_ns() > last_change.1 + self.settings.quiet.as_nanos() as u64;
            if progress.deliveries >= expected || is_quiet {
                return Ok((known.clone(), progress));
            }
        }
    }

    fn start_publisher(&self) -> Result<Option<JoinHandle<Published>>, Error> {
        let Some(control) = &self.settings.control else { return Ok(None) };
        if self.settings.events == 0 {
            return Ok(None);
        }
        let plan = publish::Plan {
            control: control.clone(),
            run: self.run,
            events: self.settings.events,
            rate: self.settings.rate,
            event_bytes: self.settings.event_bytes,
        };
        let thread = thread::Builder::new().name("publisher".to_owned());
        let handle = thread.spawn(move || publish(&plan));
        Ok(Some(handle.map_err(Error::io("cannot start the publisher's thread"))?))
    }

    /// Waits for the server to end every connection; how it did so is counted later.
    fn await_drain(&mut self) -> Result<Option<Drain>, Error> {
        let Some(timeout) = self.settings.drain else { return Ok(None) };
        self.fleet.expect_drain()?;
        let before = loop {
            let progress = self.fleet.listen(LISTEN)?;
            if progress.draining >= self.processes as u64 {
                break progress;
            }
        };
        (self.say)(READY_FOR_DRAIN);
        let since_ns = now_ns();
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            let now = now_ns();
            if progress.ended >= before.subscribed || now > since_ns + timeout.as_nanos() as u64 {
                let expected = before.subscribed.saturating_sub(before.ended);
                let seconds = seconds(since_ns, now);
                return Ok(Some(Drain { expected, seconds, ..Drain::default() }));
            }
            self.tell(|| format!("{} of {} ended", progress.ended, progress.subscribed));
        }
    }

    /// A server that is gone is not measured; what it left undone is counted all the same.
    fn sample(&mut self) {
        let sampled = self.settings.server_pid.map(sample);
        self.samples.extend(sampled.and_then(Result::ok));
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = now_ns();
        if now >= self.said_ns + SAY_INTERVAL_NS {
            self.said_ns = now;
            (self.say)(&line());
        }
    }
}

fn join(handle: JoinHandle<Published>) -> Result<Published, Error> {
    handle.join().map_err(|_| Error::PublisherPanicked)
}

/// Turns counts and moments into an outcome.
struct Times<'a> {
    settings: &'a Settings,
    started_ns: u64,
    processes: usize,
    /// Before connecting, before publishing, after the last delivery.
    samples: &'a [Sample],
}

impl Times<'_> {
    fn outcome(&self, timeline: &Timeline, tally: &Tally) -> Outcome {
        let mut outcome = Outcome {
            ok: true,
            complaints: Vec::new(),
            connections: self.connections(timeline, tally),
            publishing: self.publishing(&timeline.published),
            deliveries: deliveries(timeline, tally),
            latency_us: latency(tally),
            server: self.server(tally),
            drain: timeline
                .drain
                .clone()
                .map(|drain| Drain { endings: tally.endings.clone(), ..drain }),
            errors: tally.errors.clone(),
            failures: tally.failures.clone(),
        };
        outcome.complaints = complaints(&outcome);
        outcome.ok = outcome.complaints.is_empty();
        outcome
    }

    fn connections(&self, timeline: &Timeline, tally: &Tally) -> Connections {
        let seconds = seconds(self.started_ns, timeline.connected.settled_ns);
        Connections {
            asked: self.settings.connections,
            subscribed: tally.subscribed,
            failed: timeline.connected.failed,
            lost: tally.lost,
            processes: self.processes,
            seconds,
            per_second: per(tally.subscribed, seconds),
            retries: tally.retries.clone(),
        }
    }

    fn publishing(&self, published: &Published) -> Publishing {
        let is_on = self.settings.control.is_some();
        Publishing {
            events: if is_on { self.settings.events } else { 0 },
            rate: self.settings.rate,
            event_bytes: self.settings.event_bytes,
            accepted: published.accepted,
            refused: published.refused.clone(),
            waits: published.waits,
            seconds: published.elapsed_ns as f64 / 1e9,
            answer_p50_us: published.answer_p50_us,
            answer_p99_us: published.answer_p99_us,
            failure: published.failure.clone(),
        }
    }

    fn server(&self, tally: &Tally) -> Option<Server> {
        let [before, idle, after] = self.samples else { return None };
        let user_us = after.user_us.saturating_sub(idle.user_us) as f64;
        let system_us = after.system_us.saturating_sub(idle.system_us) as f64;
        let connect_us = idle.cpu_us().saturating_sub(before.cpu_us()) as f64;
        let grown = idle.rss_bytes as f64 - before.rss_bytes as f64;
        Some(Server {
            cpu_seconds: (user_us + system_us) / 1e6,
            cpu_us_per_delivery: per_each(user_us + system_us, tally.deliveries),
            user_us_per_delivery: per_each(user_us, tally.deliveries),
            cpu_us_per_connect: per_each(connect_us, tally.subscribed),
            rss_bytes_before: before.rss_bytes,
            rss_bytes_idle: idle.rss_bytes,
            rss_bytes_after: after.rss_bytes,
            rss_bytes_per_connection: per_each(grown, tally.subscribed),
            descriptors: idle.descriptors,
        })
    }
}

fn deliveries(timeline: &Timeline, tally: &Tally) -> Deliveries {
    let seconds = seconds(timeline.publish_ns, timeline.delivered.delivered_ns);
    let client_cpu_us = timeline.delivered.cpu_us.saturating_sub(timeline.connected.cpu_us);
    Deliveries {
        expected: u64::from(timeline.published.accepted) * tally.subscribed,
        delivered: tally.deliveries,
        missing: tally.missing,
        duplicates: tally.duplicates,
        out_of_order: tally.out_of_order,
        seq_not_rising: tally.seq_not_rising,
        seq_gaps: tally.seq_gaps,
        foreign: tally.foreign_events,
        other_messages: tally.other_messages,
        seconds,
        per_second: per(tally.deliveries, seconds),
        client_cpu_seconds: client_cpu_us as f64 / 1e6,
    }
}

fn latency(tally: &Tally) -> Latency {
    let latency = tally.latency();
    if latency.is_empty() {
        return Latency::default();
    }
    let quantile = |quantile| latency.value_at_quantile(quantile);
    Latency {
        min: latency.min(),
        mean: latency.mean(),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p99_9: quantile(0.999),
        max: latency.max(),
    }
}

/// Everything that keeps a run from being in order.
fn complaints(outcome: &Outcome) -> Vec<String> {
    let (connections, deliveries) = (&outcome.connections, &outcome.deliveries);
    let publishing = &outcome.publishing;
    let not_subscribed = u64::from(connections.asked).saturating_sub(connections.subscribed);
    let not_orderly = outcome
        .drain
        .as_ref()
        .map_or(0, |drain| drain.expected.saturating_sub(drain.endings.orderly));
    let counts = [
        (not_subscribed, "connections were not subscribed"),
        (connections.lost, "connections were lost"),
        (
            u64::from(publishing.events - publishing.accepted.min(publishing.events)),
            "events were not accepted",
        ),
        (deliveries.missing, "deliveries are missing"),
        (deliveries.duplicates, "deliveries are duplicates"),
        (deliveries.out_of_order, "deliveries are out of order"),
        (deliveries.seq_not_rising, "events had a seq not above the one before"),
        (deliveries.seq_gaps, "gaps are in seq"),
        (outcome.errors.values().sum(), "errors were reported by the server"),
        (not_orderly, "connections were not ended in order"),
    ];
    let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
    let wrong = wrong.map(|(count, what)| format!("{count} {what}"));
    let failure = publishing.failure.iter().map(|why| format!("publishing broke off: {why}"));
    failure.chain(wrong).collect()
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

fn per(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn per_each(total: f64, count: u64) -> f64 {
    if count > 0 { total / count as f64 } else { 0.0 }
}

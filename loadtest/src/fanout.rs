//! The fan-out scenario: connect, subscribe, publish, count; then perhaps watch a drain.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::filters::Filters;
use crate::fleet::Fleet;
use crate::link::{Plan, Progress};
use crate::outcome::{
    Connections, Deliveries, Drain, Lane, Latency, Outcome, Priorities, Publishing, Server,
};
use crate::partition::{connections_per_process, shares, sources};
use crate::priority::{ByPriority, Priority};
use crate::publish::{self, Kind, Published, Way};
use crate::series::Series;
use crate::server_process::{Sample, sample};
use crate::tally::{Tally, histogram_of};
use crate::target::Target;
use crate::template::Template;
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
    pub filters: Filters,
    /// How the server is spoken to; absent: it is Alarmcast.
    pub template: Option<Template>,
    /// Critical events meanwhile; connections are told what they miss then, and may miss low ones.
    pub criticals: Option<Criticals>,
    /// SO_RCVBUF of every connection; absent: the kernel's choice.
    pub receive_buffer: Option<usize>,
    pub source_addresses: Vec<IpAddr>,
    /// How long nothing may arrive before what is missing counts as missing.
    pub quiet: Duration,
    /// How long to wait for the server to end all connections; absent: it is not awaited.
    pub drain: Option<Duration>,
    pub server_pid: Option<u32>,
    /// This program, to start workers from.
    pub program: PathBuf,
}

/// Critical events, from a publisher of their own.
#[derive(Clone, Copy, Debug)]
pub struct Criticals {
    pub events: u32,
    pub rate: f64,
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
    criticals: Published,
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
        let firsts = shares.clone().into_iter().scan(0, |next, connections| {
            *next += connections;
            Some(*next - connections)
        });
        let plans = shares.into_iter().zip(firsts).zip(sources);
        let plans = plans.map(|((connections, first), sources)| Plan {
            target: settings.target.clone(),
            run,
            connections,
            first,
            window,
            attempts: settings.attempts,
            handshake_timeout_ms: settings.handshake_timeout.as_millis() as u64,
            filters: settings.filters.clone(),
            hears_losses: settings.criticals.is_some(),
            subscribe: settings.template.as_ref().map(|template| template.subscribe.clone()),
            receive_buffer: settings.receive_buffer,
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
        let (published, criticals, delivered) = self.await_deliveries(connected)?;
        self.sample();
        let drain = self.await_drain()?;
        let by_priority = ByPriority {
            critical: u64::from(criticals.accepted),
            low: u64::from(published.accepted),
            ..ByPriority::default()
        };
        let tally = self.fleet.finish(published.accepted, by_priority)?;
        let timeline = Timeline { connected, publish_ns, published, criticals, delivered, drain };
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
    fn await_deliveries(
        &mut self,
        connected: Progress,
    ) -> Result<(Published, Published, Progress), Error> {
        let Some(publishers) = self.start_publishers()? else {
            return Ok((Published::default(), Published::default(), connected));
        };
        let mut publishers = Some(publishers);
        let mut published: Option<(Published, Published)> = None;
        let mut last_change = (0, now_ns());
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            if let Some(publishers) = publishers.take_if(|publishers| publishers.are_finished()) {
                published = Some(publishers.join()?);
                last_change.1 = now_ns();
            }
            if progress.deliveries != last_change.0 {
                last_change = (progress.deliveries, now_ns());
            }
            self.tell(|| format!("{} deliveries", progress.deliveries));
            let Some((low, criticals)) = &published else { continue };
            let expected = expected(self.settings, low, criticals, progress.subscribed);
            let is_quiet = now_ns() > last_change.1 + self.settings.quiet.as_nanos() as u64;
            if progress.deliveries >= expected || is_quiet {
                return Ok((low.clone(), criticals.clone(), progress));
            }
        }
    }

    fn start_publishers(&self) -> Result<Option<Publishers>, Error> {
        let settings = self.settings;
        let Some(control) = &settings.control else { return Ok(None) };
        if settings.events == 0 {
            return Ok(None);
        }
        let kind = match &settings.filters {
            Filters::Same(_) => Kind::Low,
            classes => Kind::LowByClass { classes: classes.published_classes() },
        };
        let control = control.clone();
        let way = match &settings.template {
            None => Way::Alarmcast { control },
            Some(Template { publish, .. }) => {
                let (target, publish) = (settings.target.clone(), publish.clone());
                Way::Other { control, target, publish }
            }
        };
        let low = publish::Plan {
            way,
            run: self.run,
            events: settings.events,
            rate: settings.rate,
            event_bytes: settings.event_bytes,
            kind,
        };
        let criticals = settings.criticals.map(|Criticals { events, rate }| {
            start_publisher(publish::Plan { events, rate, kind: Kind::Critical, ..low.clone() })
        });
        let criticals = criticals.transpose()?;
        Ok(Some(Publishers { low: start_publisher(low)?, criticals }))
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

/// Each on a connection of its own, so that critical events do not wait for the others.
struct Publishers {
    low: JoinHandle<Published>,
    criticals: Option<JoinHandle<Published>>,
}

impl Publishers {
    fn are_finished(&self) -> bool {
        self.low.is_finished() && self.criticals.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn join(self) -> Result<(Published, Published), Error> {
        Ok((join(self.low)?, self.criticals.map(join).transpose()?.unwrap_or_default()))
    }
}

fn start_publisher(plan: publish::Plan) -> Result<JoinHandle<Published>, Error> {
    let thread = thread::Builder::new().name("publisher".to_owned());
    let handle = thread.spawn(move || publish(&plan));
    handle.map_err(Error::io("cannot start the publisher's thread"))
}

fn join(handle: JoinHandle<Published>) -> Result<Published, Error> {
    handle.join().map_err(|_| Error::PublisherPanicked)
}

/// Events that should come or be told as lost, over all connections.
fn expected(settings: &Settings, low: &Published, criticals: &Published, subscribed: u64) -> u64 {
    let (asked, criticals) = (settings.connections, u64::from(criticals.accepted));
    match settings.filters {
        Filters::Same(_) => (u64::from(low.accepted) + criticals) * subscribed,
        // Of connections that are missing it is not known which.
        _ => settings.filters.due_to_all(asked, low.accepted),
    }
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
            deliveries: self.deliveries(timeline, tally),
            priorities: self.priorities(timeline, tally),
            latency_us: latency(&tally.latency()),
            server: self.server(tally),
            drain: timeline
                .drain
                .clone()
                .map(|drain| Drain { endings: tally.endings.clone(), ..drain }),
            errors: tally.errors.clone(),
            failures: tally.failures.clone(),
            series: self.series(tally),
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

    fn deliveries(&self, timeline: &Timeline, tally: &Tally) -> Deliveries {
        let seconds = seconds(timeline.publish_ns, timeline.delivered.delivered_ns);
        let client_cpu_us = timeline.delivered.cpu_us.saturating_sub(timeline.connected.cpu_us);
        Deliveries {
            expected: expected(
                self.settings,
                &timeline.published,
                &timeline.criticals,
                tally.subscribed,
            ),
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

    fn priorities(&self, timeline: &Timeline, tally: &Tally) -> Option<Priorities> {
        let asked = self.settings.criticals?;
        let Timeline { published, criticals, .. } = timeline;
        let low = lane(published, Priority::Low, tally);
        let critical = lane(criticals, Priority::Critical, tally);
        let ratio = per_each(critical.due_us.p99 as f64, low.due_us.p99);
        let criticals = Publishing {
            events: asked.events,
            rate: asked.rate,
            ..self.publishing(&timeline.criticals)
        };
        Some(Priorities { critical, low, p99_ratio: ratio, publishing: criticals })
    }

    fn series(&self, tally: &Tally) -> Vec<Series> {
        if self.settings.criticals.is_none() {
            return vec![Series::new(Priority::Low.name(), tally.latency())];
        }
        let lanes = Priority::ALL.into_iter().flat_map(|priority| {
            let (name, lane) = (priority.name(), &tally.lanes[priority]);
            [
                Series::new(name, histogram_of(&lane.due_us)),
                Series::new(format!("{name}-from-request"), histogram_of(&lane.sent_us)),
            ]
        });
        lanes.filter(|series| !series.histogram.is_empty()).collect()
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

fn lane(published: &Published, priority: Priority, tally: &Tally) -> Lane {
    let lane = &tally.lanes[priority];
    Lane {
        accepted: published.accepted,
        delivered: lane.delivered,
        dropped: lane.dropped,
        unaccounted: lane.unaccounted,
        due_us: latency(&histogram_of(&lane.due_us)),
        sent_us: latency(&histogram_of(&lane.sent_us)),
    }
}

fn latency(latency: &Histogram<u64>) -> Latency {
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
    let mut complaints: Vec<String> = failure.chain(wrong).collect();
    if let Some(priorities) = &outcome.priorities {
        complaints.extend(complaints_of_priorities(priorities));
    }
    complaints
}

fn complaints_of_priorities(priorities: &Priorities) -> Vec<String> {
    let Priorities { critical, low, publishing, .. } = priorities;
    let counts = [
        (
            u64::from(publishing.events - publishing.accepted.min(publishing.events)),
            "critical events were not accepted",
        ),
        (critical.dropped, "critical events were dropped"),
        (critical.unaccounted, "critical events are not accounted for"),
        (low.unaccounted, "low events are not accounted for"),
    ];
    let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
    let failure = publishing.failure.iter();
    let failure = failure.map(|why| format!("publishing critical events broke off: {why}"));
    failure.chain(wrong.map(|(count, what)| format!("{count} {what}"))).collect()
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

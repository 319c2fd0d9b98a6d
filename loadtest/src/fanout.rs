//! The fan-out scenario: connect, subscribe, publish, count; then perhaps watch a drain.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::encodings::Encodings;
use crate::filters::Filters;
use crate::fleet::Fleet;
use crate::link::{Plan, Progress};
use crate::outcome::{
    Connections, Deliveries, Drain, Lane, Latency, Outcome, Priorities, Publishing, Server,
};
use crate::partition::{connections_per_process, shares, sources};
use crate::priority::{ByPriority, Priority};
use crate::publish::{self, Kind, Published, Way};
use crate::say::Say;
use crate::series::Series;
use crate::server_process::{Sample, sample};
use crate::tally::{LaneTally, Tally, histogram_of};
use crate::target::Target;
use crate::template::Template;
use crate::{Error, publish::publish};

/// What is printed when the server may be stopped.
pub const READY_FOR_DRAIN: &str = "ready for drain";

const LISTEN: Duration = Duration::from_millis(100);

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
    /// Of `events`.
    pub priority: Priority,
    pub events: u32,
    pub rate: f64,
    pub event_bytes: usize,
    pub filters: Filters,
    /// How the server is spoken to; absent: it is Alarmcast.
    pub template: Option<Template>,
    pub encodings: Encodings,
    /// Of each connection; all but the first match nothing.
    pub subscriptions: u32,
    /// From all connected until events are published, or idle memory is looked at.
    pub settle: Duration,
    /// For so long events go out whose latencies and costs do not count.
    pub warm_up: Duration,
    /// Events of other priorities among them, which are low then; connections are told what they
    /// miss, and may miss low ones.
    pub others: Vec<Flow>,
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

/// Events of a priority, from a publisher of their own.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub priority: Priority,
    pub events: u32,
    /// Events per second.
    pub rate: f64,
}

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<Outcome, Error> {
    Run::start(settings, say)?.finish()
}

pub(crate) struct Run<'a> {
    settings: &'a Settings,
    say: &'a mut dyn Say,
    fleet: Fleet,
    processes: usize,
    pub(crate) run: u64,
    started_ns: u64,
    samples: Samples,
}

/// Of the server's process, where it is known.
#[derive(Clone, Copy, Debug, Default)]
struct Samples {
    before: Option<Sample>,
    /// With all connections, before publishing.
    idle: Option<Sample>,
    /// After warm-up, and what was delivered until then.
    warm: Option<(Sample, u64)>,
    /// After the last delivery.
    after: Option<Sample>,
}

/// When things happened, and what came of publishing.
pub(crate) struct Timeline {
    connected: Progress,
    publish_ns: u64,
    published: Vec<(Flow, Published)>,
    delivered: Progress,
    drain: Option<Drain>,
}

impl<'a> Run<'a> {
    pub(crate) fn start(settings: &'a Settings, say: &'a mut dyn Say) -> Result<Self, Error> {
        let shares = shares(settings.connections, settings.processes, connections_per_process())?;
        let target = settings.target.addr.ip();
        let sources = sources(&shares, &settings.source_addresses, target)?;
        let before = settings.server_pid.map(sample).transpose()?;
        let samples = Samples { before, ..Samples::default() };
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
            hears_losses: !settings.others.is_empty(),
            encodings: settings.encodings,
            subscriptions: settings.subscriptions,
            warm_up: settings.warm_up_events(),
            subscribe: settings.template.as_ref().map(|template| template.subscribe.clone()),
            receive_buffer: settings.receive_buffer,
            sources,
        });
        let started_ns = now_ns();
        let fleet = Fleet::start(&settings.program, plans.collect())?;
        Ok(Self { settings, say, fleet, processes, run, started_ns, samples })
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        let connected = self.await_connections()?;
        let timeline = self.publish(connected)?;
        self.count_up(timeline)
    }

    /// Publishes everything, and waits until it has come; then perhaps for a drain.
    pub(crate) fn publish(&mut self, connected: Progress) -> Result<Timeline, Error> {
        let publish_ns = now_ns();
        let (published, delivered) = self.await_deliveries(connected)?;
        self.samples.after = self.sample();
        let drain = self.await_drain()?;
        Ok(Timeline { connected, publish_ns, published, delivered, drain })
    }

    /// Holds all connections for so long, and publishes nothing.
    pub(crate) fn hold(
        &mut self,
        connected: Progress,
        duration: Duration,
    ) -> Result<Timeline, Error> {
        let publish_ns = now_ns();
        let until_ns = publish_ns + duration.as_nanos() as u64;
        let delivered = loop {
            let progress = self.fleet.listen(LISTEN)?;
            let left_ns = until_ns.saturating_sub(now_ns());
            if left_ns == 0 {
                break progress;
            }
            let open = progress.subscribed - progress.ended;
            self.say.progress(&|| format!("{open} open, {} s to go", left_ns / 1_000_000_000));
        };
        self.samples.after = self.sample();
        Ok(Timeline { connected, publish_ns, published: Vec::new(), delivered, drain: None })
    }

    /// Lets all connections go, and tells how it went.
    pub(crate) fn count_up(self, timeline: Timeline) -> Result<Outcome, Error> {
        let mut by_priority = ByPriority::default();
        for (flow, published) in &timeline.published {
            by_priority[flow.priority] = u64::from(published.accepted);
        }
        let events = by_priority[self.settings.priority];
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let tally = self.fleet.finish(events, by_priority)?;
        let times = Times {
            settings: self.settings,
            started_ns: self.started_ns,
            processes: self.processes,
            samples: &self.samples,
        };
        Ok(times.outcome(&timeline, &tally))
    }

    /// Until all are subscribed or given up, and have settled.
    pub(crate) fn await_connections(&mut self) -> Result<Progress, Error> {
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            let settled = progress.subscribed + progress.failed;
            if settled >= u64::from(self.settings.connections) {
                let progress = match self.settings.settle {
                    Duration::ZERO => progress,
                    settle => self.fleet.listen(settle)?,
                };
                self.samples.idle = self.sample();
                return Ok(progress);
            }
            self.say.progress(&|| {
                format!("{} subscribed, {} failed", progress.subscribed, progress.failed)
            });
        }
    }

    /// Publishes, and listens until everything has come or nothing comes any more.
    fn await_deliveries(
        &mut self,
        connected: Progress,
    ) -> Result<(Vec<(Flow, Published)>, Progress), Error> {
        let mut publishers = self.start_publishers()?;
        if publishers.is_empty() {
            return Ok((Vec::new(), connected));
        }
        let warm_ns = now_ns() + self.settings.warm_up.as_nanos() as u64;
        let mut published = Vec::new();
        let mut last_change = (0, now_ns());
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            if now_ns() >= warm_ns && self.samples.warm.is_none() {
                self.samples.warm = match self.settings.warm_up {
                    Duration::ZERO => self.samples.idle.map(|sample| (sample, 0)),
                    _ => self.sample().map(|sample| (sample, progress.deliveries)),
                };
            }
            if publishers.iter().all(|(_, handle)| handle.is_finished()) {
                for (flow, handle) in publishers.drain(..) {
                    published.push((flow, join(handle)?));
                    last_change.1 = now_ns();
                }
            }
            if progress.deliveries != last_change.0 {
                last_change = (progress.deliveries, now_ns());
            }
            self.say.progress(&|| format!("{} deliveries", progress.deliveries));
            if published.is_empty() {
                continue;
            }
            let expected = expected(self.settings, &published, progress.subscribed);
            let is_quiet = now_ns() > last_change.1 + self.settings.quiet.as_nanos() as u64;
            if progress.deliveries >= expected || is_quiet {
                return Ok((published, progress));
            }
        }
    }

    /// One for each priority, each on a connection of its own, so that urgent events do not wait
    /// for the others.
    fn start_publishers(&self) -> Result<Vec<(Flow, JoinHandle<Published>)>, Error> {
        let settings = self.settings;
        let Some(control) = settings.control.clone() else { return Ok(Vec::new()) };
        let way = match &settings.template {
            None => Way::Alarmcast { control },
            Some(Template { publish, .. }) => {
                let (target, publish) = (settings.target.clone(), publish.clone());
                Way::Other { control, target, publish }
            }
        };
        let kind_of_low = match &settings.filters {
            Filters::Same(_) => Kind::Low,
            classes => Kind::LowByClass { classes: classes.published_classes() },
        };
        let flows = settings.flows().filter(|flow| flow.events > 0).map(|flow| {
            let plan = publish::Plan {
                way: way.clone(),
                run: self.run,
                events: flow.events,
                rate: flow.rate,
                event_bytes: settings.event_bytes,
                kind: match flow.priority {
                    Priority::Low => kind_of_low,
                    priority => Kind::Of(priority),
                },
            };
            Ok((flow, start_publisher(plan)?))
        });
        flows.collect()
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
        self.say.phase(READY_FOR_DRAIN);
        let since_ns = now_ns();
        loop {
            let progress = self.fleet.listen(LISTEN)?;
            let now = now_ns();
            if progress.ended >= before.subscribed || now > since_ns + timeout.as_nanos() as u64 {
                let expected = before.subscribed.saturating_sub(before.ended);
                let seconds = seconds(since_ns, now);
                return Ok(Some(Drain { expected, seconds, ..Drain::default() }));
            }
            self.say.progress(&|| format!("{} of {} ended", progress.ended, progress.subscribed));
        }
    }

    /// A server that is gone is not measured; what it left undone is counted all the same.
    fn sample(&self) -> Option<Sample> {
        self.settings.server_pid.map(sample).and_then(Result::ok)
    }
}

impl Settings {
    /// The events, and the others.
    fn flows(&self) -> impl Iterator<Item = Flow> {
        let first = Flow { priority: self.priority, events: self.events, rate: self.rate };
        std::iter::once(first).chain(self.others.iter().copied())
    }

    /// By priority, how many events go out before it is over; low ones of each class.
    fn warm_up_events(&self) -> ByPriority<u32> {
        let mut events = ByPriority::default();
        for flow in self.flows() {
            events[flow.priority] = (self.warm_up.as_secs_f64() * flow.rate).ceil() as u32;
        }
        events.low = events.low.div_ceil(self.filters.published_classes());
        events
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
fn expected(settings: &Settings, published: &[(Flow, Published)], subscribed: u64) -> u64 {
    let accepted = published.iter().map(|(_, published)| published.accepted);
    match settings.filters {
        Filters::Same(_) | Filters::Mixed { .. } => {
            accepted.map(u64::from).sum::<u64>() * subscribed
        }
        // Of connections that are missing it is not known which.
        Filters::Classes { .. } => {
            settings.filters.due_to_all(settings.connections, accepted.sum())
        }
    }
}

/// Turns counts and moments into an outcome.
struct Times<'a> {
    settings: &'a Settings,
    started_ns: u64,
    processes: usize,
    samples: &'a Samples,
}

impl Times<'_> {
    fn outcome(&self, timeline: &Timeline, tally: &Tally) -> Outcome {
        let mut outcome = Outcome {
            ok: true,
            complaints: Vec::new(),
            connections: self.connections(timeline, tally),
            publishing: self.publishing_of(self.settings.priority, timeline),
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
            slowest_us: tally.slowest_us.clone(),
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
            pings: tally.pings,
        }
    }

    fn publishing_of(&self, priority: Priority, timeline: &Timeline) -> Publishing {
        let mut flows = timeline.published.iter();
        match flows.find(|(flow, _)| flow.priority == priority) {
            Some((flow, published)) => self.publishing(flow, published),
            None => Publishing {
                rate: self.settings.rate,
                event_bytes: self.settings.event_bytes,
                ..Publishing::default()
            },
        }
    }

    fn publishing(&self, flow: &Flow, published: &Published) -> Publishing {
        Publishing {
            events: flow.events,
            rate: flow.rate,
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
            expected: expected(self.settings, &timeline.published, tally.subscribed),
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
        if self.settings.others.is_empty() {
            return None;
        }
        let mut lanes = ByPriority::<Option<Lane>>::default();
        for (flow, published) in &timeline.published {
            let lane = lane(self.publishing(flow, published), &tally.lanes[flow.priority]);
            lanes[flow.priority] = Some(lane);
        }
        let p99 = |priority| lanes[priority].as_ref().map_or(0, |lane: &Lane| lane.due_us.p99);
        let p99_ratio = per_each(p99(Priority::Critical) as f64, p99(Priority::Low));
        Some(Priorities { p99_ratio, lanes })
    }

    fn series(&self, tally: &Tally) -> Vec<Series> {
        if self.settings.others.is_empty() {
            return vec![Series::new(self.settings.priority.name(), tally.latency())];
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
        let Samples { before: Some(before), idle: Some(idle), warm, after: Some(after) } =
            *self.samples
        else {
            return None;
        };
        let (warm, warm_deliveries) = warm.unwrap_or((idle, 0));
        let deliveries = tally.deliveries.saturating_sub(warm_deliveries);
        let user_us = after.user_us.saturating_sub(warm.user_us) as f64;
        let system_us = after.system_us.saturating_sub(warm.system_us) as f64;
        let connect_us = idle.cpu_us().saturating_sub(before.cpu_us()) as f64;
        let grown = idle.rss_bytes as f64 - before.rss_bytes as f64;
        Some(Server {
            cpu_seconds: (user_us + system_us) / 1e6,
            cpu_us_per_delivery: per_each(user_us + system_us, deliveries),
            user_us_per_delivery: per_each(user_us, deliveries),
            cpu_us_per_connect: per_each(connect_us, tally.subscribed),
            rss_bytes_before: before.rss_bytes,
            rss_bytes_idle: idle.rss_bytes,
            rss_bytes_after: after.rss_bytes,
            rss_bytes_per_connection: per_each(grown, tally.subscribed),
            descriptors: idle.descriptors,
        })
    }
}

fn lane(publishing: Publishing, tally: &LaneTally) -> Lane {
    Lane {
        publishing,
        delivered: tally.delivered,
        dropped: tally.dropped,
        unaccounted: tally.unaccounted,
        due_us: latency(&histogram_of(&tally.due_us)),
        sent_us: latency(&histogram_of(&tally.sent_us)),
    }
}

pub(crate) fn latency(latency: &Histogram<u64>) -> Latency {
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

/// What is wrong beside low events that were not accepted: these were told of before.
fn complaints_of_priorities(priorities: &Priorities) -> Vec<String> {
    let lanes = Priority::ALL
        .into_iter()
        .filter_map(|priority| priorities.lanes[priority].as_ref().map(|lane| (priority, lane)));
    lanes.flat_map(|(priority, lane)| complaints_of_lane(priority, lane)).collect()
}

fn complaints_of_lane(priority: Priority, lane: &Lane) -> Vec<String> {
    let (name, publishing) = (priority.name(), &lane.publishing);
    let mut complaints = Vec::new();
    if priority != Priority::Low {
        let failure = publishing.failure.iter();
        complaints.extend(failure.map(|why| format!("publishing {name} events broke off: {why}")));
        let missing = publishing.events.saturating_sub(publishing.accepted);
        if missing > 0 {
            complaints.push(format!("{missing} {name} events were not accepted"));
        }
    }
    if priority == Priority::Critical && lane.dropped > 0 {
        complaints.push(format!("{} critical events were dropped", lane.dropped));
    }
    if lane.unaccounted > 0 {
        complaints.push(format!("{} {name} events are not accounted for", lane.unaccounted));
    }
    complaints
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

//! The course of a run: a flood without slow subscribers, one with them, and one without again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;

use crate::Error;
use crate::clock::now_ns;
use crate::priority::{ByPriority, Priority};
use crate::say::Say;
use crate::series::Series;
use crate::server_process;
use crate::slow::audit::{Published, audit};
use crate::slow::flood::Publisher;
use crate::slow::outcome::{Fast as FastOutcome, Flood, Slow as SlowConnection, SlowOutcome};
use crate::slow::readers::{Fast, Pace, Slow};
use crate::tally::empty_histogram;
use crate::target::Target;

/// Events that a fast subscriber may have to come: below the server's first watermark, so
/// that it never loses any.
pub const WINDOW: u64 = 480;
/// The server's TCP_NOTSENT_LOWAT and its largest send: of less urgent events no more than
/// that may come between a critical event and the network.
const UNSENT_BYTES_MAX: u64 = (8 + 32) * 1024;
/// One share of a run that serves for comparison, before and after.
const REFERENCE_SHARE: u64 = 10;

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Target,
    /// The control endpoint, `http://HOST:PORT`.
    pub control: String,
    /// Published while slow subscribers are connected.
    pub events: u64,
    /// Events in one request, [`WINDOW`] at most.
    pub batch: u64,
    pub event_bytes: usize,
    /// Of the events that are not critical.
    pub weights: Weights,
    /// Critical events among them, evenly spread.
    pub criticals: u64,
    pub fast: usize,
    pub slow: usize,
    pub pace: Pace,
    /// How long nothing may come before what is missing counts as missing.
    pub quiet: Duration,
    pub server_pid: Option<u32>,
    /// Of the order of priorities.
    pub seed: u64,
}

/// How often events of each priority come.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    pub high: u32,
    pub normal: u32,
    pub low: u32,
}

impl Weights {
    fn draw(self, random: &mut Rng) -> Priority {
        let drawn = random.u32(0..self.high + self.normal + self.low);
        match drawn {
            drawn if drawn < self.high => Priority::High,
            drawn if drawn < self.high + self.normal => Priority::Normal,
            _ => Priority::Low,
        }
    }
}

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<SlowOutcome, Error> {
    let mut run = Run {
        settings,
        publisher: Publisher::new(&settings.control, settings.event_bytes),
        random: Rng::with_seed(settings.seed),
        fast: (0..settings.fast)
            .map(|_| Fast::start(&settings.target))
            .collect::<Result<_, _>>()?,
        slow: Vec::new(),
        probing_ns: 0,
        series: Vec::new(),
        say,
    };
    let reference = settings.events / REFERENCE_SHARE;
    let reference_criticals = settings.criticals / REFERENCE_SHARE;
    run.say.phase("a flood without slow subscribers");
    let before = run.flood("before", reference, reference_criticals)?;
    for _ in 0..settings.slow {
        run.slow.push(Slow::start(&settings.target, settings.pace)?);
    }
    run.say.phase("a flood with slow subscribers");
    let first = run.publisher.published.priorities.len();
    let during = run.flood("during", settings.events, settings.criticals)?;
    run.say.phase("slow subscribers read on");
    let slow = run.audit_slow(first, during.seconds);
    run.say.phase("a flood without slow subscribers again");
    let after = run.flood("after", reference, reference_criticals)?;
    let fast = run.finish_fast();
    let mut outcome = SlowOutcome {
        seed: settings.seed,
        event_bytes: settings.event_bytes,
        rate_ratio: ratio(during.per_second, (before.per_second + after.per_second) / 2.0),
        before,
        during,
        after,
        fast,
        slow: Vec::new(),
        series: run.series,
        ..SlowOutcome::default()
    };
    let mut complaints = complaints_about_fast(&outcome.fast);
    for (connection, wrong) in slow {
        complaints.extend(connection.failure.clone());
        let unsent = connection.behind.unsent_bytes_max;
        if unsent > UNSENT_BYTES_MAX {
            complaints.push(format!("{unsent} bytes stood before a critical event at the server"));
        }
        complaints.extend(wrong.iter().map(|(what, count)| format!("{count} {what}")));
        outcome.slow.push(connection);
    }
    outcome.ok = complaints.is_empty();
    outcome.complaints = complaints;
    Ok(outcome)
}

struct Run<'a> {
    settings: &'a Settings,
    publisher: Publisher,
    random: Rng,
    fast: Vec<Fast>,
    slow: Vec<Slow>,
    /// Spent on looking at the kernel's tables, while nothing is published.
    probing_ns: u64,
    /// How long requests took, by flood.
    series: Vec<Series>,
    say: &'a mut dyn Say,
}

type Wrong = BTreeMap<&'static str, u64>;

impl Run<'_> {
    /// Publishes so many events, with critical ones evenly among them.
    fn flood(&mut self, name: &str, events: u64, criticals: u64) -> Result<Flood, Error> {
        let cpu_before_us = self.server_cpu_us()?;
        let started_ns = now_ns();
        self.probing_ns = 0;
        let mut turnaround_us = empty_histogram();
        let mut under_way: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut left, mut criticals_done) = (events, 0);
        while left > 0 {
            let published = self.published();
            self.say.progress(&|| format!("{} of {events} events", events - left));
            self.wait_for((published + self.settings.batch).saturating_sub(WINDOW))?;
            self.note_turnarounds(&mut under_way, |us| turnaround_us.saturating_record(us));
            // One that is due already goes before the next batch.
            let is_critical = criticals_done < criticals
                && (events - left) * criticals >= criticals_done * events;
            if is_critical {
                self.publish_critical()?;
                criticals_done += 1;
                left -= 1;
                continue;
            }
            let request_ns = now_ns();
            let count = self.settings.batch.min(left);
            let Self { random, settings, .. } = self;
            let batch: Vec<_> = (0..count).map(|_| settings.weights.draw(random)).collect();
            self.publisher.publish(&batch)?;
            under_way.push_back((self.published(), request_ns));
            left -= count;
        }
        self.wait_for(self.published())?;
        self.note_turnarounds(&mut under_way, |us| turnaround_us.saturating_record(us));
        let seconds = (now_ns() - started_ns - self.probing_ns) as f64 / 1e9;
        let cpu_us = self.server_cpu_us()?.zip(cpu_before_us).map(|(after, before)| after - before);
        let (p50_us, p99_us) =
            (turnaround_us.value_at_quantile(0.5), turnaround_us.value_at_quantile(0.99));
        self.series.push(Series::new(name, turnaround_us));
        Ok(Flood {
            server_cpu_us_per_event: cpu_us.map(|us| ratio(us as f64, events as f64)),
            events,
            seconds,
            per_second: ratio(events as f64, seconds),
            request_p50_us: p50_us,
            request_p99_us: p99_us,
        })
    }

    /// Once the fast subscribers have it, the shard has queued it for the slow ones too, where
    /// all are on one shard: what stands before it then is all that ever will.
    fn publish_critical(&mut self) -> Result<(), Error> {
        let seq = self.publisher.publish(&[Priority::Critical])?;
        self.wait_for(self.published())?;
        let before_ns = now_ns();
        self.slow.iter_mut().for_each(|slow| slow.probe(seq));
        self.probing_ns += now_ns() - before_ns;
        Ok(())
    }

    fn server_cpu_us(&self) -> Result<Option<u64>, Error> {
        self.settings.server_pid.map(server_process::cpu_us).transpose()
    }

    fn published(&self) -> u64 {
        self.publisher.published.priorities.len() as u64
    }

    fn wait_for(&self, events: u64) -> Result<(), Error> {
        self.fast.iter().try_for_each(|fast| fast.wait_for(events, self.settings.quiet))
    }

    fn note_turnarounds(&self, under_way: &mut VecDeque<(u64, u64)>, mut note: impl FnMut(u64)) {
        let have = self.fast.iter().map(Fast::accounted).min().unwrap_or(0);
        while let Some((_, request_ns)) = under_way.pop_front_if(|(end, _)| *end <= have) {
            note((now_ns() - request_ns) / 1_000);
        }
    }

    /// Lets the slow subscribers read to the end, and audits what each heard of the events
    /// from the `first` on.
    fn audit_slow(&mut self, first: usize, seconds: f64) -> Vec<(SlowConnection, Wrong)> {
        let all = &self.publisher.published;
        let published = Published {
            first_seq: all.first_seq + first as u64,
            priorities: all.priorities[first..].to_vec(),
        };
        let quiet = self.settings.quiet;
        let slow = self.slow.drain(..).map(|slow| {
            let received = slow.received();
            let (entries, probes, failure) = slow.finish(published.priorities.len() as u64, quiet);
            let verdict = audit(&published, &entries, &probes);
            let connection = SlowConnection {
                published: verdict.published,
                delivered: verdict.delivered,
                dropped: verdict.dropped,
                notices: verdict.notices,
                lost: verdict.lost,
                behind: verdict.behind,
                bytes_per_second: ratio(received as f64, seconds),
                failure,
            };
            (connection, verdict.wrong)
        });
        slow.collect()
    }

    fn finish_fast(&mut self) -> FastOutcome {
        let published = self.published();
        let mut outcome =
            FastOutcome { connections: self.fast.len(), published, ..FastOutcome::default() };
        for counts in self.fast.drain(..).map(Fast::finish) {
            outcome.delivered += counts.delivered.sum();
            outcome.dropped += counts.dropped.sum();
            outcome.out_of_order += counts.out_of_order;
            outcome.not_as_published +=
                not_as(&self.publisher.published.counts(), &counts.delivered);
        }
        outcome
    }
}

fn not_as(published: &ByPriority<u64>, delivered: &ByPriority<u64>) -> u64 {
    Priority::ALL
        .into_iter()
        .map(|priority| published[priority].abs_diff(delivered[priority]))
        .sum()
}

fn complaints_about_fast(fast: &FastOutcome) -> Vec<String> {
    let counts = [
        (fast.dropped, "events were dropped for fast subscribers"),
        (fast.out_of_order, "events came out of order to fast subscribers"),
        (fast.not_as_published, "events of fast subscribers are not as published"),
    ];
    let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
    wrong.map(|(count, what)| format!("{count} {what}")).collect()
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

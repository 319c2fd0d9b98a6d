//! `alarmcast demo`: a storm of incidents in an LLM platform, published at a given rate into
//! a running server.

mod scenarios;
mod storm;

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::chance::Chance;
use super::http::{Answer, Api, DEFAULT_CONTROL};
use super::stop::Stop;
use crate::base::clock::{Clock, Instant};
use crate::base::logged::Logged;
use storm::Storm;

/// Between two requests, unless the server is slower.
const TICK: Duration = Duration::from_millis(100);
/// Events of one request.
const BATCH_MAX: u64 = 1_000;
/// Between progress lines that are not overwritten.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Arguments {
    /// The control endpoint of the server
    #[arg(long, value_name = "URL", default_value = DEFAULT_CONTROL)]
    control: String,
    /// Events a second
    #[arg(long, value_name = "EVENTS/S", default_value_t = 20.0, value_parser = parse_rate)]
    rate: f64,
    /// Seconds until the end; by default it goes on until Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<Duration>,
    /// Repeats the same storm
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number from 0.01 to 1000000".into()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "a duration is a number of seconds, such as 30 or 30s".into())
}

/// # Errors
/// When no server answers, or it refuses what the demo sends.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let seed = arguments.seed.unwrap_or_else(Chance::any_seed);
    let clock = Clock::System;
    let mut demo = Demo {
        api: Api::new(&arguments.control)?,
        storm: Storm::new(seed),
        stop: Stop::on_interrupt(),
        progress: Progress::new(&clock),
        clock,
    };
    eprintln!("publishing {} events/s, seed {seed}; Ctrl-C ends", arguments.rate);
    let outcome = demo.blow(arguments.rate, arguments.duration);
    demo.progress.finish(demo.clock.now());
    match outcome {
        // Without a duration this is how a demo is meant to end.
        Err(Failure::Interrupted) if arguments.duration.is_none() => Ok(()),
        outcome => outcome,
    }
}

struct Demo {
    api: Api,
    storm: Storm,
    stop: Stop,
    progress: Progress,
    clock: Clock,
}

impl Demo {
    fn blow(&mut self, rate: f64, duration: Option<Duration>) -> Result<(), Failure> {
        let start = self.clock.now();
        let mut paced: u64 = 0;
        // Events that were due while the server could not take them are not made up for.
        let mut skipped: u64 = 0;
        loop {
            let elapsed = self.clock.now().since(start);
            if duration.is_some_and(|duration| elapsed >= duration) {
                return Ok(());
            }
            let due = 1 + (elapsed.as_secs_f64() * rate) as u64;
            let behind = due.saturating_sub(paced + skipped);
            let batch = behind.min(BATCH_MAX);
            if batch > 0 {
                self.publish(batch)?;
                paced += batch;
            }
            skipped += (behind - batch).saturating_sub(BATCH_MAX * 10);
            self.progress.tell(self.clock.now());
            let pause = if behind > batch { Duration::ZERO } else { self.next_pause(rate) };
            if self.stop.wait(pause) {
                return Err(Failure::Interrupted);
            }
        }
    }

    fn next_pause(&self, rate: f64) -> Duration {
        // One event at a time, or all of a tick together.
        Duration::from_secs_f64(1.0 / rate).max(TICK).min(Duration::from_secs(1))
    }

    /// Publishes the next events of the storm, however long the server makes it wait.
    fn publish(&mut self, count: u64) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let event = self.storm.next_event(self.clock.wall());
            serde_json::to_writer(&mut lines, &event).map_err(|e| Failure::new(e.to_string()))?;
            lines.push(b'\n');
        }
        loop {
            match self.api.publish(&lines)? {
                Answer::Results(results) => {
                    if let Some(error) = results.iter().find_map(|result| result.error.as_ref()) {
                        let (code, message) = (Logged(&error.code), Logged(&error.message));
                        let path = Logged(&error.path);
                        return Err(Failure::new(format!(
                            "the server refused an event: {code} at {path}: {message}"
                        )));
                    }
                    self.progress.sent += count;
                    return Ok(());
                }
                Answer::Wait { after, .. } => {
                    self.progress.refusals += 1;
                    self.progress.tell(self.clock.now());
                    if self.stop.wait(after) {
                        return Err(Failure::Interrupted);
                    }
                }
            }
        }
    }
}

/// The line on stderr.
struct Progress {
    sent: u64,
    /// Requests that the server told to wait.
    refusals: u64,
    start: Instant,
    told_at: Instant,
    told_sent: u64,
    overwrites: bool,
}

impl Progress {
    fn new(clock: &Clock) -> Self {
        let start = clock.now();
        let overwrites = stderr().is_terminal();
        Self { sent: 0, refusals: 0, start, told_at: start, told_sent: 0, overwrites }
    }

    fn tell(&mut self, now: Instant) {
        let interval = if self.overwrites { Duration::from_secs(1) } else { PROGRESS_INTERVAL };
        let since = now.since(self.told_at);
        if since < interval {
            return;
        }
        let rate = (self.sent - self.told_sent) as f64 / since.as_secs_f64();
        let (begin, end) = if self.overwrites { ("\r\x1b[K", "") } else { ("", "\n") };
        let (sent, refusals) = (self.sent, self.refusals);
        // Progress that nobody can read is no reason to stop.
        let _ = write!(
            stderr(),
            "{begin}{sent} events sent, {rate:.0} events/s, {refusals} requests told to wait{end}"
        );
        (self.told_at, self.told_sent) = (now, self.sent);
    }

    fn finish(&self, now: Instant) {
        let seconds = now.since(self.start).as_secs_f64();
        let rate = self.sent as f64 / seconds.max(0.001);
        let begin = if self.overwrites { "\r\x1b[K" } else { "" };
        let (sent, refusals) = (self.sent, self.refusals);
        eprintln!(
            "{begin}{sent} events sent in {seconds:.1} s, {rate:.0} events/s, \
             {refusals} requests told to wait"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_durations_are_read_and_checked() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_seconds("30s"), Ok(Duration::from_secs(30)));
        for text in ["", "-1", "x", "inf", "NaN"] {
            assert!(parse_seconds(text).is_err(), "{text}");
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        assert!(parse_rate("0").is_err());
    }
}

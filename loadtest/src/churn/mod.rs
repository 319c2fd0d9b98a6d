//! The scenario of connections that come and go at a steady rate, while others stay and events
//! flow.

mod visitors;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::fanout::{Run, Settings as FanoutSettings, latency};
use crate::outcome::{Latency, Outcome};
use crate::say::Say;
use crate::series::Series;
use visitors::{Visited, Visitors};

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those that stay, and the events.
    pub fanout: FanoutSettings,
    /// Visitors that come in a second, whatever the server does.
    pub visits_per_second: f64,
    /// From subscribed to goodbye.
    pub stay: Duration,
}

/// What the run showed; serialised as the result of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChurnOutcome {
    /// Nothing is missing for those that stayed, and every visitor was let in.
    pub ok: bool,
    pub complaints: Vec<String>,
    /// Of those that stayed. In `server`, CPU time is for visitors too.
    pub fanout: Outcome,
    pub visits: Visits,
    /// From due to delivered of those that stayed, and from due to subscribed of visitors.
    #[serde(skip)]
    pub series: Vec<Series>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Visits {
    /// Visitors that were due while events went out.
    pub due: u64,
    pub subscribed: u64,
    /// Visits that were ended by the server's close frame after ours.
    pub orderly: u64,
    /// Those that were not let in, or were cut off, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Subscribed in a second, from the first that was due to the last that was subscribed.
    pub per_second: f64,
    pub stay_seconds: f64,
    /// From the moment a visitor was due: connecting, handshake, `welcome`, `subscribed`.
    pub connect_us: Latency,
    pub deliveries: u64,
    /// Steps of more than one in the seq of what a visitor was sent, and seqs not above the
    /// last.
    pub seq_gaps: u64,
    pub seq_not_rising: u64,
}

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<ChurnOutcome, Error> {
    let mut run = Run::start(&settings.fanout, say)?;
    let connected = run.await_connections()?;
    let visitors = Visitors::new(settings, run.run)?;
    let visiting = thread::Builder::new().name("visitors".to_owned()).spawn(|| visitors.run());
    let visiting = visiting.map_err(Error::io("cannot start a thread"))?;
    let timeline = run.publish(connected)?;
    let visited = visiting.join().map_err(|_| Error::PublisherPanicked)?;
    let visited = visited.map_err(Error::io("cannot wait for visitors"))?;
    Ok(conclude(settings, run.count_up(timeline)?, visited))
}

fn conclude(settings: &Settings, fanout: Outcome, visited: Visited) -> ChurnOutcome {
    let Visited { ledger, connect_us, due, subscribed, orderly, failures, seconds } = visited;
    let visits = Visits {
        due,
        subscribed,
        orderly,
        failures,
        per_second: if seconds > 0.0 { subscribed as f64 / seconds } else { 0.0 },
        stay_seconds: settings.stay.as_secs_f64(),
        connect_us: latency(&connect_us),
        deliveries: ledger.deliveries,
        seq_gaps: ledger.seq_gaps,
        seq_not_rising: ledger.seq_not_rising,
    };
    let failed: u64 = visits.failures.values().sum();
    let errors: u64 = ledger.errors.values().sum();
    let counts = [
        (failed, "visitors were not let in, or were cut off"),
        (visits.seq_gaps, "gaps are in the seq of visitors"),
        (visits.seq_not_rising, "events of visitors had a seq not above the one before"),
        (errors, "errors were reported to visitors"),
    ];
    let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut complaints = fanout.complaints.clone();
    complaints.extend(wrong.map(|(count, what)| format!("{count} {what}")));
    let connect = Series::new("connect", connect_us);
    ChurnOutcome {
        ok: complaints.is_empty(),
        complaints,
        series: fanout.series.iter().cloned().chain([connect]).collect(),
        fanout,
        visits,
    }
}

//! The scenario of very many connections that nothing happens to: what they cost in memory.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::fanout::{Run, Settings as FanoutSettings};
use crate::kernel_memory::{self, KernelMemory};
use crate::outcome::Outcome;
use crate::say::Say;
use crate::series::Series;

/// A run, in full.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The connections.
    pub fanout: FanoutSettings,
    /// How long all are held.
    pub hold: Duration,
}

/// What the run showed; serialised as the result of `--json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleOutcome {
    /// All were subscribed and held to the end.
    pub ok: bool,
    pub complaints: Vec<String>,
    pub hold_seconds: f64,
    /// A fan-out of nothing. In `server`, memory at the end is after the hold, and
    /// CPU time is that of the hold.
    pub fanout: Outcome,
    /// Of the whole machine: before connecting, with all connected, after the hold.
    pub kernel_before: KernelMemory,
    pub kernel_connected: KernelMemory,
    pub kernel_held: KernelMemory,
    /// Kernel memory per connection, of both its ends where both are on this machine.
    pub kernel_bytes_per_connection: f64,
    /// Nothing is delivered, so that there are none.
    #[serde(skip)]
    pub series: Vec<Series>,
}

/// Runs the scenario; `say` is told how it goes.
///
/// # Errors
/// When it could not be run; what the server failed at is in the outcome.
pub fn run(settings: &Settings, say: &mut dyn Say) -> Result<IdleOutcome, Error> {
    let kernel_before = kernel_memory::look()?;
    let mut run = Run::start(&settings.fanout, say)?;
    let connected = run.await_connections()?;
    let kernel_connected = kernel_memory::look()?;
    let timeline = run.hold(connected, settings.hold)?;
    let kernel_held = kernel_memory::look()?;
    let fanout = run.count_up(timeline)?;
    let grown = |of: fn(&KernelMemory) -> u64| of(&kernel_held) as f64 - of(&kernel_before) as f64;
    let kernel_bytes = grown(|it| it.slab_bytes) + grown(|it| it.tcp_buffer_bytes);
    Ok(IdleOutcome {
        ok: fanout.ok,
        complaints: fanout.complaints.clone(),
        hold_seconds: settings.hold.as_secs_f64(),
        kernel_bytes_per_connection: kernel_bytes / fanout.connections.subscribed.max(1) as f64,
        fanout,
        kernel_before,
        kernel_connected,
        kernel_held,
        series: Vec::new(),
    })
}

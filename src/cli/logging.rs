//! The log on stderr, whose level can be changed while the process runs.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

use crate::config::{Log, LogFormat};

/// Changes the level of the log.
pub struct Level(Box<dyn Fn(&str) + Send>);

impl Level {
    /// `level` is as `log.level` has it.
    pub fn set(&self, level: &str) {
        (self.0)(level);
    }
}

/// Starts to log.
pub fn start(log: &Log) -> Level {
    let json = match log.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // Where nobody reads stderr any more, telling of that on stderr would be a panic of whoever logs.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.level))
        .with_writer(stderr)
        .log_internal_errors(false);
    // The second logger of a process is refused; the first then serves.
    if json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let level = level_of(builder.reload_handle());
        let _ = builder.try_init();
        level
    } else {
        let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let builder = builder.with_ansi(colours).with_filter_reloading();
        let level = level_of(builder.reload_handle());
        let _ = builder.try_init();
        level
    }
}

fn level_of<S: 'static>(handle: Handle<EnvFilter, S>) -> Level {
    Level(Box::new(move |level| {
        // Fails only where the logger is gone, and then there is nothing to set.
        let _ = handle.reload(filter(level));
    }))
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(level)
}

//! What has to be known about a run to judge or repeat it.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Agent;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub scenario: String,
    /// What the server is called in reports, as `--label` says.
    pub label: Option<String>,
    /// This program's arguments, itself included.
    pub command: Vec<String>,
    /// The arguments that a scenario's file stood for.
    #[serde(default)]
    pub from_file: Option<Vec<String>>,
    pub clock: Clock,
    pub machine: Machine,
    pub versions: Versions,
}

/// When a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    pub started: Timestamp,
    pub seconds: f64,
}

/// A run's clock while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    started: Timestamp,
    since: Instant,
}

/// The machine of the load tester.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Over a minute, when the run had ended.
    pub load_average: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub loadtest: String,
    /// As its control endpoint tells; absent when it does not.
    pub server: Option<String>,
}

impl About {
    /// Looks around, and asks the server for its version.
    pub fn collect(scenario: &str, label: Option<String>, control: &str, clock: Clock) -> Self {
        Self {
            scenario: scenario.to_owned(),
            label,
            command: std::env::args().collect(),
            from_file: None,
            clock,
            machine: Machine::look(),
            versions: Versions {
                loadtest: env!("CARGO_PKG_VERSION").to_owned(),
                server: server_version(control),
            },
        }
    }
}

impl Clock {
    pub fn start() -> Running {
        Running { started: Timestamp::now(), since: Instant::now() }
    }
}

impl Running {
    pub fn stop(self) -> Clock {
        Clock { started: self.started, seconds: self.since.elapsed().as_secs_f64() }
    }
}

impl Machine {
    fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kilobytes = memory.and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
        let (load, processors) = (read("/proc/loadavg"), read("/proc/cpuinfo"));
        Self {
            cpu: field(&processors, "model name").unwrap_or_default(),
            // Not those that this process may run on: it may be kept from the server's.
            cpus: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
        }
    }
}

fn server_version(control: &str) -> Option<String> {
    let url = format!("{}/health", control.trim_end_matches('/'));
    let config = Agent::config_builder().proxy(None).timeout_global(Some(ANSWER_TIMEOUT));
    let mut response = config.build().new_agent().get(&url).call().ok()?;
    let health: Value = response.body_mut().read_json().ok()?;
    Some(health["version"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::look();
        assert!(machine.cpus > 0 && machine.memory_bytes > 1024 * 1024, "{machine:?}");
        assert!(machine.kernel.contains('.'), "{machine:?}");
    }
}

//! The cores that this process may use, and how deep they sleep.

use super::files::{Reading, Root, parse_list};

#[derive(Clone, Debug)]
pub struct Processor {
    /// Numbers of the cores that this process may run on, in order.
    pub cores: Reading<Vec<usize>>,
    /// Each governor of the frequency that one of these cores has, once.
    pub governors: Reading<Vec<String>>,
    /// Of the first of these cores.
    pub idle_states: Reading<Vec<IdleState>>,
    pub clocksource: Reading<String>,
    pub clocksources: Reading<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleState {
    pub name: String,
    pub exit_latency_us: u64,
    pub is_disabled: bool,
}

impl Processor {
    pub fn read(root: &Root) -> Self {
        let cores = root.part("/proc/self/status", parse_cores);
        let source = "/sys/devices/system/clocksource/clocksource0";
        Self {
            governors: cores.clone().and_then(|cores| governors(root, &cores)),
            idle_states: cores.clone().and_then(|cores| idle_states(root, cores[0])),
            clocksource: root.text(&format!("{source}/current_clocksource")),
            clocksources: root.text(&format!("{source}/available_clocksource")),
            cores,
        }
    }
}

fn parse_cores(status: &str) -> Option<Vec<usize>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let ranges = parse_list(list.trim())?;
    let cores: Vec<usize> = ranges.into_iter().flat_map(|(first, last)| first..=last).collect();
    Some(cores).filter(|cores| !cores.is_empty())
}

fn governors(root: &Root, cores: &[usize]) -> Reading<Vec<String>> {
    let of = |core: &usize| {
        root.text(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
    };
    let mut governors = cores.iter().map(of).collect::<Reading<Vec<_>>>()?;
    governors.sort();
    governors.dedup();
    Ok(governors)
}

fn idle_states(root: &Root, core: usize) -> Reading<Vec<IdleState>> {
    let folder = format!("/sys/devices/system/cpu/cpu{core}/cpuidle");
    let names = root.names(&folder)?;
    let states = names.iter().filter(|name| name.starts_with("state"));
    states
        .map(|state| {
            Ok(IdleState {
                name: root.text(&format!("{folder}/{state}/name"))?,
                exit_latency_us: root.parsed(&format!("{folder}/{state}/latency"))?,
                is_disabled: root.parsed::<u64>(&format!("{folder}/{state}/disable"))? != 0,
            })
        })
        .collect()
}

//! The machine: its cores, and what else ran on it.

use std::fmt::{self, Display, Formatter};
use std::fs;

use crate::Result;

/// Which cores servers and load tester run on.
pub struct Cores {
    /// Lists as taskset(1) takes them; absent when there are not enough cores to divide.
    divided: Option<(String, String)>,
    count: usize,
    /// Both go before everything else on the machine.
    is_realtime: bool,
}

impl Cores {
    /// The first `shards` of the cores that this process may use are the server's.
    ///
    /// # Errors
    /// When the kernel does not say which those are.
    pub fn divide(shards: u32, is_realtime: bool) -> Result<Self> {
        let status = read("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cores = list.and_then(|list| ids(list.trim())).ok_or("no list of allowed cores")?;
        let shards = shards as usize;
        let divided = (cores.len() > shards).then(|| {
            let (server, tester) = cores.split_at(shards);
            (list_of(server), list_of(tester))
        });
        Ok(Self { divided, count: cores.len(), is_realtime })
    }

    /// What to put before a server's command.
    pub fn server_prefix(&self) -> Vec<String> {
        self.prefix(self.divided.as_ref().map(|(server, _)| server))
    }

    /// What to put before the load tester's command.
    pub fn tester_prefix(&self) -> Vec<String> {
        self.prefix(self.divided.as_ref().map(|(_, tester)| tester))
    }

    fn prefix(&self, cores: Option<&String>) -> Vec<String> {
        let realtime = self.is_realtime.then_some(["chrt", "--fifo", "5"]);
        let taskset = cores.map(|cores| ["taskset", "--cpu-list", cores]);
        realtime.iter().chain(&taskset).flatten().map(|word| (*word).to_owned()).collect()
    }
}

impl Display for Cores {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.divided {
            Some((server, tester)) => {
                write!(f, "servers on core {server}, load tester on core {tester}")
            }
            None => write!(f, "servers and load tester share {} cores", self.count),
        }
    }
}

/// Kernel and processor, as far as they are known.
pub fn describe() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |model| model.trim_start_matches([' ', '\t', ':']));
    format!("Linux {}, {model}", kernel.trim())
}

/// CPU time in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    pub busy: u64,
    pub all: u64,
}

/// Of the whole machine since it was started.
///
/// # Errors
/// When the kernel does not tell.
pub fn ticks() -> Result<Ticks> {
    let stat = read("/proc/stat")?;
    stat.lines().next().and_then(machine_ticks).ok_or_else(|| "/proc/stat is strange".to_owned())
}

/// Busy ticks of a process and the children that it has waited for; also of one that has
/// ended and was not waited for.
///
/// # Errors
/// When there is no such process.
pub fn process_ticks(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    process_stat_ticks(&read(&path)?).ok_or_else(|| format!("{path} is strange"))
}

/// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn machine_ticks(line: &str) -> Option<Ticks> {
    const IDLE: [usize; 2] = [3, 4];
    let fields: Option<Vec<u64>> =
        line.strip_prefix("cpu ")?.split_whitespace().take(8).map(|n| n.parse().ok()).collect();
    let fields = fields.filter(|fields| fields.len() == 8)?;
    let all: u64 = fields.iter().sum();
    Some(Ticks { busy: all - IDLE.map(|at| fields[at]).iter().sum::<u64>(), all })
}

/// proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17; field 3 is the first
/// after the name, which may hold anything.
fn process_stat_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().skip(11).take(4).map(|n| n.parse::<u64>().ok()).sum()
}

/// `0-2,5` as numbers.
fn ids(list: &str) -> Option<Vec<u32>> {
    let mut ids = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        ids.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(ids)
}

fn list_of(cores: &[u32]) -> String {
    cores.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_read_and_written() {
        assert_eq!(ids("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(list_of(&[0, 1, 5]), "0,1,5");
        assert_eq!(ids("all"), None);
    }

    #[test]
    fn a_command_is_put_on_its_cores_and_before_others() {
        let divided = Some(("0".to_owned(), "1,2".to_owned()));
        let cores = Cores { divided, count: 3, is_realtime: true };
        assert_eq!(cores.server_prefix().join(" "), "chrt --fifo 5 taskset --cpu-list 0");
        let shared = Cores { divided: None, count: 1, is_realtime: false };
        assert!(shared.tester_prefix().is_empty());
    }

    #[test]
    fn idle_time_and_waiting_for_disks_are_not_busy() {
        let line = "cpu  10 1 20 300 40 5 6 7 8 9";
        assert_eq!(machine_ticks(line), Some(Ticks { busy: 49, all: 389 }));
        assert_eq!(machine_ticks("cpu0 1 2"), None);
    }

    #[test]
    fn a_process_is_counted_with_its_children_whatever_its_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 3 4 20 0 5 0 1 1 1";
        assert_eq!(process_stat_ticks(stat), Some(49));
        assert!(process_ticks(std::process::id()).is_ok() && ticks().is_ok());
    }
}

//! What the server's process takes, from /proc.

use std::fs;
use std::path::PathBuf;

use crate::Error;

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time of all threads in user space, in µs; the kernel tells it in steps of 10 ms.
    pub user_us: u64,
    /// Time of all threads in the kernel, likewise.
    pub system_us: u64,
    /// Memory in use, in bytes: VmRSS.
    pub rss_bytes: u64,
    /// Open descriptors. Sockets in an io_uring's own table are not among them.
    pub descriptors: u64,
}

impl Sample {
    /// User and system time together.
    pub fn cpu_us(&self) -> u64 {
        self.user_us + self.system_us
    }
}

/// Looks at a process.
///
/// # Errors
/// When there is none of that id, or it belongs to somebody else.
pub fn sample(pid: u32) -> Result<Sample, Error> {
    let descriptors = path(pid, "fd");
    let descriptors = fs::read_dir(&descriptors)
        .map_err(Error::io(format!("cannot read {}", descriptors.display())))?
        .count() as u64;
    let (user_us, system_us) = times_us(pid)?;
    Ok(Sample { user_us, system_us, rss_bytes: resident_bytes(pid)?, descriptors })
}

/// Its CPU time alone, user and system together, in µs. For while latency is measured: counting
/// ten thousand descriptors takes milliseconds of a core.
///
/// # Errors
/// As [`sample`].
pub fn cpu_us(pid: u32) -> Result<u64, Error> {
    times_us(pid).map(|(user, system)| user + system)
}

/// Its memory alone, in bytes, for the same: [`Sample::rss_bytes`].
///
/// # Errors
/// As [`sample`].
pub fn resident_bytes(pid: u32) -> Result<u64, Error> {
    rss_bytes(&read(pid, "status")?).ok_or_else(|| unexpected(pid, "status"))
}

fn unexpected(pid: u32, file: &str) -> Error {
    Error::Usage(format!("/proc/{pid}/{file} is not as expected"))
}

fn path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn read(pid: u32, file: &str) -> Result<String, Error> {
    let path = path(pid, file);
    fs::read_to_string(&path).map_err(Error::io(format!("cannot read {}", path.display())))
}

/// User and system time.
fn times_us(pid: u32) -> Result<(u64, u64), Error> {
    times_of(&read(pid, "stat")?).ok_or_else(|| unexpected(pid, "stat"))
}

fn times_of(stat: &str) -> Option<(u64, u64)> {
    /// USER_HZ is 100 on every architecture that Linux shows /proc on today.
    const TICK_US: u64 = 10_000;
    /// proc_pid_stat(5): utime is field 14; field 3 is the first after the name.
    const UTIME_AFTER_NAME: usize = 11;
    // The name may hold anything, spaces and parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(UTIME_AFTER_NAME);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some((user * TICK_US, system * TICK_US))
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 5 0 1 1 1";
        assert_eq!(times_of(stat), Some((120_000, 300_000)));
    }

    #[test]
    fn this_process_can_be_sampled() {
        let sample = sample(std::process::id()).expect("this process runs");
        assert!(sample.rss_bytes > 0 && sample.descriptors >= 3);
    }
}

//! What the host says of itself. Reading changes nothing, and whatever cannot be read is a
//! reason instead of a value.

mod cgroup;
mod files;
mod interfaces;
mod memory;
mod network;
mod processor;

use std::path::Path;

pub use cgroup::Cgroup;
pub use files::{Reading, Unread};
pub use interfaces::Interface;
pub use memory::{Memory, Swap};
pub use network::{Conntrack, Network};
pub use processor::{IdleState, Processor};

use files::Root;

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct Host {
    pub descriptors: Descriptors,
    pub kernel: Kernel,
    pub network: Network,
    /// Those that are up, without loopback.
    pub interfaces: Reading<Vec<Interface>>,
    pub memory: Memory,
    pub cgroup: Cgroup,
    pub processor: Processor,
}

/// Limits of open files: of the process, and of the system.
#[derive(Clone, Debug)]
pub struct Descriptors {
    /// RLIMIT_NOFILE, soft and hard; `u64::MAX` is unlimited.
    pub nofile: Reading<(u64, u64)>,
    /// fs.file-nr: how many files are open in the system.
    pub files_open: Reading<u64>,
    pub file_max: Reading<u64>,
    pub nr_open: Reading<u64>,
}

#[derive(Clone, Debug)]
pub struct Kernel {
    pub release: Reading<String>,
    pub uring_disabled: Reading<u64>,
    /// What building a ring came to: what it can, or why it is refused.
    pub uring: Result<String, String>,
}

impl Host {
    /// Reads the files under `root`; `uring` is the outcome of a probe, which is no file.
    pub fn read(root: &Path, uring: Result<String, String>) -> Self {
        let root = Root::new(root);
        let processor = Processor::read(&root);
        Self {
            descriptors: Descriptors::read(&root),
            kernel: Kernel {
                release: root.text("/proc/sys/kernel/osrelease"),
                uring_disabled: root.parsed("/proc/sys/kernel/io_uring_disabled"),
                uring,
            },
            network: Network::read(&root),
            interfaces: interfaces::read(&root),
            memory: Memory::read(&root),
            cgroup: Cgroup::read(&root),
            processor,
        }
    }
}

impl Descriptors {
    fn read(root: &Root) -> Self {
        Self {
            nofile: root.part("/proc/self/limits", parse_nofile),
            files_open: root.numbers::<3>("/proc/sys/fs/file-nr").map(|[open, ..]| open),
            file_max: root.parsed("/proc/sys/fs/file-max"),
            nr_open: root.parsed("/proc/sys/fs/nr_open"),
        }
    }
}

fn parse_nofile(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut values = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((values.next()??, values.next()??))
}

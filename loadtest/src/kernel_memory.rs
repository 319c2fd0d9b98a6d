//! What the kernel takes for connections, machine-wide, from /proc.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use crate::Error;

/// At one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMemory {
    /// TCP sockets that are in use.
    pub tcp_sockets: u64,
    /// What is in their buffers: /proc/net/sockstat.
    pub tcp_buffer_bytes: u64,
    /// The kernel's own objects, sockets among them: `Slab` of /proc/meminfo.
    pub slab_bytes: u64,
}

/// Looks at the machine.
///
/// # Errors
/// When /proc does not tell.
pub fn look() -> Result<KernelMemory, Error> {
    let read =
        |path: &str| fs::read_to_string(path).map_err(Error::io(format!("cannot read {path}")));
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page_bytes = page_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4_096);
    understand(&read("/proc/net/sockstat")?, &read("/proc/meminfo")?, page_bytes).ok_or_else(|| {
        Error::Usage("/proc/net/sockstat and /proc/meminfo are not as expected".to_owned())
    })
}

fn understand(sockstat: &str, meminfo: &str, page_bytes: u64) -> Option<KernelMemory> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let words: Vec<&str> = tcp.split_whitespace().collect();
    let number = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)?.parse::<u64>().ok()
    };
    let slab = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    let slab_kilobytes: u64 = slab.split_whitespace().next()?.parse().ok()?;
    Some(KernelMemory {
        tcp_sockets: number("inuse")?,
        tcp_buffer_bytes: number("mem")? * page_bytes,
        slab_bytes: slab_kilobytes * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_tcp_and_slab_are_read() {
        let sockstat =
            "sockets: used 290\nTCP: inuse 24 orphan 0 tw 3 alloc 26 mem 7\nUDP: inuse 2 mem 1\n";
        let meminfo = "MemTotal:  1000 kB\nSlab:              60 kB\n";
        let expected =
            KernelMemory { tcp_sockets: 24, tcp_buffer_bytes: 28_672, slab_bytes: 61_440 };
        assert_eq!(understand(sockstat, meminfo, 4_096), Some(expected));
        assert_eq!(understand("TCP: inuse 1\n", meminfo, 4_096), None);
    }

    #[test]
    fn this_machine_tells() {
        let memory = look().expect("every Linux has both files");
        assert!(memory.slab_bytes > 0, "{memory:?}");
    }
}

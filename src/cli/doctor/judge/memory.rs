//! Memory for the target: the process's, and the kernel's for its sockets.

use super::super::finding::{Change, Check, Finding};
use super::super::host::{Cgroup, Memory, Swap};
use super::super::target::Target;
use super::bytes;

/// Kernel memory of one idle end: socket, inode, file and its receive operation. See
/// tuning/README.md.
const KERNEL_BYTES_PER_CONNECTION: u64 = 4_700;
/// The process's own for an idle connection with a filter that nobody else has.
const USER_BYTES_PER_CONNECTION: u64 = 720;

pub fn judge(memory: &Memory, cgroup: &Cgroup, target: &Target) -> Vec<Finding> {
    vec![available(memory, target), cgroup_memory(cgroup, target), huge_pages(memory), swap(memory)]
}

/// Bytes while all is quiet, and at the worst moment.
fn needs(target: &Target) -> (u64, u64) {
    let each = KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION;
    let idle = target.connections.saturating_mul(each).saturating_add(target.history_bytes);
    (idle, idle.saturating_add(target.burst_bytes))
}

fn wanted(target: &Target) -> String {
    let (idle, busy) = needs(target);
    format!("{} while idle, {} with full backlogs", bytes(idle), bytes(busy))
}

const SMALLER: &str = "lower limits.backlog_bytes_max, limits.partial_messages_bytes_max and \
                       history.bytes_max, or hold fewer connections";

fn available(memory: &Memory, target: &Target) -> Finding {
    let check = Check::new(
        "memory",
        wanted(target),
        "An idle connection takes about 4.7 kB in the kernel and up to 0.7 kB in the process; \
         history and backlogs come on top.",
    );
    check.judge(&memory.total_bytes, |check, &total| {
        let available = match &memory.available_bytes {
            Ok(available) => *available,
            Err(unread) => return check.unknown(unread),
        };
        let now = format!("{} available of {}", bytes(available), bytes(total));
        let (idle, busy) = needs(target);
        match () {
            () if total < idle => check.problem(now, Change::by_hand(SMALLER)),
            () if available < busy => check.advice(now, Change::by_hand(SMALLER)),
            () => check.ok(now),
        }
    })
}

fn cgroup_memory(cgroup: &Cgroup, target: &Target) -> Finding {
    let check = Check::new(
        "cgroup memory limit",
        wanted(target),
        "The kernel's memory for sockets counts too; at the limit the process is killed.",
    );
    check.judge(&cgroup.memory_bytes_max, |check, limit| {
        let Some(limit) = *limit else { return check.ok("none") };
        let (idle, busy) = needs(target);
        let raise = format!("MemoryMax={} in the systemd unit, or docker run --memory", busy);
        match () {
            () if limit < idle => check.problem(bytes(limit), Change::by_hand(raise)),
            () if limit < busy => check.advice(bytes(limit), Change::by_hand(raise)),
            () => check.ok(bytes(limit)),
        }
    })
}

fn huge_pages(memory: &Memory) -> Finding {
    const SWITCH: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let check = Check::new(
        "transparent huge pages",
        "madvise or never",
        "With `always`, small allocations that come and go hold 2 MiB each, and are moved together \
         in the background.",
    );
    check.judge(&memory.huge_pages, |check, mode| match mode.as_str() {
        "always" => check.advice(mode, Change::by_hand(format!("echo madvise > {SWITCH}"))),
        _ => check.ok(mode),
    })
}

fn swap(memory: &Memory) -> Finding {
    const SWAPPINESS_MAX: u64 = 10;
    let check = Check::new(
        "swap",
        "none, or vm.swappiness at most 10",
        "An event goes to every connection: what was paged out of an idle one is waited for by all \
         of its shard.",
    );
    check.judge(&memory.swap, |check, &Swap { total_bytes, used_bytes }| {
        if total_bytes == 0 {
            return check.ok("none");
        }
        let swappiness = match &memory.swappiness {
            Ok(swappiness) => *swappiness,
            Err(unread) => return check.unknown(unread),
        };
        let (used, total) = (bytes(used_bytes), bytes(total_bytes));
        let now = format!("{used} used of {total}; vm.swappiness = {swappiness}");
        match swappiness {
            0..=SWAPPINESS_MAX => check.ok(now),
            _ => check.advice(now, Change::sysctl("vm.swappiness", 1)),
        }
    })
}

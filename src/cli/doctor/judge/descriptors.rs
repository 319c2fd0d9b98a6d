//! Room for so many sockets: in the configuration, in the process, in the system.

use super::super::finding::{Change, Check, Finding};
use super::super::host::Descriptors;
use super::super::target::Target;
use crate::server::DriverName;

/// Files that everything else on the machine opens meanwhile.
const OTHER_FILES: u64 = 4_096;

pub fn judge(descriptors: &Descriptors, target: &Target) -> Vec<Finding> {
    vec![
        connections_max(target),
        nofile(descriptors, target),
        nr_open(descriptors, target),
        file_max(descriptors, target),
    ]
}

fn connections_max(target: &Target) -> Finding {
    let Target { connections, connections_max, .. } = target;
    let check = Check::new(
        "limits.connections_max",
        format!("at least {connections}"),
        "The server answers 503 to every connection beyond it.",
    );
    if connections_max >= connections {
        return check.ok(connections_max);
    }
    let change = format!("alarmcast serve --set limits.connections_max={connections}");
    check.problem(connections_max, Change::by_hand(change))
}

fn nofile(descriptors: &Descriptors, target: &Target) -> Finding {
    let needed = target.descriptors();
    let why = match target.driver {
        DriverName::Uring => {
            "On io_uring each shard's sockets are in a table of its own ring, and the kernel bounds \
             each table by this limit; a shard may be given a little more than its share."
        }
        DriverName::Epoll => {
            "On epoll all sockets are descriptors of the process, and each shard takes an equal part \
             of this limit; a shard may be given a little more than its share."
        }
    };
    let check = Check::new("RLIMIT_NOFILE", format!("at least {needed}"), why);
    check.judge(&descriptors.nofile, |check, &(soft, hard)| {
        let shards = target.shards;
        let now = match target.driver {
            DriverName::Uring => format!("{} for each of {}", limit(soft), plural(shards)),
            DriverName::Epoll => format!("{} for {} together", limit(soft), plural(shards)),
        };
        if target.fits(shards, soft) {
            return check.ok(now);
        }
        let raise = match needed <= hard {
            true => format!("ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit"),
            false => format!(
                "LimitNOFILE={needed} in the systemd unit, or nofile in /etc/security/limits.d \
                 (the hard limit is {})",
                limit(hard)
            ),
        };
        let command = match target.shards_that_fit(soft) {
            Some(more) => format!("{raise}; or alarmcast serve --shards {more}"),
            None => raise,
        };
        check.problem(now, Change::nofile(needed, command))
    })
}

fn nr_open(descriptors: &Descriptors, target: &Target) -> Finding {
    let needed = target.descriptors();
    let check = Check::new(
        "fs.nr_open",
        format!("at least {needed}"),
        "RLIMIT_NOFILE cannot be raised above it.",
    );
    let fits = |&(soft, _): &(u64, u64)| target.fits(target.shards, soft);
    check.judge(&descriptors.nr_open, |check, &now| {
        let is_enough = now >= needed || descriptors.nofile.as_ref().is_ok_and(fits);
        if is_enough {
            check.ok(now)
        } else {
            check.problem(now, Change::sysctl("fs.nr_open", needed))
        }
    })
}

/// Sockets in a ring's table are open files of the system all the same.
fn file_max(descriptors: &Descriptors, target: &Target) -> Finding {
    let needed = target.connections + OTHER_FILES;
    let check = Check::new(
        "fs.file-max",
        format!("{needed} more than are open"),
        "Every socket is an open file of the system, also in a ring's table; beyond the limit only \
         root may open more.",
    );
    check.judge(&descriptors.file_max, |check, &max| {
        let open = match &descriptors.files_open {
            Ok(open) => *open,
            Err(unread) => return check.unknown(unread),
        };
        let now = format!("{max}, of which {open} are open");
        if max.saturating_sub(open) >= needed {
            return check.ok(now);
        }
        check.problem(now, Change::sysctl("fs.file-max", open.saturating_add(needed)))
    })
}

fn limit(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { limit.to_string() }
}

fn plural(shards: usize) -> String {
    format!("{shards} shard{}", if shards == 1 { "" } else { "s" })
}

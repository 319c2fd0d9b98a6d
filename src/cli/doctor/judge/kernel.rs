//! The kernel, and whether it lets this process use io_uring.

use super::super::finding::{Change, Check, Finding};
use super::super::host::Kernel;
use super::super::target::Target;
use crate::config::DriverChoice;

pub fn judge(kernel: &Kernel, target: &Target) -> Vec<Finding> {
    vec![release(kernel, target), uring(kernel, target)]
}

fn release(kernel: &Kernel, target: &Target) -> Finding {
    let check = Check::new(
        "kernel",
        "6.1 or newer",
        "io_uring is used from 6.1 on; below it the server runs on epoll.",
    );
    check.judge(&kernel.release, |check, release| match version(release) {
        Some(version) if version >= (6, 1) => check.ok(release),
        _ if target.choice == DriverChoice::Epoll => check.ok(release),
        _ => check.advice(release, Change::by_hand("install a newer kernel")),
    })
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn uring(kernel: &Kernel, target: &Target) -> Finding {
    let check = Check::new(
        "io_uring",
        "allowed to this user",
        "A delivery costs less on io_uring, and its sockets do not count against the process's \
         descriptors.",
    );
    let disabled = kernel.uring_disabled.as_ref().ok().copied();
    let found = match disabled {
        Some(value) => format!("; kernel.io_uring_disabled = {value}"),
        None => String::new(),
    };
    let refusal = match &kernel.uring {
        Ok(features) => return check.ok(format!("a ring was built: {features}{found}")),
        Err(reason) => format!("{reason}{found}"),
    };
    let change = match disabled {
        Some(1 | 2) => Change::sysctl("kernel.io_uring_disabled", 0),
        _ => Change::by_hand(
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's \
             seccomp profile",
        ),
    };
    match target.choice {
        DriverChoice::Epoll => check.ok(format!("not asked for; {refusal}")),
        DriverChoice::Auto => check.advice(refusal, change),
        DriverChoice::Uring => check.problem(refusal, change),
    }
}

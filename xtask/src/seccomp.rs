//! A process tree to which the kernel refuses io_uring, as container runtimes
//! do by default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::Result;

/// The numbers are the same on every architecture (they came after unification).
const IO_URING_SETUP: i64 = 425;
const IO_URING_ENTER: i64 = 426;
const IO_URING_REGISTER: i64 = 427;

const EPERM: u32 = 1;

/// Installs the filter, which children inherit, and becomes `command`.
/// Returns only when that fails, with the reason.
pub fn exec_without_io_uring(command: &[OsString]) -> String {
    let Some((program, args)) = command.split_first() else {
        return "no command given".to_owned();
    };
    if let Err(reason) = install() {
        return reason;
    }
    let error = Command::new(program).args(args).exec();
    format!("{} did not start: {error}", program.to_string_lossy())
}

fn install() -> Result {
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|error| format!("no seccomp filter for this machine: {error}"))?;
    let refused = [IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER];
    let rules: BTreeMap<_, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM), arch)
        .map_err(|error| format!("seccomp filter: {error}"))?;
    let program = BpfProgram::try_from(filter).map_err(|error| format!("seccomp: {error}"))?;
    seccompiler::apply_filter(&program).map_err(|error| format!("seccomp refused: {error}"))
}

use std::fmt;
use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::super::DriverConfig;

/// Why io_uring cannot be used here: refused (EPERM, ENOSYS), too old, or out of something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("io_uring is not available: {reason}")]
pub struct Unavailable {
    pub reason: String,
}

impl Unavailable {
    pub(super) fn at(step: &str, error: &io::Error) -> Self {
        Self { reason: format!("{step}: {error}") }
    }
}

/// What was found at construction; its `Display` is one line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// As the kernel calls itself.
    pub kernel: String,
    pub single_issuer: bool,
    /// Completion work runs only when the shard waits (Linux 6.1).
    pub defer_taskrun: bool,
    /// The lesser mode: no interruption, but completion work at any system call (Linux 5.19).
    pub coop_taskrun: bool,
    pub sq_entries: u32,
    pub cq_entries: u32,
    /// Size of the table of direct descriptors.
    pub sockets_max: u32,
    /// The kernel could receive several buffers at once (Linux 6.10); not used yet.
    pub recv_bundles: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}:", self.kernel)?;
        for (present, name) in [
            (self.single_issuer, " single-issuer"),
            (self.defer_taskrun, " defer-taskrun"),
            (self.coop_taskrun, " coop-taskrun"),
            (self.recv_bundles, " (recv-bundles)"),
        ] {
            if present {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

/// A ring with the best flags that the kernel takes, and its table of direct descriptors.
pub(super) fn ring(
    config: &DriverConfig,
    modes: &[Mode],
) -> Result<(IoUring, Features), Unavailable> {
    let (ring, mode) = build(config, modes)?;
    check(&ring)?;
    let sockets_max = config.sockets_max.min(table_entries_max()?);
    let submitter = ring.submitter();
    submitter
        .register_files_sparse(sockets_max)
        .map_err(|error| Unavailable::at("registering the table of sockets", &error))?;
    // Only shutdowns run on kernel worker threads, and one thread is enough for them. Left
    // alone, ending 10,000 connections at once would start as many threads as it may.
    submitter
        .register_iowq_max_workers(&mut [1, 1])
        .map_err(|error| Unavailable::at("bounding the worker threads", &error))?;
    let features = Features {
        kernel: kernel_release(),
        single_issuer: mode != Mode::Plain,
        defer_taskrun: mode == Mode::Deferred,
        coop_taskrun: mode != Mode::Deferred,
        sq_entries: ring.params().sq_entries(),
        cq_entries: ring.params().cq_entries(),
        sockets_max,
        recv_bundles: ring.params().is_feature_recvsend_bundle(),
    };
    Ok((ring, features))
}

/// Sets of setup flags, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Deferred,
    Cooperative,
    Plain,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Deferred, Self::Cooperative, Self::Plain];
}

fn build(config: &DriverConfig, modes: &[Mode]) -> Result<(IoUring, Mode), Unavailable> {
    for mode in modes.iter().copied() {
        let mut builder = IoUring::builder();
        builder
            .setup_cqsize(config.cq_entries.max(config.sq_entries))
            .setup_clamp()
            .setup_submit_all()
            .setup_taskrun_flag();
        match mode {
            Mode::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            Mode::Cooperative => builder.setup_single_issuer().setup_coop_taskrun(),
            Mode::Plain => builder.setup_coop_taskrun(),
        };
        match builder.build(config.sq_entries) {
            Ok(ring) => return Ok((ring, mode)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(Unavailable::at("io_uring_setup", &error)),
        }
    }
    Err(too_old())
}

/// Everything that the driver relies on and that can be asked for.
fn check(ring: &IoUring) -> Result<(), Unavailable> {
    let params = ring.params();
    let has_features = params.is_feature_nodrop()
        && params.is_feature_ext_arg()
        && params.is_feature_fast_poll()
        && params.is_feature_submit_stable();
    if !has_features {
        return Err(too_old());
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| Unavailable::at("probing operations", &error))?;
    let needed = [
        opcode::Accept::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::Shutdown::CODE,
        opcode::Connect::CODE,
        opcode::Close::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Read::CODE,
        // Not used: it came with Linux 6.1, and multishot receive has no code of its own.
        opcode::SendMsgZc::CODE,
    ];
    if needed.into_iter().all(|code| probe.is_supported(code)) { Ok(()) } else { Err(too_old()) }
}

fn too_old() -> Unavailable {
    Unavailable { reason: format!("Linux {} is older than 6.1", kernel_release()) }
}

fn kernel_release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "?".to_owned(), |release| release.trim().to_owned())
}

/// The kernel takes a table of up to RLIMIT_NOFILE entries, and a million in any case.
fn table_entries_max() -> Result<u32, Unavailable> {
    const FIXED_FILES_MAX: u64 = 1 << 20;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(Unavailable::at("getrlimit", &io::Error::last_os_error()));
    }
    let entries = limit.rlim_cur.min(FIXED_FILES_MAX);
    Ok(u32::try_from(entries).expect("at most a million"))
}

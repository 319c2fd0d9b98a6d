//! Which driver the shards run on, and each shard's on its own thread.

use std::fmt;

use crate::config::DriverChoice;
use crate::io::probe_uring;
use crate::server::Error;

/// The driver that was chosen, and why it is not the preferred one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverName {
    Uring,
    Epoll,
}

impl DriverName {
    /// As in flags, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }

    /// The kernel's name for what it uses.
    pub const fn kernel_name(self) -> &'static str {
        match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What was decided, once for all shards.
#[derive(Clone, Debug)]
pub struct Decision {
    pub name: DriverName,
    /// Why `auto` did not take io_uring.
    pub fallback_reason: Option<String>,
}

/// Takes io_uring unless it is refused, or what was asked for.
///
/// # Errors
/// io_uring was asked for by name and is refused.
pub fn decide(choice: DriverChoice) -> Result<Decision, Error> {
    let epoll = |fallback_reason| Decision { name: DriverName::Epoll, fallback_reason };
    if choice == DriverChoice::Epoll {
        return Ok(epoll(None));
    }
    match probe_uring() {
        Ok(features) => {
            tracing::info!(%features, "io_uring");
            Ok(Decision { name: DriverName::Uring, fallback_reason: None })
        }
        Err(unavailable) if choice == DriverChoice::Auto => {
            tracing::warn!(reason = %unavailable, "io_uring is not available; falling back to epoll, which costs more CPU");
            Ok(epoll(Some(unavailable.to_string())))
        }
        Err(unavailable) => Err(Error::Driver(format!(
            "io_uring is not available: {unavailable}; allow it, or start with --driver epoll"
        ))),
    }
}

//! What is done about each error number, in one place.
//!
//! | condition | answer |
//! |---|---|
//! | `ETIME`, `EINTR` from a wait | [`EnterAnswer::Return`]: the wait is over, without completions |
//! | `EBUSY` from a wait | [`EnterAnswer::Reap`]: take what the full completion queue holds, then go on |
//! | `EAGAIN`, `ENOMEM` from a wait | [`EnterAnswer::Retry`]: [`ENTER_RETRIES_MAX`] times, then the next wait |
//! | `EBADR` from a wait | [`EnterAnswer::Fatal`]: the kernel lost completions; as any other error |
//! | completion queue overflow | nothing is lost: the kernel keeps them (`IORING_FEAT_NODROP`, required) and each wait, which enters with `GETEVENTS`, flushes as many as fit |
//! | submission queue full | submit, try once more, else `push` gives the operation back |
//! | `EMFILE`, `ENFILE` | [`Failure::NoDescriptors`]: the accept fails; the shard pushes it again after a pause |
//! | `ENOBUFS` | [`Failure::NoBuffers`]: the receive ends; the shard pushes it again once it has dropped buffers |
//! | `ECANCELED` | [`Failure::Cancelled`] |
//! | `ECONNRESET`, `EPIPE`, `ETIMEDOUT`, … | [`Failure::PeerGone`]: the shard frees the connection |
//! | `ENOTCONN` from shutdown | both directions have ended already: `ShutDown` |

use std::io;

/// Tries of one submission that the kernel has no memory for.
pub const ENTER_RETRIES_MAX: u32 = 3;

/// What follows from a failed wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterAnswer {
    Return,
    Reap,
    Retry,
    /// The driver is useless.
    Fatal,
}

impl EnterAnswer {
    pub fn to(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR) => Self::Return,
            Some(libc::EBUSY) => Self::Reap,
            Some(libc::EAGAIN | libc::ENOMEM) => Self::Retry,
            _ => Self::Fatal,
        }
    }
}

/// What a failed operation means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Neither a descriptor nor a slot is free.
    NoDescriptors,
    NoBuffers,
    Cancelled,
    PeerGone,
    /// Worth another try at once: `ECONNABORTED` of an accept, `EAGAIN`, `ENOMEM`.
    Transient,
    Other,
}

impl Failure {
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptors,
            Some(libc::ENOBUFS) => Self::NoBuffers,
            Some(libc::ECANCELED) => Self::Cancelled,
            Some(
                libc::ECONNRESET
                | libc::EPIPE
                | libc::ETIMEDOUT
                | libc::ENOTCONN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENETDOWN,
            ) => Self::PeerGone,
            Some(libc::ECONNABORTED | libc::EAGAIN | libc::EINTR | libc::ENOMEM) => Self::Transient,
            _ => Self::Other,
        }
    }
}

pub(super) fn os_error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_condition_has_its_answer() {
        for (errno, answer) in [
            (libc::ETIME, EnterAnswer::Return),
            (libc::EINTR, EnterAnswer::Return),
            (libc::EBUSY, EnterAnswer::Reap),
            (libc::EAGAIN, EnterAnswer::Retry),
            (libc::ENOMEM, EnterAnswer::Retry),
            (libc::EBADR, EnterAnswer::Fatal),
            (libc::EBADF, EnterAnswer::Fatal),
        ] {
            assert_eq!(EnterAnswer::to(&os_error(errno)), answer, "{errno}");
        }
        for (errno, failure) in [
            (libc::EMFILE, Failure::NoDescriptors),
            (libc::ENFILE, Failure::NoDescriptors),
            (libc::ENOBUFS, Failure::NoBuffers),
            (libc::ECANCELED, Failure::Cancelled),
            (libc::ECONNRESET, Failure::PeerGone),
            (libc::EPIPE, Failure::PeerGone),
            (libc::ECONNABORTED, Failure::Transient),
            (libc::EINVAL, Failure::Other),
        ] {
            assert_eq!(Failure::of(&os_error(errno)), failure, "{errno}");
        }
    }
}

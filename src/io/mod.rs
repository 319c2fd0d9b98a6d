//! L3: one completion-shaped trait between the shards and the kernel.
//!
//! `uring` speaks to io_uring, `epoll` emulates completions over readiness, `sim`
//! is an in-memory network in virtual time. One behaviour suite
//! (`tests/driver_suite`) holds all three to the contract of [`Driver`].

mod choice;
mod config;
pub mod epoll;
pub mod errno;
mod operations;
pub mod sim;
pub mod socket;
mod table;
mod token;
#[allow(unsafe_code, reason = "speaks to the kernel; each block says why it is sound")]
pub mod uring;
mod wake;

use std::io;
use std::net::SocketAddr;

use crate::base::buffers::{RecvBuf, SendBuf};
use crate::base::clock::Instant;

pub use choice::{DriverChoice, UnknownDriver};
pub use config::{DriverConfig, DriverStats};
pub use epoll::EpollDriver;
pub use token::{Kind, Token};
pub use uring::{Features, Unavailable, UringDriver, probe_uring};
pub use wake::Waker;

/// A connected socket in the driver's own table: an index, not a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket(pub u32);

/// What a shard may ask of the kernel.
#[derive(Debug)]
pub enum Op {
    /// One connection from the driver's listener. A driver holds several of these at once,
    /// each under its own token.
    Accept,
    /// Receive until a terminal completion: possibly many [`Outcome::Received`].
    /// At most one in flight for a socket.
    Recv(Socket),
    /// Send some of the buffer's remaining bytes; short sends are the caller's to continue.
    /// At most one in flight for a socket.
    Send(Socket, SendBuf),
    /// End a connection, or our half of it.
    Shutdown(Socket, Shutdown),
    /// Give the socket back. Only after every operation on it has ended.
    Close(Socket),
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Our direction: the peer sees the end after the bytes that the kernel already took.
    Write,
    /// Both directions: what is in flight on the socket then ends with a terminal completion.
    Both,
    /// As `Both`, and the kernel throws away what it took and the peer did not: nothing of the
    /// connection outlasts the close. The peer sees a reset.
    Reset,
}

/// What became of an operation.
#[derive(Debug)]
pub enum Outcome {
    Accepted {
        socket: Socket,
        peer: SocketAddr,
    },
    /// `more`: the receive is still in flight; otherwise this completion is terminal.
    Received {
        bytes: RecvBuf,
        more: bool,
    },
    /// The peer will send no more. Terminal.
    ReceivedEnd,
    /// The kernel took `count` bytes, one at least; `buf` is advanced by as many. Terminal.
    Sent {
        buf: SendBuf,
        count: usize,
    },
    ShutDown,
    Closed,
    /// The operation failed. Terminal; what a failed send held comes back.
    Failed {
        error: io::Error,
        buf: Option<SendBuf>,
    },
}

/// A report on the operation that was pushed under `token`.
#[derive(Debug)]
pub struct Completion {
    pub token: Token,
    pub outcome: Outcome,
}

/// Completions copied out of the kernel, to be dispatched at the shard's own pace.
pub type Completions = Vec<Completion>;

/// Submits operations to the kernel and reports their completions.
///
/// The contract, each point of which the behaviour suite proves for every driver:
///
/// 1. Every pushed operation gets exactly one terminal completion, also when it is
///    cancelled (`ECANCELED`) or its socket fails. Completions before it are `Received`
///    with `more`.
/// 2. Operations that are pushed between two waits reach the kernel in order, and together where
///    nothing submits them sooner.
/// 3. A buffer belongs to the driver from `push` until its terminal completion, whatever
///    happens between; dropping the driver first ends all operations, then frees buffers.
/// 4. Bytes of one socket arrive in order, none lost, none twice; received buffers that the
///    shard holds on to only shrink the pool. An exhausted pool ends a receive with
///    `ENOBUFS`, losing nothing: the shard pushes it again.
/// 5. Accepting at the limit of descriptors or slots fails with `EMFILE` or `ENFILE` (never
///    spins); the shard pushes the accept again after a pause.
/// 6. `push` gives the operation back when there is no room even after submitting; it works
///    again after the next wait.
/// 7. Waiting returns at `deadline` at the latest (`None`: no limit), at once when something
///    is ready, and soon after any [`Waker::wake`] since the last return, however many there
///    were; `EINTR` and `ETIME` are returns without completions, never errors.
/// 8. A connection reset is `ECONNRESET` or `EPIPE` on what is in flight, and on nothing else.
/// 9. A completion carries the token of its operation, so that a shard whose slot was
///    reused meanwhile recognises a stale one.
pub trait Driver {
    /// Stages an operation; the kernel sees it at the next wait, or when the submission
    /// queue is full. No other operation in flight has the same token.
    ///
    /// # Errors
    /// Gives the operation back when there is no room (contract point 6).
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op>;

    /// Asks for the end of what was pushed under `token`. The terminal completion still comes:
    /// `ECANCELED`, or whatever the operation came to before that. An unknown token is ignored.
    fn cancel(&mut self, token: Token);

    /// Submits what is staged now, as the next wait would: for a shard that has other work first.
    fn submit(&mut self);

    /// Submits what is staged, waits, and appends completions to `completions`.
    ///
    /// # Errors
    /// Only what makes the driver useless; failures of operations are completions.
    fn submit_and_wait(
        &mut self,
        deadline: Option<Instant>,
        completions: &mut Completions,
    ) -> io::Result<()>;

    /// A handle with which other threads end a wait.
    fn waker(&self) -> Waker;
}

//! Bytes that the kernel reads from or writes to.
//!
//! The kernel owns a buffer from the submission until the terminal completion:
//! [`SendBuf`] moves into the driver and comes back, [`RecvBuf`] comes out of
//! the driver and goes back to its pool when it is dropped.

#[allow(unsafe_code, reason = "hands memory to the kernel; each block says why it is sound")]
mod receive;
mod send;

pub use receive::{RecvBuf, RecvPool};
pub use send::SendBuf;

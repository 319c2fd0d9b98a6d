//! L1: RFC 6455, the server's side, without I/O. The handshake and the decoder
//! take bytes and give values; frames and close frames are made of values.

#![forbid(unsafe_code)]

pub mod close;
pub mod decoder;
pub mod frame;
pub mod handshake;
pub mod mask;

mod header;
mod message;
mod refusal;
mod request;
mod utf8;
mod violation;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(any(test, fuzzing))]
mod oracle;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Incoming, Limits};
pub use handshake::{Handshake, Progress, Refusal, Request};
pub use header::Extensions;
pub use violation::Violation;

/// Capacity to add, with `reserve_exact`, before `more` bytes are stored: as a
/// vector would grow, by doubling, but never past `bound` bytes.
fn growth(len: usize, capacity: usize, more: usize, bound: usize) -> usize {
    let needed = len + more;
    if needed <= capacity {
        return 0;
    }
    (capacity * 2).min(bound).max(needed) - len
}

//! L2: the one ordered sequence of events.
#![forbid(unsafe_code)]

mod contexts;
pub mod history;
mod idempotency;
mod sequencer;
#[cfg(test)]
mod tests;

pub use sequencer::{Sequenced, Sequencer};

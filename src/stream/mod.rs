//! L2: the one ordered sequence of events.
#![forbid(unsafe_code)]

mod contexts;
mod idempotency;
mod sequencer;

pub use sequencer::{Sequenced, Sequencer};

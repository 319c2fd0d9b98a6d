//! L2: the one ordered sequence of events.
#![forbid(unsafe_code)]

mod contexts;
mod cursor;
pub mod history;
mod idempotency;
mod sequencer;
#[cfg(test)]
mod tests;

pub use cursor::{Cursor, Room};
pub use sequencer::{Sequenced, Sequencer};

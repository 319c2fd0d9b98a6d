//! Events of the past, by seq: read by every shard and by the control plane, while the hub
//! writes.

mod segment;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use thiserror::Error;

use crate::event::Priorities;
use crate::protocol::encoded::Encoded;

pub use window::{Limits, Window, WindowWriter};

/// Where events of the past are kept. Readers never wait for the writer.
pub trait History: fmt::Debug + Send + Sync {
    /// What is there now.
    fn bounds(&self) -> Bounds;

    /// The position before the first event of `since` or later; the newest event's where there
    /// is none.
    fn position_at(&self, since: jiff::Timestamp) -> u64;

    /// Calls `visit` with each event after `position` whose priority is among `priorities`, in
    /// order, up to the newest or until it breaks; an event at which it breaks is not taken.
    /// Gives the position that was reached.
    ///
    /// # Errors
    /// The events right after `position` are not held any more.
    fn read(
        &self,
        position: u64,
        priorities: Priorities,
        visit: &mut dyn FnMut(&Arc<Encoded>) -> ControlFlow<()>,
    ) -> Result<u64, Expired>;
}

/// The events that a history holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Seq of the oldest event; one above the newest where none is held.
    pub first: u64,
    /// Seq of the newest event ever; 0 before the first.
    pub newest: u64,
}

impl Bounds {
    /// Whether every event after `position` is there; also where that is the newest.
    pub fn reach_back_to(&self, position: u64) -> bool {
        self.first <= position.saturating_add(1) && position <= self.newest
    }
}

/// Events that were asked for are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("history begins with event {first}")]
pub struct Expired {
    /// Seq of the oldest event that is held.
    pub first: u64,
}

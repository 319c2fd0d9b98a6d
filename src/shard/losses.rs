//! What connections have lost since they were opened.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::event::Priority;

/// Events that were shed for one connection, by [`Priority::index`].
pub type Lost = [u64; 4];

/// By the connection's slot; there for those that lost anything.
#[derive(Debug, Default)]
pub(super) struct Losses(HashMap<u32, Lost, RandomState>);

impl Losses {
    pub fn add(&mut self, slot: u32, priority: Priority) {
        self.0.entry(slot).or_default()[priority.index()] += 1;
    }

    pub fn of(&self, slot: u32) -> Lost {
        self.0.get(&slot).copied().unwrap_or_default()
    }

    pub fn forget(&mut self, slot: u32) {
        self.0.remove(&slot);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

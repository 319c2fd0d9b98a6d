//! What connections have lost since they were opened.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::base::slab::Key;
use crate::event::Priority;
use crate::io::Driver;
use crate::queue::Loss;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// Events that were shed for one connection, by [`Priority::index`].
pub type Lost = [u64; 4];

/// What the loss records of backlogs held before they were emptied, by the connection's slot;
/// there for those that lost anything.
#[derive(Debug, Default)]
pub(super) struct Losses(HashMap<u32, Lost, RandomState>);

impl Losses {
    /// Takes over a record that is about to be forgotten.
    pub fn add(&mut self, slot: u32, loss: &Loss) {
        if !loss.is_empty() {
            add(self.0.entry(slot).or_default(), loss);
        }
    }

    pub fn forget(&mut self, slot: u32) {
        self.0.remove(&slot);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// What a connection has lost, whether it was told or not.
    pub(super) fn lost(&self, key: Key) -> Lost {
        let mut lost = self.losses.0.get(&key.slot).copied().unwrap_or_default();
        let outbox = self.connections.get(key).and_then(|it| it.backlog.outbox());
        outbox.into_iter().for_each(|outbox| add(&mut lost, &outbox.loss));
        lost
    }
}

fn add(lost: &mut Lost, loss: &Loss) {
    for priority in Priority::ALL {
        lost[priority.index()] += loss.count(priority);
    }
}

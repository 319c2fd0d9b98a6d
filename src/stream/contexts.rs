use std::collections::{BTreeMap, HashMap};

use foldhash::quality::RandomState;
use uuid::Uuid;

use crate::base::clock::Instant;
use crate::event::Context;

/// The last context of each incident, the least recently updated forgotten first.
#[derive(Debug)]
pub(super) struct Contexts {
    /// Keyed by what publishers choose: the hash is seeded.
    entries: HashMap<Uuid, Entry, RandomState>,
    /// Incidents by the number of their last update.
    order: BTreeMap<u64, Uuid>,
    updates: u64,
    bytes: usize,
    capacity: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    context: Context,
    /// When the event was accepted that said so.
    said_at: Instant,
    update: u64,
}

impl Contexts {
    /// Holds at most `capacity` incidents, and `bytes_max` of memory for them.
    pub fn new(capacity: usize, bytes_max: usize) -> Self {
        assert!(capacity > 0);
        Self {
            entries: HashMap::default(),
            order: BTreeMap::new(),
            updates: 0,
            bytes: 0,
            capacity,
            bytes_max,
        }
    }

    /// The incident's context, and when the event was accepted that said so.
    pub fn find(&self, incident: Uuid) -> Option<(&Context, Instant)> {
        self.entries.get(&incident).map(|entry| (&entry.context, entry.said_at))
    }

    pub fn remember(&mut self, incident: Uuid, context: Context, said_at: Instant) {
        self.forget(incident);
        self.updates += 1;
        self.bytes += context.weight_bytes();
        self.order.insert(self.updates, incident);
        self.entries.insert(incident, Entry { context, said_at, update: self.updates });
        while self.entries.len() > self.capacity || self.bytes > self.bytes_max {
            let Some((_, &oldest)) = self.order.first_key_value() else { break };
            self.forget(oldest);
        }
        assert_eq!(self.order.len(), self.entries.len());
    }

    fn forget(&mut self, incident: Uuid) {
        if let Some(entry) = self.entries.remove(&incident) {
            self.order.remove(&entry.update);
            self.bytes -= entry.context.weight_bytes();
        }
    }
}

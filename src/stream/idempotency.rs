use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::quality::RandomState;
use uuid::Uuid;

/// What a request became when it came the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub message_id: Uuid,
    pub seq: u64,
}

/// The last keys that publishers gave, the oldest forgotten first.
#[derive(Debug)]
pub(super) struct Idempotency {
    /// Keyed by what publishers choose: the hash is seeded.
    outcomes: HashMap<Arc<str>, Outcome, RandomState>,
    order: VecDeque<Arc<str>>,
    capacity: usize,
}

impl Idempotency {
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0);
        Self { outcomes: HashMap::default(), order: VecDeque::new(), capacity }
    }

    pub fn find(&self, key: &str) -> Option<Outcome> {
        self.outcomes.get(key).copied()
    }

    /// Remembers a key that [`Self::find`] did not know.
    pub fn remember(&mut self, key: &str, outcome: Outcome) {
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
        let key: Arc<str> = key.into();
        let known = self.outcomes.insert(Arc::clone(&key), outcome);
        assert!(known.is_none());
        self.order.push_back(key);
        assert_eq!(self.order.len(), self.outcomes.len());
    }
}

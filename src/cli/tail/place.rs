//! How far a client has got in the stream, for coming back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// A position, and the events that came ahead of others: urgent ones overtake.
#[derive(Debug, Default)]
pub struct Place {
    epoch: Option<String>,
    /// Every event up to this one came, or was told as lost.
    position: u64,
    beyond: BTreeSet<u64>,
}

impl Place {
    /// What to resume from; nothing before the first welcome.
    pub fn resume(&self) -> Option<Value> {
        let epoch = self.epoch.as_ref()?;
        Some(json!({ "epoch": epoch, "after": self.position }))
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Begins at the newest event of a stream.
    pub fn begin(&mut self, epoch: &str, seq: u64) {
        *self = Self { epoch: Some(epoch.to_owned()), position: seq, beyond: BTreeSet::new() };
    }

    /// Everything up to `seq` came.
    pub fn reached(&mut self, seq: u64) {
        self.position = self.position.max(seq);
        self.beyond = self.beyond.split_off(&(self.position + 1));
    }

    /// Whether an event comes for the first time.
    pub fn is_new(&mut self, seq: u64) -> bool {
        seq > self.position && self.beyond.insert(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_ahead_of_the_position_is_known_when_it_comes_again() {
        let mut place = Place::default();
        assert_eq!(place.resume(), None);
        place.begin("e", 10);
        assert!(place.is_new(13) && place.is_new(11));
        assert_eq!(place.resume(), Some(json!({ "epoch": "e", "after": 10 })));
        assert!(!place.is_new(13) && !place.is_new(9) && place.is_new(12));
        place.reached(12);
        assert!(!place.is_new(12) && !place.is_new(13) && place.is_new(14));
        place.reached(5);
        assert_eq!(place.position(), 12, "never back");
        place.begin("f", 0);
        assert!(place.is_new(1));
    }
}

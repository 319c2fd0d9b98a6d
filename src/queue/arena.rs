//! A shard's frames, each stored once; lanes hold 4-byte references.

use std::rc::Rc;

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::event::Priority;

/// Reference to a frame of this shard's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameId(u32);

/// Complete WebSocket frame (or, before the handshake is over, raw bytes) to be sent.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Rc<Bytes>,
    /// Nothing for replies.
    pub event: Option<EventMark>,
}

/// What must be known of an event while its frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMark {
    pub seq: u64,
    pub priority: Priority,
    /// When the hub accepted it; absent where it is sent again, as that is no latency.
    pub accepted_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    frame: Option<Frame>,
    references: u32,
}

/// Frames with plain reference counts: one owner, no atomics.
#[derive(Debug, Default)]
pub struct Arena {
    entries: Vec<Entry>,
    free: Vec<u32>,
    bytes: usize,
}

impl Arena {
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a frame with one reference, the caller's.
    pub fn insert(&mut self, frame: Frame) -> FrameId {
        self.bytes += frame.bytes.len();
        let entry = Entry { frame: Some(frame), references: 1 };
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            return FrameId(index);
        }
        let index = u32::try_from(self.entries.len()).expect("fewer frames than 2^32");
        self.entries.push(entry);
        FrameId(index)
    }

    pub fn get(&self, id: FrameId) -> &Frame {
        self.entries[id.0 as usize].frame.as_ref().expect("a referenced frame is stored")
    }

    /// Adds a reference.
    pub fn retain(&mut self, id: FrameId) {
        let entry = &mut self.entries[id.0 as usize];
        assert!(entry.references > 0);
        entry.references += 1;
    }

    /// Takes a reference away; the last one frees the frame.
    pub fn release(&mut self, id: FrameId) {
        let entry = &mut self.entries[id.0 as usize];
        assert!(entry.references > 0);
        entry.references -= 1;
        if entry.references == 0 {
            let frame = entry.frame.take().expect("a referenced frame is stored");
            self.bytes -= frame.bytes.len();
            self.free.push(id.0);
        }
    }

    /// Frames stored now.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all frames stored now, each counted once.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// References to all stored frames; looks at every entry.
    pub fn references(&self) -> usize {
        self.entries.iter().map(|entry| entry.references as usize).sum()
    }

    /// Gives memory back once nothing is stored any more, as after a burst.
    pub fn shrink_if_empty(&mut self) {
        const KEPT_ENTRIES: usize = 4096;
        if self.is_empty() && self.entries.len() > KEPT_ENTRIES {
            self.entries = Vec::new();
            self.free = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &'static [u8]) -> Frame {
        Frame { bytes: Rc::new(Bytes::from_static(bytes)), event: None }
    }

    #[test]
    fn the_last_reference_frees_a_frame_and_its_place_is_reused() {
        let mut arena = Arena::new();
        let first = arena.insert(frame(b"first"));
        let shared = Rc::downgrade(&arena.get(first).bytes);
        arena.retain(first);
        arena.release(first);
        assert_eq!(&arena.get(first).bytes[..], b"first");
        arena.release(first);
        assert!(arena.is_empty() && shared.upgrade().is_none());
        assert_eq!(arena.insert(frame(b"second")), first);
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..5000).map(|_| arena.insert(frame(b"x"))).collect();
        ids.into_iter().for_each(|id| arena.release(id));
        arena.shrink_if_empty();
        assert_eq!(arena.entries.capacity(), 0);
    }
}

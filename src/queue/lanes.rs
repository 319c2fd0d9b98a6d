//! One connection's lanes: references that await their send, highest lane first.

use std::collections::VecDeque;

use crate::event::Priority;
use crate::queue::arena::FrameId;

/// Lanes in the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lane {
    /// Replies, notices and control frames.
    Control = 0,
    Critical = 1,
    High = 2,
    Normal = 3,
    Low = 4,
}

const LANES: usize = 5;

impl From<Priority> for Lane {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Critical => Self::Critical,
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

/// Bounds of one outbox, all lanes together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages_max: usize,
    pub bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    Queued,
    /// Nothing was queued: the backlog is at its limit.
    Full,
}

/// The lanes of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: [VecDeque<(FrameId, u32)>; LANES],
    messages: usize,
    bytes: usize,
}

impl Outbox {
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a frame of `bytes` unless that would pass a limit. The caller owns the
    /// reference count: it adds a reference for what was queued.
    pub fn push(&mut self, lane: Lane, id: FrameId, bytes: usize, limits: Limits) -> Pushed {
        if self.messages >= limits.messages_max || self.bytes + bytes > limits.bytes_max {
            return Pushed::Full;
        }
        self.push_past_limits(lane, id, bytes);
        Pushed::Queued
    }

    /// For the few frames that must fit: the handshake's answer and the closing ones.
    pub fn push_past_limits(&mut self, lane: Lane, id: FrameId, bytes: usize) {
        let frame_bytes = u32::try_from(bytes).expect("a frame is below 4 GiB");
        self.lanes[lane as usize].push_back((id, frame_bytes));
        self.messages += 1;
        self.bytes += bytes;
        debug_assert!(self.invariants());
    }

    /// Takes the next reference: the oldest of the highest lane that has any.
    pub fn pop(&mut self) -> Option<FrameId> {
        let (id, bytes) = self.lanes.iter_mut().find_map(VecDeque::pop_front)?;
        self.messages -= 1;
        self.bytes -= bytes as usize;
        debug_assert!(self.invariants());
        Some(id)
    }

    /// Size of what [`Outbox::pop`] would take.
    pub fn next_bytes(&self) -> Option<usize> {
        self.lanes.iter().find_map(|lane| lane.front()).map(|&(_, bytes)| bytes as usize)
    }

    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub fn messages(&self) -> usize {
        self.messages
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn invariants(&self) -> bool {
        let queued = || self.lanes.iter().flatten();
        self.messages < 64
            || (queued().count() == self.messages
                && queued().map(|&(_, bytes)| bytes as usize).sum::<usize>() == self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::arena::{Arena, Frame};
    use std::rc::Rc;

    fn ids(count: usize) -> Vec<FrameId> {
        let mut arena = Arena::new();
        let frame = Frame { bytes: Rc::new(bytes::Bytes::new()), event: None };
        (0..count).map(|_| arena.insert(frame.clone())).collect()
    }

    const LIMITS: Limits = Limits { messages_max: 4, bytes_max: 100 };

    #[test]
    fn the_highest_lane_goes_first_and_order_within_a_lane_holds() {
        let ids = ids(4);
        let mut outbox = Outbox::new();
        for (lane, id) in
            [(Lane::Low, 0), (Lane::Critical, 1), (Lane::Control, 2), (Lane::Critical, 3)]
        {
            assert_eq!(outbox.push(lane, ids[id], 1, LIMITS), Pushed::Queued);
        }
        let order: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(order, [ids[2], ids[1], ids[3], ids[0]]);
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn a_full_outbox_refuses_by_count_and_by_bytes_but_the_last_word_fits() {
        let ids = ids(6);
        let mut outbox = Outbox::new();
        assert_eq!(outbox.push(Lane::Low, ids[0], 90, LIMITS), Pushed::Queued);
        assert_eq!(outbox.push(Lane::Critical, ids[1], 11, LIMITS), Pushed::Full);
        for id in &ids[1..4] {
            assert_eq!(outbox.push(Lane::Low, *id, 1, LIMITS), Pushed::Queued);
        }
        assert_eq!(outbox.push(Lane::Control, ids[4], 1, LIMITS), Pushed::Full);
        outbox.push_past_limits(Lane::Control, ids[5], 50);
        assert_eq!((outbox.messages(), outbox.bytes()), (5, 143));
        assert_eq!(outbox.next_bytes(), Some(50));
        assert_eq!(outbox.pop(), Some(ids[5]));
    }
}

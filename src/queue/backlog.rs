//! What waits for one connection: mostly nothing, or a single frame, for which no outbox is
//! needed.

use super::arena::FrameId;
use super::lanes::{Lane, Limits, Outbox};

/// One connection's backlog. Nothing is allocated for a single frame.
#[derive(Debug, Default)]
pub enum Backlog {
    #[default]
    Nothing,
    One(Waiting),
    /// Several frames, or at least a loss that is to be told.
    Many(Box<Outbox>),
}

/// Every connection has one, idle or not.
const _: () = assert!(size_of::<Backlog>() <= 16);

/// A frame that waits alone.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub lane: Lane,
    pub id: FrameId,
    pub bytes: u32,
}

impl Backlog {
    /// Queues the first frame, unless something waits already or it is above the limits.
    pub fn push_first(&mut self, lane: Lane, id: FrameId, bytes: usize, limits: Limits) -> bool {
        let fits = limits.messages_max > 0 && bytes <= limits.bytes_max;
        fits && self.push_first_past_limits(lane, id, bytes)
    }

    /// Queues the first frame, unless something waits already.
    pub fn push_first_past_limits(&mut self, lane: Lane, id: FrameId, bytes: usize) -> bool {
        let is_first = self.is_nothing();
        if is_first {
            let bytes = u32::try_from(bytes).expect("a frame is below 4 GiB");
            *self = Self::One(Waiting { lane, id, bytes });
        }
        is_first
    }

    /// The outbox, where there is one.
    pub fn outbox(&self) -> Option<&Outbox> {
        match self {
            Self::Many(outbox) => Some(outbox),
            Self::Nothing | Self::One(_) => None,
        }
    }

    /// The outbox, where there is one.
    pub fn outbox_mut(&mut self) -> Option<&mut Outbox> {
        match self {
            Self::Many(outbox) => Some(outbox),
            Self::Nothing | Self::One(_) => None,
        }
    }

    /// The outbox: a spare one with what waited so far, where there was none.
    pub fn to_outbox(&mut self, spare: impl FnOnce() -> Box<Outbox>) -> &mut Outbox {
        if self.outbox().is_none() {
            let mut outbox = spare();
            debug_assert!(outbox.is_empty() && outbox.loss.is_empty());
            if let Self::One(Waiting { lane, id, bytes }) = *self {
                outbox.push_past_limits(lane, id, bytes as usize);
            }
            *self = Self::Many(outbox);
        }
        self.outbox_mut().expect("just put there")
    }

    /// Takes what waits alone.
    pub fn take_one(&mut self) -> Option<Waiting> {
        let Self::One(waiting) = *self else { return None };
        *self = Self::Nothing;
        Some(waiting)
    }

    /// Takes the outbox, where it has become empty.
    pub fn take_empty(&mut self) -> Option<Box<Outbox>> {
        if self.outbox().is_none_or(|outbox| !outbox.is_empty() || !outbox.loss.is_empty()) {
            return None;
        }
        match std::mem::take(self) {
            Self::Many(outbox) => Some(outbox),
            Self::Nothing | Self::One(_) => unreachable!("looked at above"),
        }
    }

    /// Neither a frame nor a loss to be told.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Whether something waits above the lanes of normal and low events.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(waiting) => waiting.lane < Lane::Normal,
            Self::Many(outbox) => outbox.is_urgent(),
        }
    }

    /// Whether something waits that is not below `floor`.
    pub fn has_down_to(&self, floor: Lane) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(waiting) => waiting.lane <= floor,
            Self::Many(outbox) => outbox.has_down_to(floor),
        }
    }

    /// Messages that wait below `lane`.
    pub fn messages_below(&self, lane: Lane) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(waiting) => usize::from(waiting.lane > lane),
            Self::Many(outbox) => outbox.messages_below(lane),
        }
    }

    /// The lowest lane that is empty together with all above it.
    pub fn idle_down_to(&self) -> Option<Lane> {
        match self {
            Self::Nothing => Some(Lane::Low),
            Self::One(waiting) => waiting.lane.above(),
            Self::Many(outbox) => outbox.idle_down_to(),
        }
    }

    pub fn messages(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(_) => 1,
            Self::Many(outbox) => outbox.messages(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(waiting) => waiting.bytes as usize,
            Self::Many(outbox) => outbox.bytes(),
        }
    }

    /// Everything that waits, in the order of lanes.
    pub fn iter(&self) -> impl Iterator<Item = FrameId> + '_ {
        let one = match self {
            Self::One(waiting) => Some(waiting.id),
            Self::Nothing | Self::Many(_) => None,
        };
        one.into_iter().chain(self.outbox().into_iter().flat_map(Outbox::iter))
    }

    /// The same with lanes and sizes.
    pub fn entries(&self) -> impl Iterator<Item = (Lane, FrameId, usize)> + '_ {
        let one = match self {
            Self::One(Waiting { lane, id, bytes }) => Some((*lane, *id, *bytes as usize)),
            Self::Nothing | Self::Many(_) => None,
        };
        one.into_iter().chain(self.outbox().into_iter().flat_map(Outbox::entries))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::queue::arena::{Arena, Frame};

    const LIMITS: Limits = Limits { messages_max: 4, bytes_max: 100 };

    fn id(arena: &mut Arena) -> FrameId {
        arena.insert(Frame { bytes: Rc::new(bytes::Bytes::new()), event: None })
    }

    #[test]
    fn a_single_frame_needs_no_outbox_and_a_second_one_finds_it_there() {
        let mut arena = Arena::new();
        let (first, second) = (id(&mut arena), id(&mut arena));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.idle_down_to(), Some(Lane::Low));
        assert!(!backlog.push_first(Lane::High, first, 101, LIMITS), "above the limit");
        assert!(backlog.push_first(Lane::High, first, 100, LIMITS));
        assert!(!backlog.push_first(Lane::High, second, 1, LIMITS), "not the first");
        assert_eq!((backlog.messages(), backlog.bytes()), (1, 100));
        assert!(backlog.is_urgent() && backlog.outbox().is_none());
        assert_eq!(backlog.idle_down_to(), Some(Lane::Critical));
        backlog.to_outbox(Box::default).push_past_limits(Lane::Control, second, 5);
        assert_eq!((backlog.messages(), backlog.bytes()), (2, 105));
        assert_eq!(backlog.idle_down_to(), None);
        assert!(backlog.iter().eq([second, first]));
        let outbox = backlog.outbox_mut().unwrap();
        assert_eq!((outbox.pop(), outbox.pop()), (Some(second), Some(first)));
        assert!(backlog.take_empty().is_some() && backlog.is_nothing());
    }

    #[test]
    fn what_waits_alone_is_taken_whole() {
        let mut arena = Arena::new();
        let only = id(&mut arena);
        let mut backlog = Backlog::default();
        assert!(backlog.push_first(Lane::Low, only, 7, LIMITS) && !backlog.is_urgent());
        assert!(backlog.iter().eq([only]));
        let taken = backlog.take_one().unwrap();
        assert_eq!((taken.id, taken.bytes, taken.lane), (only, 7, Lane::Low));
        assert!(backlog.is_nothing() && backlog.take_one().is_none());
        assert!(backlog.take_empty().is_none());
    }

    #[test]
    fn an_outbox_with_a_loss_to_tell_is_not_empty() {
        let mut backlog = Backlog::default();
        backlog.to_outbox(Box::default).loss.add(1, crate::event::Priority::Low);
        assert!(backlog.take_empty().is_none() && !backlog.is_nothing());
    }
}

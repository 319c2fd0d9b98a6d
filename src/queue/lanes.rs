//! One connection's lanes: references that await their send, highest lane first, and the
//! policy that sheds the lowest first when they do not go fast enough.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::base::limits::PENDING_PONGS_MAX;
use crate::event::{Priorities, Priority};
use crate::queue::arena::FrameId;
use crate::queue::loss::Loss;

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

/// In the size of a frame that waits: it is an event that may be sent in a batch.
const BATCHED: u32 = 1 << 31;

impl Lane {
    pub const ALL: [Self; 5] = [Self::Control, Self::Critical, Self::High, Self::Normal, Self::Low];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The next higher one.
    pub fn above(self) -> Option<Self> {
        (self as usize).checked_sub(1).map(|above| Self::ALL[above])
    }
}

const LANES: usize = Lane::ALL.len();

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

/// The lanes that may be shed, the first to go first, each with its watermark: the eighths
/// of the limits above which it goes. Control and critical are never shed.
const WATERMARKS: [(Priority, usize); 3] =
    [(Priority::Low, 4), (Priority::Normal, 6), (Priority::High, 7)];

impl Limits {
    /// So many others, of `priority` or a higher one, leave no room for an event of `priority`, which
    /// may be shed, once they have been pushed after it and none was taken.
    pub fn room(self, priority: Priority) -> usize {
        // One that is left has neither been shed for them nor let them be shed: all wait behind it.
        let watermark = WATERMARKS.into_iter().find(|(it, _)| *it == priority);
        debug_assert!(watermark.is_some());
        let eighths = watermark.map_or(8, |(_, eighths)| eighths);
        (self.messages_max.saturating_mul(eighths) / 8).max(1)
    }

    /// Whether frames of so many bytes in all never make an outbox shed one for their size.
    pub fn leave_room_for_bytes(self, bytes: usize) -> bool {
        WATERMARKS.into_iter().all(|(_, eighths)| bytes <= self.bytes_max / 8 * eighths)
    }
}

/// One part in so many of the limits is there for replies alone, whatever else waits.
const REPLIES_SHARE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    Queued,
    /// The policy would have shed it at once: it was not queued.
    Shed,
    /// It was queued in the place of this one.
    Replaced(FrameId),
    /// Nothing was queued: the backlog is at its limit, or above the watermark of a lane that is
    /// not shed.
    Full,
}

/// The lanes of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: [VecDeque<(FrameId, u32)>; LANES],
    messages: usize,
    bytes: usize,
    /// What was shed and not told yet.
    pub loss: Loss,
    /// The last notice of a loss that still waits, with the first event of which it and those
    /// before it tell.
    notice: Option<(FrameId, u64)>,
    /// The pongs among the replies, in their order.
    pongs: VecDeque<FrameId>,
}

impl Outbox {
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues a frame of `bytes` unless that would pass a limit. The caller owns the
    /// reference count: it adds a reference for what was queued.
    pub fn push(&mut self, lane: Lane, id: FrameId, bytes: usize, limits: Limits) -> Pushed {
        let is_kept = lane == Lane::Control && self.has_room_for_reply(limits, bytes);
        if self.would_pass(limits, 8, bytes) && !is_kept {
            return Pushed::Full;
        }
        self.push_past_limits(lane, id, bytes);
        Pushed::Queued
    }

    /// Queues an event's frame, shedding lower lanes, oldest first, where it would lift the
    /// backlog above their watermarks. Of the lanes that are `kept` none is shed: one above its
    /// watermark is full. What was shed is appended to `shed`; its references are the caller's.
    pub fn push_shedding(
        &mut self,
        lane: Lane,
        id: FrameId,
        bytes: usize,
        limits: Limits,
        kept: Priorities,
        shed: &mut Vec<(Lane, FrameId)>,
    ) -> Pushed {
        // Who has nothing waiting is not slow, however large the event.
        let watermarks = if self.is_empty() { &[] } else { &WATERMARKS[..] };
        for &(priority, eighths) in watermarks {
            let (lowest, is_kept) = (Lane::from(priority), kept.contains(priority));
            while !is_kept
                && self.would_pass(limits, eighths, bytes)
                && let Some(id) = self.pop_from(lowest)
            {
                shed.push((lowest, id));
            }
            if lane == lowest && self.would_pass(limits, eighths, bytes) {
                return if is_kept { Pushed::Full } else { Pushed::Shed };
            }
        }
        self.push(lane, id, bytes, limits)
    }

    /// Takes away all that may be shed, lowest lane first; as when memory runs short.
    pub fn shed_all(&mut self, kept: Priorities, shed: &mut Vec<(Lane, FrameId)>) {
        for (priority, _) in WATERMARKS.into_iter().filter(|(it, _)| !kept.contains(*it)) {
            self.shed_oldest(priority, usize::MAX, shed);
        }
    }

    /// Takes away the oldest that wait of a priority that may be shed, so many at most.
    pub fn shed_oldest(
        &mut self,
        priority: Priority,
        count: usize,
        shed: &mut Vec<(Lane, FrameId)>,
    ) {
        let lane = Lane::from(priority);
        let oldest = (0..count).map_while(|_| self.pop_from(lane));
        shed.extend(oldest.map(|id| (lane, id)));
    }

    /// For the few frames that must fit: the handshake's answer and the closing ones.
    pub fn push_past_limits(&mut self, lane: Lane, id: FrameId, bytes: usize) {
        let frame_bytes = size(bytes);
        self.lanes[lane as usize].push_back((id, frame_bytes));
        self.messages += 1;
        self.bytes += bytes;
        debug_assert!(self.invariants());
    }

    /// Queues a pong in the order of replies, within the limits. Where as many wait as may, it
    /// takes the place of the newest, whose reference is then the caller's: only the most recent
    /// ping must be answered (RFC 6455 section 5.5.3).
    pub fn push_pong(&mut self, id: FrameId, bytes: usize, limits: Limits) -> Pushed {
        if self.pongs.len() >= PENDING_PONGS_MAX
            && let Some(replaced) = self.pongs.pop_back()
        {
            self.pongs.push_back(id);
            self.replace(Lane::Control, replaced, id, bytes);
            return Pushed::Replaced(replaced);
        }
        let pushed = self.push(Lane::Control, id, bytes, limits);
        if pushed == Pushed::Queued {
            self.pongs.push_back(id);
        }
        pushed
    }

    fn replace(&mut self, lane: Lane, old: FrameId, new: FrameId, bytes: usize) {
        let frame_bytes = size(bytes);
        // What is looked for is among the last: who floods us with pings says little else.
        let found = self.lanes[lane as usize].iter_mut().rev().find(|(id, _)| *id == old);
        debug_assert!(found.is_some());
        if let Some(entry) = found {
            self.bytes = self.bytes - entry.1 as usize + bytes;
            *entry = (new, frame_bytes);
        }
        debug_assert!(self.invariants());
    }

    /// Queues the notice of a loss that began with the event `from`, past the limits.
    pub fn push_notice(&mut self, id: FrameId, bytes: usize, from: u64) {
        self.push_past_limits(Lane::Control, id, bytes);
        let from = self.notice.map_or(from, |(_, earlier)| earlier.min(from));
        self.notice = Some((id, from));
    }

    /// The first event that was shed and whose loss did not go out yet.
    pub fn first_lost(&self) -> Option<u64> {
        let untold = self.loss.range().map(|(from, _)| from);
        untold.into_iter().chain(self.notice.map(|(_, from)| from)).min()
    }

    /// Takes the next reference: the oldest of the highest lane that has any.
    pub fn pop(&mut self) -> Option<FrameId> {
        self.pop_down_to(Lane::Low)
    }

    /// As [`Outbox::pop`], from no lane below `floor`.
    pub fn pop_down_to(&mut self, floor: Lane) -> Option<FrameId> {
        self.pop_with_mark(floor).map(|(id, _)| id)
    }

    /// As [`Outbox::pop_down_to`], and whether it may be sent in a batch.
    pub fn pop_with_mark(&mut self, floor: Lane) -> Option<(FrameId, bool)> {
        let lanes = &mut self.lanes[..=floor as usize];
        let (id, bytes) = lanes.iter_mut().find_map(VecDeque::pop_front)?;
        self.notice.take_if(|(notice, _)| *notice == id);
        if self.pongs.front() == Some(&id) {
            self.pongs.pop_front();
        }
        self.take_away(bytes);
        Some((id, bytes & BATCHED != 0))
    }

    /// What was queued last on the lane may be sent in a batch.
    pub fn mark_batched(&mut self, lane: Lane) {
        if let Some((_, bytes)) = self.lanes[lane as usize].back_mut() {
            *bytes |= BATCHED;
        }
    }

    /// The oldest on the lane.
    pub fn front(&self, lane: Lane) -> Option<FrameId> {
        self.lanes[lane as usize].front().map(|(id, _)| *id)
    }

    /// Takes out of a lane what compares as equal, wherever it stands; the lane is in the order
    /// of `compare`. Gives its size too; its reference is the caller's.
    pub fn take_out(
        &mut self,
        lane: Lane,
        mut compare: impl FnMut(FrameId) -> Ordering,
    ) -> Option<(FrameId, usize)> {
        let lane = &mut self.lanes[lane as usize];
        let place = lane.binary_search_by(|(id, _)| compare(*id)).ok()?;
        let (id, bytes) = lane.remove(place)?;
        self.take_away(bytes);
        Some((id, (bytes & !BATCHED) as usize))
    }

    /// Messages that wait below `lane`.
    pub fn messages_below(&self, lane: Lane) -> usize {
        self.lanes[lane as usize + 1..].iter().map(VecDeque::len).sum()
    }

    /// Size of what [`Outbox::pop_down_to`] would take.
    pub fn next_bytes(&self, floor: Lane) -> Option<usize> {
        let lanes = &self.lanes[..=floor as usize];
        lanes.iter().find_map(|lane| lane.front()).map(|&(_, bytes)| (bytes & !BATCHED) as usize)
    }

    /// Whether something waits that is not below `floor`.
    pub fn has_down_to(&self, floor: Lane) -> bool {
        self.lanes[..=floor as usize].iter().any(|lane| !lane.is_empty())
    }

    /// Everything that waits, in the order of lanes.
    pub fn iter(&self) -> impl Iterator<Item = FrameId> + '_ {
        self.lanes.iter().flatten().map(|&(id, _)| id)
    }

    /// The same with lanes and sizes.
    pub fn entries(&self) -> impl Iterator<Item = (Lane, FrameId, usize)> + '_ {
        let lanes = Lane::ALL.into_iter().zip(&self.lanes);
        lanes.flat_map(|(lane, queued)| {
            queued.iter().map(move |&(id, bytes)| (lane, id, bytes as usize))
        })
    }

    /// The lowest lane that is empty together with all above it.
    pub fn idle_down_to(&self) -> Option<Lane> {
        let idle = self.lanes.iter().take_while(|lane| lane.is_empty()).count();
        idle.checked_sub(1).map(|last| Lane::ALL[last])
    }

    /// Whether something waits above the lanes of normal and low events.
    pub fn is_urgent(&self) -> bool {
        self.has_down_to(Lane::High)
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

    /// Whether one more frame of `bytes` would lift the backlog above so many eighths of the
    /// limits.
    fn would_pass(&self, limits: Limits, eighths: usize, bytes: usize) -> bool {
        (self.messages + 1) * 8 > limits.messages_max * eighths
            || (self.bytes + bytes) * 8 > limits.bytes_max * eighths
    }

    /// Whether one more reply of `bytes` stays within what is there for replies alone.
    fn has_room_for_reply(&self, limits: Limits, bytes: usize) -> bool {
        let replies = &self.lanes[Lane::Control as usize];
        let waiting = || replies.iter().map(|&(_, bytes)| bytes as usize).sum::<usize>();
        replies.len() < limits.messages_max / REPLIES_SHARE
            && waiting() + bytes <= limits.bytes_max / REPLIES_SHARE
    }

    fn pop_from(&mut self, lane: Lane) -> Option<FrameId> {
        let (id, bytes) = self.lanes[lane as usize].pop_front()?;
        self.take_away(bytes);
        Some(id)
    }

    fn take_away(&mut self, bytes: u32) {
        self.messages -= 1;
        self.bytes -= (bytes & !BATCHED) as usize;
        debug_assert!(self.invariants());
    }

    fn invariants(&self) -> bool {
        let queued = || self.lanes.iter().flatten();
        self.messages < 64
            || (queued().count() == self.messages
                && queued().map(|&(_, bytes)| (bytes & !BATCHED) as usize).sum::<usize>()
                    == self.bytes)
    }
}

fn size(bytes: usize) -> u32 {
    let size = u32::try_from(bytes).ok().filter(|size| size & BATCHED == 0);
    size.expect("a frame is below 2 GiB")
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::queue::arena::{Arena, Frame};

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
        assert!(outbox.is_urgent());
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
        assert_eq!(outbox.next_bytes(Lane::Low), Some(50));
        assert_eq!(outbox.pop(), Some(ids[5]));
    }

    const KEPT: Priorities = Priorities::only(Priority::Critical);

    /// Pushes one frame of one byte into `lane`, for each of `ids`; gives what was shed.
    fn fill(outbox: &mut Outbox, lane: Lane, ids: &[FrameId], limits: Limits) -> Vec<FrameId> {
        let mut shed = Vec::new();
        for &id in ids {
            if outbox.push_shedding(lane, id, 1, limits, KEPT, &mut shed) == Pushed::Shed {
                shed.push((lane, id));
            }
        }
        shed.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn low_is_shed_first_and_oldest_first_then_normal_then_high_and_critical_never() {
        let limits = Limits { messages_max: 16, bytes_max: 1_000 };
        let ids = ids(64);
        let mut outbox = Outbox::new();
        assert_eq!(fill(&mut outbox, Lane::Low, &ids[..10], limits), ids[..2], "8 of 16 is low's");
        assert_eq!(fill(&mut outbox, Lane::Normal, &ids[10..14], limits), ids[2..6]);
        assert_eq!(fill(&mut outbox, Lane::Normal, &ids[14..24], limits)[..4], ids[6..10]);
        assert_eq!(outbox.messages(), 12, "12 of 16 is normal's");
        assert_eq!(fill(&mut outbox, Lane::Low, &ids[24..25], limits), ids[24..25]);
        fill(&mut outbox, Lane::High, &ids[25..45], limits);
        assert_eq!(outbox.messages(), 14, "14 of 16 is high's");
        let shed = fill(&mut outbox, Lane::Critical, &ids[45..61], limits);
        assert_eq!(shed.len(), 14, "all that is high goes for what is critical");
        assert_eq!(outbox.iter().collect::<Vec<_>>(), ids[45..61]);
        let shed = &mut Vec::new();
        let pushed = outbox.push_shedding(Lane::Critical, ids[61], 1, limits, KEPT, shed);
        assert_eq!(pushed, Pushed::Full);
    }

    #[test]
    fn bytes_count_as_messages_do() {
        let limits = Limits { messages_max: 1_000, bytes_max: 80 };
        let ids = ids(3);
        let mut outbox = Outbox::new();
        let mut shed = Vec::new();
        let mut push =
            |id, bytes| outbox.push_shedding(Lane::Low, id, bytes, limits, KEPT, &mut shed);
        assert_eq!(push(ids[0], 60), Pushed::Queued);
        assert_eq!(push(ids[1], 40), Pushed::Queued);
        assert_eq!(push(ids[2], 41), Pushed::Shed);
        assert_eq!(shed, [(Lane::Low, ids[0]), (Lane::Low, ids[1])]);
        assert_eq!(outbox.messages(), 0);
    }

    #[test]
    fn lanes_that_are_kept_are_full_at_their_watermarks_and_nothing_of_them_is_shed() {
        let limits = Limits { messages_max: 16, bytes_max: 1_000 };
        let ids = ids(64);
        let mut outbox = Outbox::new();
        let mut shed = Vec::new();
        let mut full_at = |outbox: &mut Outbox, lane, kept| {
            let mut push =
                |id: &FrameId| outbox.push_shedding(lane, *id, 1, limits, kept, &mut shed);
            let last = ids.iter().map(&mut push).find(|pushed| *pushed != Pushed::Queued);
            assert_eq!(last, Some(Pushed::Full));
            outbox.messages()
        };
        for (lane, messages) in
            [(Lane::Low, 8), (Lane::Normal, 12), (Lane::High, 14), (Lane::Critical, 16)]
        {
            assert_eq!(full_at(&mut outbox, lane, Priorities::ALL), messages, "{lane:?}");
        }
        let urgent = Priorities::from_iter([Priority::Critical, Priority::High]);
        assert_eq!(full_at(&mut outbox, Lane::High, urgent), 14);
        assert_eq!(outbox.lanes.each_ref().map(VecDeque::len), [0, 2, 12, 0, 0]);
        assert_eq!(shed.len(), 12, "low and normal ones went for high ones");
    }

    #[test]
    fn replies_have_some_room_of_their_own_in_a_full_outbox() {
        let limits = Limits { messages_max: 32, bytes_max: 16_000 };
        let ids = ids(40);
        let mut outbox = Outbox::new();
        fill(&mut outbox, Lane::Critical, &ids[..32], limits);
        assert_eq!(outbox.push(Lane::Critical, ids[32], 1, limits), Pushed::Full);
        assert_eq!(outbox.push(Lane::Control, ids[33], 1_001, limits), Pushed::Full);
        assert_eq!(outbox.push(Lane::Control, ids[34], 999, limits), Pushed::Queued);
        assert_eq!(outbox.push(Lane::Control, ids[35], 1, limits), Pushed::Queued);
        assert_eq!(outbox.push(Lane::Control, ids[36], 1, limits), Pushed::Full);
    }

    #[test]
    fn of_too_many_pongs_the_newest_takes_the_place_of_the_one_before() {
        let limits = Limits { messages_max: 1_000, bytes_max: 10_000 };
        let ids = ids(PENDING_PONGS_MAX + 4);
        let (reply, ids) = ids.split_last().expect("some");
        let mut outbox = Outbox::new();
        for round in 0..2 {
            for &id in &ids[..PENDING_PONGS_MAX] {
                assert_eq!(outbox.push_pong(id, 7, limits), Pushed::Queued, "round {round}");
            }
            assert_eq!(outbox.push(Lane::Control, *reply, 1, limits), Pushed::Queued);
            for at in PENDING_PONGS_MAX..ids.len() {
                assert_eq!(outbox.push_pong(ids[at], 9, limits), Pushed::Replaced(ids[at - 1]));
            }
            assert_eq!(outbox.messages(), PENDING_PONGS_MAX + 1);
            assert_eq!(outbox.bytes(), (PENDING_PONGS_MAX - 1) * 7 + 9 + 1);
            let order: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
            let (pongs, last) = order.split_at(PENDING_PONGS_MAX);
            assert_eq!(pongs[..PENDING_PONGS_MAX - 1], ids[..PENDING_PONGS_MAX - 1]);
            assert_eq!((pongs.last(), last), (ids.last(), &[*reply][..]));
            assert_eq!(outbox.bytes(), 0);
        }
    }

    #[test]
    fn a_pong_counts_towards_the_limits() {
        let ids = ids(2);
        let mut outbox = Outbox::new();
        assert_eq!(outbox.push_pong(ids[0], 90, LIMITS), Pushed::Queued);
        assert_eq!(outbox.push_pong(ids[1], 11, LIMITS), Pushed::Full);
        assert_eq!(outbox.messages(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn what_leaves_no_room_leaves_nothing_of_what_waited_before(
            events in vec((0..4_usize, prop_oneof![9 => 1..4_usize, 1 => 1..400_usize]), 1..60),
            after in 0..20_usize,
            messages_max in 1..30_usize,
            kept in prop_oneof![Just(Priority::Critical), Just(Priority::High)],
        ) {
            let limits = Limits { messages_max, bytes_max: 1_000 };
            let (ids, mut outbox, mut shed) = (ids(events.len()), Outbox::new(), Vec::new());
            for (&(priority, bytes), &id) in events.iter().zip(&ids) {
                let lane = Lane::from(Priority::ALL[priority]);
                let kept = Priorities::from_lowest(kept);
                let _ = outbox.push_shedding(lane, id, bytes, limits, kept, &mut shed);
            }
            let before = events.len().saturating_sub(after);
            for priority in Priority::ALL.into_iter().filter(|priority| *priority > kept) {
                let is_other = |other: &&(usize, usize)| other.0 <= priority.index();
                let others = events[before..].iter().filter(is_other).count();
                let is_old = |id: &FrameId| ids[..before].contains(id);
                let left = outbox.lanes[Lane::from(priority) as usize].iter();
                if others >= limits.room(priority) {
                    prop_assert!(!left.map(|(id, _)| id).any(is_old), "{priority:?}: {others}");
                }
            }
        }
    }
}

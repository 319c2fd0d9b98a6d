//! What is lost of events that were deferred: told by counting them, before any is queued.

use std::collections::VecDeque;

use crate::event::{Priorities, Priority};
use crate::queue::{Backlog, Lane, Limits};
use crate::shard::deferred::{CHUNK, Chunk, Masks};

/// How many events a connection wants that came after those that are being settled, by
/// [`Priority::index`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newer([usize; Priority::ALL.len()]);

/// What decides on losses beside these counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub limits: Limits,
    /// What may not be shed.
    pub kept: Priorities,
    /// Nothing is lost for its size: all that waits and was deferred is small enough.
    pub counts_decide: bool,
}

impl Newer {
    pub fn of(masks: &Masks, chunks: &VecDeque<Chunk>) -> Self {
        let mut newer = Self::default();
        chunks.iter().zip(masks).for_each(|(chunk, &wanted)| newer.add(chunk, wanted));
        newer
    }

    /// Of this chunk these were passed over.
    fn add(&mut self, chunk: &Chunk, wanted: u64) {
        let counts = chunk.counts(wanted);
        self.0.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
    }

    /// Of this chunk these are settled next.
    pub fn pass(&mut self, chunk: &Chunk, wanted: u64) {
        let counts = chunk.counts(wanted);
        self.0.iter_mut().zip(counts).for_each(|(all, count)| *all -= count);
    }

    fn at_least(&self, priority: Priority) -> usize {
        self.0[..=priority.index()].iter().sum()
    }
}

impl Policy {
    /// What may be shed, the lowest first.
    pub fn sheddable(self) -> impl Iterator<Item = Priority> {
        Priority::ALL.into_iter().rev().filter(move |priority| !self.kept.contains(*priority))
    }

    /// How many of the oldest that wait are lost for those that came later.
    pub fn excess(self, backlog: &Backlog, priority: Priority, newer: &Newer) -> usize {
        let newer = newer.at_least(priority);
        if newer == 0 {
            // Replies may have lifted the backlog above the watermark, which sheds nothing yet.
            return 0;
        }
        let above = above(backlog, priority);
        let lane = at_least(backlog, Lane::from(priority)) - above;
        // Where sizes decide, those of higher priorities may be shed for theirs.
        let all = lane + newer + if self.counts_decide { above } else { 0 };
        all.saturating_sub(self.limits.room(priority)).min(lane)
    }

    /// Which of those of a chunk that are settled next are lost for others.
    pub fn lost(
        self,
        backlog: &Backlog,
        priority: Priority,
        newer: &Newer,
        (chunk, wanted): (&Chunk, u64),
    ) -> u64 {
        let (room, newer) = (self.limits.room(priority), newer.at_least(priority));
        if !self.counts_decide {
            return chunk.with_others(wanted, priority, room.saturating_sub(newer));
        }
        // Those of higher priorities stay, also the older ones.
        let higher: usize = chunk.counts(wanted)[..priority.index()].iter().sum();
        let others = above(backlog, priority) + newer + higher;
        let of_priority = wanted & chunk.priorities[priority.index()];
        chunk.with_others(of_priority, priority, room.saturating_sub(others))
    }

    /// Behind the last event that is lost, in bits from the oldest chunk's first on; none where
    /// counts do not tell, or it may be found that there is no room for what may not be shed.
    pub fn end_of_lost(
        self,
        backlog: &Backlog,
        chunks: &VecDeque<Chunk>,
        masks: &Masks,
    ) -> Option<usize> {
        let all = Newer::of(masks, chunks);
        if !self.counts_decide || self.may_be_full(backlog, &all) {
            return None;
        }
        let ends = self.sheddable().map(|priority| {
            let higher: usize = all.0[..priority.index()].iter().sum();
            let others = above(backlog, priority) + higher;
            let mut left = self.limits.room(priority).saturating_sub(others);
            for (at, (chunk, &wanted)) in chunks.iter().zip(masks).enumerate().rev() {
                let of_priority = wanted & chunk.priorities[priority.index()];
                if let Some(last) = chunk.with_others(of_priority, priority, left).checked_ilog2() {
                    return at * CHUNK + last as usize + 1;
                }
                left -= of_priority.count_ones() as usize;
            }
            0
        });
        ends.max()
    }

    fn may_be_full(self, backlog: &Backlog, newer: &Newer) -> bool {
        let lowest = Priority::ALL.into_iter().rfind(|it| self.kept.contains(*it));
        lowest.is_some_and(|lowest| {
            let all = at_least(backlog, Lane::from(lowest)) + newer.at_least(lowest);
            // Well below the watermark of each.
            all > self.limits.messages_max / 2
        })
    }
}

/// Messages that wait on this lane and on those above it.
fn at_least(backlog: &Backlog, lane: Lane) -> usize {
    backlog.messages() - backlog.messages_below(lane)
}

fn above(backlog: &Backlog, priority: Priority) -> usize {
    Lane::from(priority).above().map_or(0, |lane| at_least(backlog, lane))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::queue::{Arena, Frame, FrameId, Pushed};

    /// Events and replies with their sizes; none is a reply.
    type Frames = Vec<(Option<Priority>, usize)>;

    fn events(count: std::ops::Range<usize>) -> impl Strategy<Value = Frames> {
        let priority = (0..4_usize).prop_map(|priority| Some(Priority::ALL[priority]));
        vec((priority, prop_oneof![9 => 1..4_usize, 1 => 1..400_usize]), count)
    }

    /// Some of them are replies.
    fn frames(count: std::ops::Range<usize>) -> impl Strategy<Value = Frames> {
        (events(count.clone()), vec(0..8_u32, count.end)).prop_map(|(mut frames, kinds)| {
            let replies = frames.iter_mut().zip(kinds).filter(|(_, kind)| *kind == 0);
            replies.for_each(|((priority, _), _)| *priority = None);
            frames
        })
    }

    struct Queue {
        backlog: Backlog,
        shed: Vec<(Lane, FrameId)>,
        limits: Limits,
        kept: Priorities,
        is_full: bool,
    }

    impl Queue {
        /// With these in it.
        fn with(limits: Limits, kept: Priorities, frames: &Frames, ids: &[FrameId]) -> Self {
            let backlog = Backlog::Many(Box::default());
            let mut queue = Self { backlog, shed: Vec::new(), limits, kept, is_full: false };
            frames.iter().zip(ids).for_each(|(&frame, &id)| queue.push(frame, id));
            queue
        }

        fn left(&self) -> Vec<(Lane, FrameId, usize)> {
            self.backlog.outbox().expect("there is one").entries().collect()
        }

        fn push(&mut self, (priority, bytes): (Option<Priority>, usize), id: FrameId) {
            let Self { backlog, shed, limits, kept, is_full } = self;
            let outbox = backlog.outbox_mut().expect("there is one");
            let Some(priority) = priority else {
                return outbox.push_past_limits(Lane::Control, id, bytes);
            };
            let lane = Lane::from(priority);
            match outbox.push_shedding(lane, id, bytes, *limits, *kept, shed) {
                Pushed::Queued => {}
                Pushed::Shed => shed.push((lane, id)),
                Pushed::Full => *is_full = true,
                Pushed::Replaced(_) => unreachable!("no pong is among them"),
            }
        }
    }

    fn chunk(events: &[(Option<Priority>, usize)]) -> Chunk {
        let mut chunk = Chunk::default();
        for (at, (priority, _)) in events.iter().enumerate() {
            let priority = priority.expect("an event");
            chunk.priorities[priority.index()] |= 1 << at;
        }
        chunk
    }

    /// Events that were deferred and all of which are wanted.
    struct Wanted<'a> {
        events: &'a Frames,
        ids: &'a [FrameId],
        chunks: VecDeque<Chunk>,
        masks: Masks,
    }

    impl<'a> Wanted<'a> {
        fn new(events: &'a Frames, ids: &'a [FrameId]) -> Self {
            let mut masks = Masks::default();
            for (mask, events) in masks.iter_mut().zip(events.chunks(CHUNK)) {
                *mask = u64::MAX >> (CHUNK - events.len());
            }
            Self { events, ids, chunks: events.chunks(CHUNK).map(chunk).collect(), masks }
        }

        /// Sheds what is told to be lost, and queues the others that are before `end`; gives the place
        /// behind the last that was lost.
        fn settle(&self, queue: &mut Queue, policy: Policy, end: usize) -> usize {
            let mut newer = Newer::of(&self.masks, &self.chunks);
            for priority in policy.sheddable() {
                let excess = policy.excess(&queue.backlog, priority, &newer);
                let Queue { backlog, shed, .. } = queue;
                backlog.outbox_mut().expect("there is one").shed_oldest(priority, excess, shed);
            }
            let mut last_lost = 0;
            for (at, (chunk, &all)) in self.chunks.iter().zip(&self.masks).enumerate() {
                newer.pass(chunk, all);
                let mut wanted = all;
                for priority in policy.sheddable() {
                    wanted &= !policy.lost(&queue.backlog, priority, &newer, (chunk, wanted));
                }
                for place in at * CHUNK..self.events.len().min((at + 1) * CHUNK) {
                    let (event, id) = (self.events[place], self.ids[place]);
                    if wanted & 1 << (place % CHUNK) == 0 {
                        queue.shed.push((Lane::from(event.0.expect("an event")), id));
                        last_lost = place + 1;
                    } else if place < end {
                        queue.push(event, id);
                    }
                }
            }
            last_lost
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn what_is_told_to_be_lost_is_what_queuing_it_all_would_shed(
            before in frames(0..60),
            deferred in events(1..200),
            messages_max in 1..80_usize,
            bytes_max in prop_oneof![Just(1_000_usize), Just(100_000)],
            lowest_kept in prop_oneof![Just(Priority::Critical), Just(Priority::High)],
        ) {
            let (mut arena, nothing) = (Arena::new(), Rc::new(bytes::Bytes::new()));
            let all: Vec<FrameId> = (0..before.len() + deferred.len())
                .map(|_| arena.insert(Frame { bytes: Rc::clone(&nothing), event: None }))
                .collect();
            let (ids, deferred_ids) = all.split_at(before.len());
            let limits = Limits { messages_max, bytes_max };
            let kept = Priorities::from_lowest(lowest_kept);
            let mut queued = Queue::with(limits, kept, &before, ids);
            let mut told = Queue::with(limits, kept, &before, ids);
            queued.is_full = false;
            deferred.iter().zip(deferred_ids).for_each(|(&event, &id)| queued.push(event, id));

            let wanted = Wanted::new(&deferred, deferred_ids);
            let bytes = deferred.iter().map(|(_, bytes)| bytes).sum::<usize>();
            let counts_decide = limits.leave_room_for_bytes(told.backlog.bytes() + bytes);
            let policy = Policy { limits, kept, counts_decide };
            let end = policy.end_of_lost(&told.backlog, &wanted.chunks, &wanted.masks);
            if queued.is_full {
                // What comes of an event that finds no room is more than pushing.
                prop_assert_eq!(end, None);
                return Ok(());
            }
            let last_lost = wanted.settle(&mut told, policy, end.unwrap_or(usize::MAX));
            if let Some(end) = end {
                prop_assert_eq!(end, last_lost);
                prop_assert_eq!(told.shed.len(), queued.shed.len(), "all that is lost is told");
                let rest = deferred.iter().zip(deferred_ids).skip(end);
                rest.for_each(|(&event, &id)| told.push(event, id));
            }
            for queue in [&mut told, &mut queued] {
                let place = |id| all.iter().position(|it| *it == id);
                queue.shed.sort_by_key(|(_, id)| place(*id));
            }
            prop_assert_eq!(&told.shed, &queued.shed);
            prop_assert_eq!(told.left(), queued.left());
        }
    }
}

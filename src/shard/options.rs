//! Connections whose subscriptions ask for more than each event as it comes: updates of incidents
//! that replace each other, events that wait for others, events that are counted.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::{Event, Payload};
use crate::io::Driver;
use crate::protocol::Batch;
use crate::protocol::encoded::Encoded;
use crate::queue::{Conflation, Frame, Lane};
use crate::shard::handler::{Handler, LossReason};
use crate::shard::turn::Shard;

/// Messages of what was collapsed that one flush puts ahead of everything else.
const TOLD_AT_ONCE: usize = 8;

/// What is kept of such connections, by their slots, and when they want to be looked at.
#[derive(Debug, Default)]
pub(super) struct Extras {
    by_slot: HashMap<u32, Box<Extra>, RandomState>,
    /// To the nanosecond, unlike the wheel's; one entry for a connection at most.
    alarms: BTreeSet<(Instant, u32)>,
}

#[derive(Debug, Default)]
struct Extra {
    conflation: Conflation,
    /// Until when events may wait for others to be sent with.
    held_until: Option<Instant>,
    /// Events of one batch, as the ones that wait want it.
    batch_events_max: u32,
    /// When there is something of what was collapsed to tell.
    tell_at: Option<Instant>,
    alarm: Option<Instant>,
}

/// How an event is to be queued.
pub(super) struct Prepared {
    /// It may be sent in a batch.
    pub is_batched: bool,
}

impl Extras {
    /// When [`Shard::fire_alarms`] has something to do.
    pub fn next(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// The first event that was replaced and not told as lost.
    pub fn first_lost(&self, slot: u32) -> Option<u64> {
        self.by_slot.get(&slot)?.conflation.loss.range().map(|(first, _)| first)
    }

    /// The slot is about to be another connection's.
    pub fn forget(&mut self, slot: u32) {
        if let Some(alarm) = self.by_slot.remove(&slot).and_then(|extra| extra.alarm) {
            self.alarms.remove(&(alarm, slot));
        }
    }

    /// What waits is given up.
    pub fn discard(&mut self, slot: u32) {
        if let Some(extra) = self.by_slot.get_mut(&slot) {
            extra.conflation = Conflation::default();
        }
    }

    /// Events of one batch for this connection.
    pub fn batch_events_max(&self, slot: u32) -> u32 {
        self.by_slot.get(&slot).map_or(1, |extra| extra.batch_events_max)
    }

    /// Whether there is something of what was collapsed to tell.
    pub fn is_due(&self, slot: u32, now: Instant) -> bool {
        let extra = self.by_slot.get(&slot);
        extra.is_some_and(|extra| extra.tell_at.is_some_and(|at| at <= now))
    }

    fn of(&mut self, slot: u32) -> &mut Extra {
        self.by_slot.entry(slot).or_default()
    }

    /// Sees to it that the connection is looked at when the first of what it waits for is due.
    fn set_alarm(&mut self, slot: u32) {
        let Some(extra) = self.by_slot.get_mut(&slot) else { return };
        let at = [extra.held_until, extra.tell_at].into_iter().flatten().min();
        if extra.alarm == at {
            return;
        }
        if let Some(before) = std::mem::replace(&mut extra.alarm, at) {
            self.alarms.remove(&(before, slot));
        }
        if let Some(at) = at {
            self.alarms.insert((at, slot));
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// What is to become of an event that such a connection matched, before it is queued; none if
    /// it was counted instead.
    pub(super) fn prepare(
        &mut self,
        key: Key,
        event: &Encoded,
        bytes: usize,
        now: Instant,
    ) -> Option<Prepared> {
        let wish = self.handler.wish(key.slot, event, now);
        let lane = Lane::from(event.event.priority);
        if let Some(due) = wish.collapsed {
            self.links.stats.events_collapsed[event.event.priority.index()].add(1);
            let extra = self.extras.of(key.slot);
            extra.tell_at = Some(extra.tell_at.map_or(due, |before| before.min(due)));
            self.extras.set_alarm(key.slot);
            return None;
        }
        if wish.conflates && lane > Lane::Critical {
            self.conflate(key, lane, &event.event);
        }
        if lane > Lane::Critical {
            self.hold(key, wish.batch, bytes, now);
        }
        Some(Prepared { is_batched: lane > Lane::Critical && wish.batch.is_some() })
    }

    /// Takes out the update of the same incident that waits, in whose place this one comes.
    fn conflate(&mut self, key: Key, lane: Lane, event: &Event) {
        let Payload::IncidentUpdated(updated) = &event.payload else { return };
        let Self { connections, extras, arena, pools, links, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        let seq_of = |id| arena.get(id).event.map(|mark| mark.seq);
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        let first = outbox.front(lane).and_then(seq_of);
        let conflation = &mut extras.of(key.slot).conflation;
        let before = conflation.note(updated.incident.id, event.seq, first, outbox.messages());
        if let Some(before) = before
            && let Some((id, bytes)) = outbox.take_out(lane, |id| seq_of(id).cmp(&Some(before)))
        {
            conflation.loss.add(before, event.priority);
            links.stats.events_conflated[event.priority.index()].add(1);
            links.stats.outbox_bytes.sub(bytes as u64);
            arena.release(id);
        }
        if let Some(outbox) = connection.backlog.take_empty() {
            pools.put_outbox(outbox);
        }
    }

    /// Lets events wait for more to come, or go, when one more is about to be queued.
    fn hold(&mut self, key: Key, batch: Option<Batch>, bytes: usize, now: Instant) {
        let Self { connections, extras, settings, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        let Some(Batch { max_events, max_delay_ms }) = batch else {
            // What was not asked to wait does not, nor what stands before it.
            return self.release_hold(key);
        };
        let extra = extras.of(key.slot);
        let waiting = connection.backlog.messages_below(Lane::Critical);
        let due = now + Duration::from_millis(max_delay_ms.into());
        if waiting == 0 {
            extra.batch_events_max = max_events;
            extra.held_until = Some(due);
            if !connection.is_paused() {
                connection.floor = Lane::Critical;
            }
        } else {
            extra.batch_events_max = extra.batch_events_max.min(max_events);
            extra.held_until = extra.held_until.map(|before| before.min(due));
        }
        // A quarter of what may wait, because nothing is to be shed for a batch.
        let events_max = (extra.batch_events_max as usize).min(settings.outbox.messages_max / 4);
        let is_full = waiting + 1 >= events_max
            || connection.backlog.bytes() + bytes >= settings.send_bytes_max;
        if is_full {
            return self.release_hold(key);
        }
        extras.set_alarm(key.slot);
    }

    /// What waited for others goes now, unless the client has paused.
    pub(super) fn release_hold(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(extra) = self.extras.by_slot.get_mut(&key.slot)
            && extra.held_until.take().is_some()
        {
            self.extras.set_alarm(key.slot);
        }
        if connection.floor == Lane::Critical {
            connection.floor = Lane::Low;
            self.mark_dirty(key);
        }
    }

    /// Looks at those whose time has come.
    pub(super) fn fire_alarms(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.extras.alarms.first().filter(|(at, _)| *at <= now) {
            self.extras.alarms.remove(&(at, slot));
            let extra = self.extras.of(slot);
            extra.alarm = None;
            let is_over = extra.held_until.is_some_and(|until| until <= now);
            // What is to be told the next flush tells, whenever that is.
            let is_due = extra.tell_at.is_some_and(|at| at <= now);
            let Some((key, _)) = self.connections.at(slot) else { continue };
            if is_over {
                self.release_hold(key);
            }
            if is_due {
                self.mark_dirty_anyway(key);
            } else {
                self.extras.set_alarm(slot);
            }
        }
    }

    /// Puts ahead of the next event what was replaced and what was collapsed meanwhile.
    pub(super) fn tell_extras(&mut self, key: Key, now: Instant) {
        let is_paused = self.connections.get(key).is_none_or(|it| it.is_paused());
        let Some(extra) = self.extras.by_slot.get_mut(&key.slot).filter(|_| !is_paused) else {
            return;
        };
        let loss = extra.conflation.loss.take();
        let is_due = extra.tell_at.is_some_and(|at| at <= now);
        if let Some((from, _)) = loss.range()
            && let Some(notice) = self.handler.dropped(key, &loss, LossReason::Conflated)
        {
            self.queue_notice(key, notice, from);
        }
        if !is_due {
            return;
        }
        for _ in 0..TOLD_AT_ONCE {
            let Some((notice, from)) = self.handler.collapsed(key, Some(now)) else { break };
            self.queue_notice(key, notice, from);
        }
        self.extras.of(key.slot).tell_at = self.handler.collapsed_due(key.slot);
        self.extras.set_alarm(key.slot);
    }

    /// Queues a notice of events from `from` on, ahead of those that wait.
    pub(super) fn queue_notice(&mut self, key: Key, bytes: Bytes, from: u64) {
        let Self { connections, arena, pools, links, .. } = self;
        let Some(connection) = connections.get_mut(key) else { return };
        let frame_bytes = bytes.len();
        let id = arena.insert(Frame { bytes: Rc::new(bytes), event: None });
        let outbox = connection.backlog.to_outbox(|| pools.outbox());
        outbox.push_notice(id, frame_bytes, from);
        links.stats.outbox_bytes.add(frame_bytes as u64);
    }
}

//! Connections that are behind get the past from history, at the pace of their sockets.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::base::slab::Key;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::queue::{Arena, EventMark, Frame, FrameId, Lane};
use crate::shard::connection::Ending;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;
use crate::stream::Room;

/// Connections that are served in one turn.
const CONNECTIONS_PER_TURN: usize = 64;
/// Events that are compared with filters in one turn.
const COMPARED_PER_TURN: usize = 8_192;
/// Bytes of frames that are sent again in one turn.
const BYTES_PER_TURN: usize = 1024 * 1024;
/// Of the events, for one connection.
const COMPARED_AT_ONCE: usize = 512;

/// One step for one connection, filled in by its handler.
#[derive(Debug)]
pub struct Step {
    /// Every event up to this one has come to this shard.
    pub complete_to: u64,
    /// All of them were delivered, and none beyond: who has come so far is live again.
    pub is_live_edge: bool,
    /// It is the connection's turn to get what it asked for of the past; what found no room waits
    /// for no turn.
    pub may_replay: bool,
    /// The lowest lane of the connection that is empty together with all above it; what goes
    /// into a lower one has to wait.
    pub idle_down_to: Option<Lane>,
    pub room: Room,
    /// What is to be sent, in order.
    pub items: Vec<(Lane, Item)>,
}

/// What a step sends.
#[derive(Debug)]
pub enum Item {
    Event(Arc<Encoded>),
    /// A complete frame of a message.
    Notice(Bytes),
}

/// Where a connection is after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behind {
    /// It is live in all that it wants.
    No,
    /// There is more, or there will be.
    Yes,
    /// History has passed it: it cannot be caught up with.
    Lost,
}

/// Frames of the past that were stored in this turn: who asks for the same shares them.
pub(super) type Replayed = HashMap<(u64, u8), FrameId, RandomState>;

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Notes that the connection has something to catch up with.
    pub(super) fn mark_behind(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_behind = true;
        let is_listed = connection.is_in_behind;
        self.clear_stalled(key.slot);
        if is_listed || (self.places.is_waiting(key) && !self.reads_overflow(key)) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_in_behind = true;
            self.behind.push_back(key);
        }
    }

    /// Serves some of those that are behind and whose sockets have taken what they got before.
    pub(super) fn catch_up(&mut self) {
        let complete_to = self.complete_to;
        let is_live_edge = !self.links.inbox.has_events() && self.newest_seq <= complete_to;
        self.rouse_awaiting((complete_to, is_live_edge));
        if self.behind.is_empty() {
            return;
        }
        let (mut compared, mut bytes) = (COMPARED_PER_TURN, BYTES_PER_TURN);
        for _ in 0..self.behind.len().min(CONNECTIONS_PER_TURN) {
            if compared == 0 || bytes == 0 {
                break;
            }
            let Some(key) = self.behind.pop_front() else { break };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.is_in_behind = false;
            let is_over = connection.ending != Ending::No || !connection.is_open;
            // One that is paused comes back when it goes on.
            if !connection.is_behind || is_over || connection.is_paused() {
                continue;
            }
            let may_replay = !self.places.is_waiting(key);
            let idle_down_to = connection.backlog.idle_down_to();
            let at_once = compared.min(COMPARED_AT_ONCE);
            let mut step = Step {
                complete_to,
                is_live_edge,
                may_replay,
                idle_down_to,
                room: Room { bytes: self.settings.send_bytes_max, compared: at_once },
                items: std::mem::take(&mut self.step_items),
            };
            let behind = self.handler.catch_up(key, &mut step);
            compared -= at_once - step.room.compared;
            bytes = bytes.saturating_sub(self.settings.send_bytes_max - step.room.bytes);
            let has_progressed = step.room.compared < at_once || !step.items.is_empty();
            self.send_step(key, step.items);
            self.settle_behind(key, behind, has_progressed);
        }
        let Self { replayed, arena, .. } = self;
        replayed.drain().for_each(|(_, id)| arena.release(id));
    }

    /// Those that could do nothing go on when more has come, or all that came was delivered.
    fn rouse_awaiting(&mut self, reached: (u64, bool)) {
        if std::mem::replace(&mut self.awaited, reached) == reached {
            return;
        }
        for key in std::mem::take(&mut self.awaiting) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.is_awaiting = false;
                self.mark_behind(key);
            }
        }
    }

    /// Whether one that could do nothing before can do something now.
    pub(super) fn can_go_on(&self) -> bool {
        !self.awaiting.is_empty() && self.links.inbox.complete_to() != self.awaited.0
    }

    fn settle_behind(&mut self, key: Key, behind: Behind, has_progressed: bool) {
        let now = self.clock.now();
        let Some(connection) = self.connections.get_mut(key) else { return };
        match behind {
            Behind::No => {
                connection.is_behind = false;
                self.places.leave(key);
                self.links.stats.catch_ups_done.add(1);
                self.leave_if_late(key, now);
            }
            // One that has something to send comes back with the flush.
            Behind::Yes if connection.has_sendable() => {}
            Behind::Yes if has_progressed => self.mark_behind(key),
            Behind::Yes if connection.is_awaiting => {}
            Behind::Yes => {
                connection.is_awaiting = true;
                self.awaiting.push(key);
            }
            Behind::Lost => {
                connection.is_behind = false;
                self.places.leave(key);
                self.links.stats.catch_ups_lost.add(1);
                self.close_slow(key, now);
            }
        }
    }

    fn send_step(&mut self, key: Key, mut items: Vec<(Lane, Item)>) {
        let encoding = self.handler.encoding(key.slot);
        for (lane, item) in items.drain(..) {
            let (id, bytes) = match item {
                Item::Event(event) => self.store_replayed(&event, encoding),
                Item::Notice(bytes) => {
                    let frame_bytes = bytes.len();
                    let frame = Frame { bytes: Rc::new(bytes), event: None };
                    (self.arena.insert(frame), frame_bytes)
                }
            };
            let Self { connections, pools, links, .. } = self;
            let Some(connection) = connections.get_mut(key) else { continue };
            // A step is bounded, and the next one waits until this one is taken.
            if !connection.backlog.push_first_past_limits(lane, id, bytes) {
                let outbox = connection.backlog.to_outbox(|| pools.outbox());
                outbox.push_past_limits(lane, id, bytes);
            }
            links.stats.outbox_bytes.add(bytes as u64);
        }
        self.step_items = items;
        if self.connections.get(key).is_some_and(|it| !it.backlog.is_nothing()) {
            self.mark_dirty(key);
        }
    }

    /// The frame of an event of the past, with a reference for the lane that it goes to.
    fn store_replayed(&mut self, event: &Encoded, encoding: Encoding) -> (FrameId, usize) {
        let Self { replayed, arena, .. } = self;
        let place = (event.event.seq, encoding.index() as u8);
        let id = *replayed.entry(place).or_insert_with(|| store(arena, event, encoding));
        arena.retain(id);
        self.links.stats.events_replayed.add(1);
        (id, event.frame(encoding).len())
    }
}

fn store(arena: &mut Arena, event: &Encoded, encoding: Encoding) -> FrameId {
    let (seq, priority) = (event.event.seq, event.event.priority);
    // Without the time of its acceptance: how long ago that was is no latency.
    let mark = EventMark { seq, priority, accepted_at: None };
    arena.insert(Frame { bytes: Rc::new(event.frame(encoding).clone()), event: Some(mark) })
}

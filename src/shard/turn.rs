//! The loop: wait, dispatch, timers, inbox, flush, requests.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::{Clock, Instant};
use crate::base::slab::{Key, Slab};
use crate::io::{Completion, Completions, Driver, Kind, Op, Outcome, Token, Waker};
use crate::queue::{Arena, FrameId, Lane};
use crate::shard::absence::Absence;
use crate::shard::accept::Accepts;
use crate::shard::catch_up::{Item, Replayed};
use crate::shard::connection::Connection;
use crate::shard::deliver::Ahead;
use crate::shard::drain::Drain;
use crate::shard::handler::{Handler, Replies};
use crate::shard::handshakes::Handshakes;
use crate::shard::inbox::Inbox;
use crate::shard::intake::Received;
use crate::shard::listing::Walks;
use crate::shard::losses::Losses;
use crate::shard::options::Extras;
use crate::shard::places::Places;
use crate::shard::pools::Pools;
use crate::shard::proxies::Proxies;
use crate::shard::sessions::SessionIds;
use crate::shard::settings::Settings;
use crate::shard::stalled::Stalled;
use crate::shard::stats::{Histograms, ShardStats};
use crate::shard::timers::Wheel;

/// What ties a shard to the other threads.
#[derive(Clone, Debug)]
pub struct Links {
    pub inbox: Arc<Inbox>,
    pub stats: Arc<ShardStats>,
    /// Woken when the inbox, having been full, has room again.
    pub hub: Waker,
}

/// One pinned thread's worth of server. Not `Send` once its driver is not.
pub struct Shard<D, H> {
    pub(super) driver: D,
    pub(super) handler: H,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) links: Links,
    pub(super) connections: Slab<Connection>,
    pub(super) accepts: Accepts,
    pub(super) handshakes: Handshakes,
    pub(super) arena: Arena,
    pub(super) wheel: Wheel,
    pub(super) absence: Absence,
    /// Connections with something to send and nothing in flight, or to be ended.
    pub(super) dirty: VecDeque<Key>,
    /// Those of them that come first.
    pub(super) dirty_urgent: VecDeque<Key>,
    /// Operations that the driver had no room for; in order, before any new one.
    pub(super) refused: VecDeque<(Token, Op)>,
    pub(super) drain: Drain,
    pub(super) histograms: Histograms,
    pub(super) pools: Pools,
    pub(super) replies: Replies,
    pub(super) received: Received,
    pub(super) matched: Vec<u32>,
    pub(super) ping: Rc<Bytes>,
    pub(super) shed: Vec<(Lane, FrameId)>,
    /// Backlogs above the budget that shedding and closing could not reduce; zero below it.
    pub(super) irreducible_bytes: usize,
    /// Connections that get more of the past.
    pub(super) behind: VecDeque<Key>,
    /// Those for which there was nothing to do, because of how far events had come then.
    pub(super) awaiting: Vec<Key>,
    /// How far: up to this event, and whether all was delivered.
    pub(super) awaited: (u64, bool),
    /// Whose turn it is among those that asked for it.
    pub(super) places: Places,
    pub(super) extras: Extras,
    pub(super) step_items: Vec<(Lane, Item)>,
    pub(super) replayed: Replayed,
    /// Of events that are not urgent, since the flush was last not behind.
    pub(super) ahead: Ahead,
    /// Every event up to this one has come out of the inbox, or will.
    pub(super) complete_to: u64,
    /// Every event up to this one has been queued for all who want it.
    pub(super) seen_to: u64,
    /// Of the events that came out of the inbox.
    pub(super) newest_seq: u64,
    pub(super) session_ids: SessionIds,
    pub(super) proxies: Proxies,
    pub(super) losses: Losses,
    pub(super) walks: Walks,
    pub(super) stalled: Stalled,
    /// Counts turns, and wraps.
    pub(super) turn: u16,
    waker: Waker,
    completions: Completions,
    expired: Vec<u32>,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    pub fn new(driver: D, handler: H, clock: Clock, settings: Settings, links: Links) -> Self {
        let now = clock.now();
        let ping = crate::ws::frame::frame(crate::ws::frame::PING, b"");
        Self {
            waker: driver.waker(),
            driver,
            handler,
            connections: Slab::with_capacity_max(settings.sockets_max),
            accepts: Accepts::new(settings.accepts),
            handshakes: Handshakes::default(),
            arena: Arena::new(),
            wheel: Wheel::new(now),
            absence: Absence::new(now),
            dirty: VecDeque::new(),
            dirty_urgent: VecDeque::new(),
            refused: VecDeque::new(),
            drain: Drain::default(),
            histograms: Histograms::new(),
            pools: Pools::default(),
            replies: Replies::default(),
            received: Received::default(),
            matched: Vec::new(),
            ping: Rc::new(Bytes::from(ping)),
            shed: Vec::new(),
            irreducible_bytes: 0,
            behind: VecDeque::new(),
            awaiting: Vec::new(),
            awaited: (0, false),
            places: Places::new(settings.catch_up),
            extras: Extras::default(),
            step_items: Vec::new(),
            replayed: Replayed::default(),
            ahead: Ahead::default(),
            complete_to: 0,
            seen_to: 0,
            newest_seq: 0,
            session_ids: SessionIds::new(&clock),
            proxies: Proxies::default(),
            losses: Losses::default(),
            walks: Walks::default(),
            stalled: Stalled::default(),
            turn: 0,
            completions: Completions::new(),
            expired: Vec::new(),
            clock,
            settings,
            links,
        }
    }

    /// Turns until the shard is drained or forced to end.
    ///
    /// # Errors
    /// The driver has become useless.
    pub fn run(mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// One pass of the loop; false when the shard has ended.
    ///
    /// # Errors
    /// The driver has become useless.
    pub fn turn(&mut self) -> io::Result<bool> {
        self.push_refused();
        self.arm_accepts();
        let deadline = self.wait()?;
        self.turn = self.turn.wrapping_add(1);
        let start = self.clock.now();
        self.absence.begin_turn(deadline, start);
        self.links.stats.inbox_depth.set(self.links.inbox.depth() as u64);
        self.dispatch(start);
        self.keep_partial_messages_within_budget(start);
        self.fire_timers(start);
        self.fire_alarms(start);
        self.drain_inbox(start);
        self.promote_waiting(start);
        self.catch_up();
        self.flush(start);
        self.settle_due(start);
        // Only now every backlog is as far as the events that were taken from the inbox.
        self.answer_requests(start);
        self.advance_drain(start);
        self.keep_within_budget(start);
        self.arena.shrink_if_empty();
        self.pools.trim(start);
        self.count_turn(start);
        Ok(!self.is_over(start))
    }

    /// Waits; gives the deadline that it had.
    fn wait(&mut self) -> io::Result<Option<Instant>> {
        self.waker.park();
        let has_work = !self.dirty.is_empty()
            || !self.dirty_urgent.is_empty()
            || !self.behind.is_empty()
            || self.can_go_on()
            || !self.refused.is_empty()
            || !self.walks.is_empty()
            || self.stalled.is_due()
            || !self.links.inbox.is_empty()
            || self.links.inbox.is_forced();
        let deadline = if has_work { Some(Instant::default()) } else { self.next_deadline() };
        let waited = self.driver.submit_and_wait(deadline, &mut self.completions);
        self.waker.unpark();
        waited.map(|()| deadline)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let timers = self.wheel.next().map(|next| self.absence.not_before(next));
        let (alarm, place) = (self.extras.next(), self.places.next());
        let deadlines = [timers, alarm, place, self.accepts.retry_at(), self.drain.next()];
        deadlines.into_iter().chain([self.stalled.next()]).flatten().min()
    }

    fn dispatch(&mut self, now: Instant) {
        let mut completions = std::mem::take(&mut self.completions);
        for Completion { token, outcome } in completions.drain(..) {
            if matches!(token.kind(), Kind::Recv | Kind::Send) {
                self.settle(token.key().slot, now);
                // It is parked for what it wants, which a message may change.
                self.clear_stalled(token.key().slot);
            }
            match token.kind() {
                Kind::Accept => self.handle_accept(token.key().slot, outcome, now),
                Kind::Recv => self.handle_recv(token.key(), outcome, now),
                Kind::Send => self.handle_send(token.key(), outcome, now),
                Kind::Shutdown => self.handle_shutdown(token.key(), &outcome),
                Kind::Close => self.handle_close(token.key(), outcome),
                Kind::Internal => debug_assert!(false, "internal completions stay in the driver"),
            }
        }
        self.completions = completions;
    }

    fn fire_timers(&mut self, now: Instant) {
        if !self.absence.is_over(now) {
            return;
        }
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now, &mut expired);
        for slot in expired.drain(..) {
            if let Some((key, _)) = self.connections.at(slot) {
                self.handle_deadlines(key, now);
            }
        }
        self.expired = expired;
    }

    /// Hands an operation to the driver, behind those that it refused.
    pub(super) fn push(&mut self, kind: Kind, key: Key, op: Op) {
        let token = Token::new(kind, key);
        if !self.refused.is_empty() {
            self.refused.push_back((token, op));
        } else if let Err(op) = self.driver.push(token, op) {
            self.refused.push_back((token, op));
        }
    }

    /// Whether the driver refused something in this turn.
    pub(super) fn is_driver_full(&self) -> bool {
        !self.refused.is_empty()
    }

    fn push_refused(&mut self) {
        while let Some((token, op)) = self.refused.pop_front() {
            if let Err(op) = self.driver.push(token, op) {
                self.refused.push_front((token, op));
                return;
            }
        }
    }

    fn count_turn(&mut self, start: Instant) {
        let nanos = self.clock.now().since(start).as_nanos() as u64;
        let stats = &self.links.stats;
        stats.turns.add(1);
        stats.turn_nanos.add(nanos);
        stats.turn_nanos_max.set(stats.turn_nanos_max.get().max(nanos));
        self.histograms.turn.saturating_record(nanos);
    }
}

impl<D, H> Drop for Shard<D, H> {
    fn drop(&mut self) {
        self.links.inbox.end();
    }
}

/// A failed operation's terminal completion, whatever it was.
pub(super) fn is_terminal(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Received { more: true, .. })
}

//! Pages of a shard's connections, for those who operate the server. A walk over all of them
//! takes a bounded part of each turn, and keeps no more than it will give.

use std::collections::{BinaryHeap, VecDeque};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::base::clock::Instant;
use crate::base::network::Network;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::shard::handler::Handler;
use crate::shard::inspect::{State, Summary};
use crate::shard::turn::Shard;

/// What a turn looks at: a slot counts as one, and each frame that waits for a connection too.
const LOOKS_PER_TURN: usize = 8_192;
/// Walks that take turns; who asks for one more is told that there are too many.
const WALKS_MAX: usize = 8;

/// Which connections, and in what order.
#[derive(Clone, Debug)]
pub struct Query {
    pub sort: Sort,
    /// Connections in the answer.
    pub limit: usize,
    /// Only what comes behind it.
    pub after: Option<Rank>,
    /// Only those from there, or through a proxy there.
    pub address: Option<Network>,
    pub state: Option<State>,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The oldest. The only order in which a connection never moves.
    Age,
    /// The furthest behind.
    Lag,
    /// The most bytes waiting.
    Backlog,
    /// The most events lost.
    Losses,
    /// The lowest address.
    Address,
}

/// A connection's place in an order: the smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub value: u128,
    /// Decides between equals.
    pub session_id: Uuid,
}

/// The first connections of a shard in the order that was asked for.
#[derive(Debug, Default)]
pub struct Page {
    pub found: Vec<(Rank, Summary)>,
    /// There are others behind them.
    pub more: bool,
}

/// Requests for pages that are being worked on.
#[derive(Debug, Default)]
pub(super) struct Walks(VecDeque<Walk>);

#[derive(Debug)]
struct Walk {
    query: Query,
    answer: oneshot::Sender<Page>,
    next_slot: u32,
    /// The last of what was found on top.
    found: BinaryHeap<Found>,
    more: bool,
}

#[derive(Debug)]
struct Found {
    rank: Rank,
    summary: Summary,
}

impl Walks {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins a walk. Where there are too many already, who asks hears so by the end of the
    /// channel.
    pub fn begin(&mut self, query: Query, answer: oneshot::Sender<Page>) {
        self.0.retain(|walk| !walk.answer.is_closed());
        if self.0.len() < WALKS_MAX {
            let found = BinaryHeap::new();
            self.0.push_back(Walk { query, answer, next_slot: 0, found, more: false });
        }
    }
}

impl Walk {
    /// Whether a connection of this rank is on the page as far as is known now.
    fn wants(&mut self, rank: Rank) -> bool {
        if self.query.after.is_some_and(|after| rank <= after) {
            return false;
        }
        let is_full = self.found.len() >= self.query.limit;
        let is_behind = is_full && self.found.peek().is_none_or(|last| last.rank < rank);
        self.more |= is_full;
        !is_behind
    }

    fn take(&mut self, rank: Rank, summary: Summary) {
        if self.found.len() >= self.query.limit {
            self.found.pop();
        }
        self.found.push(Found { rank, summary });
    }

    fn finish(self) {
        let found = self.found.into_sorted_vec();
        let found = found.into_iter().map(|Found { rank, summary }| (rank, summary)).collect();
        // Whoever asked may be gone.
        let _ = self.answer.send(Page { found, more: self.more });
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Goes on with the first walk, as far as this turn's part reaches.
    pub(super) fn walk(&mut self, now: Instant) {
        let Some(mut walk) = self.walks.0.pop_front() else { return };
        if walk.answer.is_closed() {
            return;
        }
        let mut looks = 0;
        while walk.next_slot < self.connections.slots() {
            if looks >= LOOKS_PER_TURN {
                // The others have their part of the next turns.
                self.walks.0.push_back(walk);
                return;
            }
            let slot = walk.next_slot;
            walk.next_slot += 1;
            looks += 1 + self.settle(slot, now) + self.look_at(slot, &mut walk);
        }
        walk.finish();
    }

    /// Takes the connection in a slot onto the page, if it belongs there; gives the frames that
    /// were looked at.
    fn look_at(&self, slot: u32, walk: &mut Walk) -> usize {
        let Some((key, connection)) = self.connections.at(slot) else { return 0 };
        let is_from =
            |network: Network| self.addresses_of(connection).any(|ip| network.contains(ip));
        if walk.query.address.is_some_and(|network| !is_from(network))
            || walk.query.state.is_some_and(|state| connection.state() != state)
        {
            return 0;
        }
        let (value, looks) = self.rank(walk.query.sort, key);
        let rank = Rank { value, session_id: self.session_id(key, connection) };
        if !walk.wants(rank) {
            return looks;
        }
        walk.take(rank, self.summary(key, connection));
        looks + connection.frames_held()
    }

    /// Where a connection stands in an order, and how many frames were looked at to tell.
    fn rank(&self, sort: Sort, key: Key) -> (u128, usize) {
        let Some(connection) = self.connections.get(key) else { return (u128::MAX, 0) };
        let most = |count: u64| u128::MAX - u128::from(count);
        match sort {
            Sort::Age => (0, 0),
            Sort::Lag => {
                let position = self.position(key).map_or(u128::MAX, u128::from);
                (position, connection.frames_held())
            }
            Sort::Backlog => (most(connection.backlog.bytes() as u64), 0),
            Sort::Losses => (most(self.lost(key).iter().sum()), 0),
            Sort::Address => (connection.peer.address.rank(), 0),
        }
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

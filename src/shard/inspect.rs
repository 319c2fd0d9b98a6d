//! What a shard knows of one connection, for those who operate the server. Nothing of it is kept
//! beside what delivery needs: it is put together when somebody asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::Priority;
use crate::filter::Filter;
use crate::io::Driver;
use crate::protocol::Encoding;
use crate::queue::Lane;
use crate::shard::connection::{Connection, Ending};
use crate::shard::handler::Handler;
use crate::shard::losses::Lost;
use crate::shard::turn::Shard;

/// One connection at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub session_id: Uuid,
    /// The client's, as far as it is known.
    pub address: IpAddr,
    /// Whose connection it is, where a trusted proxy told of another client.
    pub proxy: Option<IpAddr>,
    /// None before the handshake, and once it is closing.
    pub encoding: Option<Encoding>,
    /// The client named the protocol: it hears of losses.
    pub is_extended: bool,
    /// Since its accept.
    pub age: Duration,
    pub state: State,
    /// Every event up to this one that it wanted was handed to the kernel, or told as lost. None
    /// unless it is open.
    pub position: Option<u64>,
    /// By lane, control first.
    pub lanes: [Amount; Lane::ALL.len()],
    /// By [`Priority::index`], the position from which a lane that was full is read from the past;
    /// none where it is live.
    pub overflows: [Option<u64>; Priority::ALL.len()],
    /// What the send in flight began with.
    pub in_flight: Amount,
    pub lost: Lost,
    pub subscriptions: usize,
}

/// So many frames of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub messages: usize,
    pub bytes: usize,
}

/// Where a connection is in its life. Where several are true, the first of them here is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was told that it ends, or its end has begun.
    Closing,
    /// It was accepted, and did not ask for anything yet.
    Handshake,
    /// Its socket did not take a send at once, and has not taken all that waited since.
    Congested,
    /// Some of its subscriptions are not live yet, or a lane was full and is read from the past.
    CatchingUp,
    Open,
}

/// One connection with its subscriptions.
#[derive(Clone, Debug)]
pub struct Detail {
    pub summary: Summary,
    /// By id.
    pub subscriptions: Vec<Standing>,
}

/// One subscription.
#[derive(Clone, Debug)]
pub struct Standing {
    pub subscription_id: Box<str>,
    pub filter: Arc<Filter>,
    /// How far it has caught up; none where it is live.
    pub position: Option<u64>,
}

impl State {
    pub const ALL: [Self; 5] =
        [Self::Closing, Self::Handshake, Self::Congested, Self::CatchingUp, Self::Open];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closing => "closing",
            Self::Handshake => "handshake",
            Self::Congested => "congested",
            Self::CatchingUp => "catching_up",
            Self::Open => "open",
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// The connection of this id, if it is here.
    pub(super) fn find(&self, session_id: Uuid) -> Option<Key> {
        let (key, connection) = self.connections.at(self.session_ids.slot(session_id))?;
        (self.session_id(key, connection) == session_id).then_some(key)
    }

    pub(super) fn detail(&mut self, session_id: Uuid, now: Instant) -> Option<Detail> {
        let key = self.find(session_id)?;
        self.settle(key.slot, now);
        let connection = self.connections.get(key)?;
        let mut subscriptions = Vec::new();
        if connection.is_open {
            self.handler.standings(key.slot, &mut subscriptions);
        }
        subscriptions
            .sort_unstable_by(|one, other| one.subscription_id.cmp(&other.subscription_id));
        Some(Detail { summary: self.summary(key, connection), subscriptions })
    }

    pub(super) fn session_id(&self, key: Key, connection: &Connection) -> Uuid {
        self.session_ids.of(key, connection.accepted_at)
    }

    pub(super) fn summary(&self, key: Key, connection: &Connection) -> Summary {
        let is_open = connection.is_open;
        let mut lanes = [Amount::default(); Lane::ALL.len()];
        for (lane, _, bytes) in connection.backlog.entries() {
            lanes[lane as usize].add(bytes);
        }
        let mut in_flight = Amount::default();
        for id in connection.in_flight.ids() {
            in_flight.add(self.arena.get(*id).bytes.len());
        }
        Summary {
            session_id: self.session_id(key, connection),
            address: connection.peer.address.ip(),
            proxy: self.proxies.get(connection.peer.via),
            encoding: is_open.then(|| self.handler.encoding(key.slot)),
            is_extended: is_open && self.handler.hears_losses(key.slot),
            age: self.clock.now().since(connection.accepted_at),
            state: connection.state(),
            position: self.position(key),
            lanes,
            overflows: if is_open { self.handler.overflows(key.slot) } else { Default::default() },
            in_flight,
            lost: self.lost(key),
            subscriptions: if is_open { self.handler.subscriptions(key.slot) } else { 0 },
        }
    }

    /// What an open connection would be told to resume after if it were closed now and nothing
    /// more sent to it.
    pub(super) fn position(&self, key: Key) -> Option<u64> {
        let connection = self.connections.get(key)?;
        if !connection.is_open {
            return None;
        }
        let unsent = self.first_unsent(key).map(|first| first - 1);
        let behind = self.handler.behind(key.slot);
        Some([unsent, behind].into_iter().flatten().fold(self.seen_to, u64::min))
    }

    /// The client's address, and its proxy's.
    pub(super) fn addresses_of(&self, connection: &Connection) -> impl Iterator<Item = IpAddr> {
        let peer = &connection.peer;
        [Some(peer.address.ip()), self.proxies.get(peer.via)].into_iter().flatten()
    }
}

impl Connection {
    pub fn state(&self) -> State {
        let is_ending = self.ending != Ending::No;
        if self.session.is_handshaking() && !is_ending {
            State::Handshake
        } else if is_ending || !self.is_open {
            State::Closing
        } else if self.is_congested {
            State::Congested
        } else if self.is_behind {
            State::CatchingUp
        } else {
            State::Open
        }
    }

    /// Frames that wait for it or are in flight.
    pub fn frames_held(&self) -> usize {
        self.backlog.messages() + self.in_flight.ids().len()
    }
}

impl Amount {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

//! One connection's place in a shard.

use std::rc::Rc;

use crate::base::clock::Instant;
use crate::io::Socket;
use crate::queue::{Backlog, FrameId, Lane};
use crate::session::Session;
use crate::shard::admission::Peer;
use crate::shard::pools::Gathered;

/// Everything a shard keeps of a connection. The parts that only a busy connection needs
/// are boxed and given back.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: Socket,
    pub session: Session,
    pub peer: Peer,
    /// What waits for its send.
    pub backlog: Backlog,
    /// What the send in flight carries.
    pub in_flight: InFlight,
    pub accepted_at: Instant,
    /// The turn in which the send in flight was handed over.
    pub send_turn: u16,
    pub ending: Ending,
    /// What is sent now is in this lane or above it: the lowest, unless something holds events
    /// back.
    pub floor: Lane,
    /// Its subscriptions ask, or asked, for more than each event as it comes.
    pub has_options: bool,
    /// The socket did not take a send at once, and has not taken all that waited since.
    pub is_congested: bool,
    /// Has something of the past to catch up with.
    pub is_behind: bool,
    /// Asked to be told when it has got everything.
    pub hears_checkpoints: bool,
    /// In the list of those that get more of it.
    pub is_in_behind: bool,
    /// In the list of those that wait until there is more of it.
    pub is_awaiting: bool,
    /// The handshake succeeded: counted as active.
    pub is_open: bool,
    /// The answer to the handshake and the first words after it are on their way.
    pub is_greeted: bool,
    pub counted: Counted,
    /// In the list of those to be flushed.
    pub is_dirty: bool,
    /// In the list of those to be flushed first.
    pub is_dirty_urgent: bool,
    pub is_receiving: bool,
    pub is_sending: bool,
    pub shutdown: Shutdown,
}

/// Every connection has its own, idle or not.
const _: () = assert!(size_of::<Connection>() <= 128);

/// What a connection counts as when others ask for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Among the handshakes that the shard works on.
    Shaking,
    LetIn,
    /// Held only until it has been told that there is no room.
    Refused,
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// It lives.
    No,
    /// When everything is sent, end our direction.
    AfterFlush,
    /// Our direction is ended; waiting for the peer to end its own.
    HalfClosed,
    /// Waiting for what is in flight, to close.
    Aborted,
    /// The close is in flight; the slot is freed with its completion.
    Closing,
}

/// What was ended of a socket; what is on its way was pushed and has not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    No,
    /// Our direction.
    HalfOnItsWay,
    Half,
    /// Both directions: nothing in flight can last.
    WholeOnItsWay,
    /// The same, and what the kernel holds is thrown away.
    ResetOnItsWay,
    Whole,
}

impl Shutdown {
    pub fn is_on_its_way(self) -> bool {
        matches!(self, Self::HalfOnItsWay | Self::WholeOnItsWay | Self::ResetOnItsWay)
    }
}

/// References that a send in flight holds.
#[derive(Debug, Default)]
pub(super) enum InFlight {
    #[default]
    Nothing,
    One(FrameId),
    Many(Rc<Gathered>),
}

impl Connection {
    pub fn new(socket: Socket, session: Session, peer: Peer, now: Instant) -> Self {
        Self {
            socket,
            session,
            peer,
            backlog: Backlog::Nothing,
            in_flight: InFlight::Nothing,
            accepted_at: now,
            send_turn: 0,
            ending: Ending::No,
            floor: Lane::Low,
            has_options: false,
            is_congested: false,
            is_behind: false,
            hears_checkpoints: false,
            is_in_behind: false,
            is_awaiting: false,
            is_open: false,
            is_greeted: false,
            counted: Counted::LetIn,
            is_dirty: false,
            is_dirty_urgent: false,
            is_receiving: false,
            is_sending: false,
            shutdown: Shutdown::No,
        }
    }

    /// Its client wants no events for now.
    pub fn is_paused(&self) -> bool {
        self.floor == Lane::Control
    }

    /// Something waits that may be sent now.
    pub fn has_sendable(&self) -> bool {
        self.backlog.has_down_to(self.floor)
    }

    /// What waits may not be sent now.
    pub fn is_held_back(&self) -> bool {
        self.floor != Lane::Low && !self.backlog.is_nothing() && !self.has_sendable()
    }

    /// Nothing is in flight that lasts until the connection ends.
    pub fn is_quiet(&self) -> bool {
        !self.is_receiving && !self.is_sending
    }
}

impl InFlight {
    /// How many batches it carries, and how many events in them.
    pub fn batches(&self) -> (usize, usize) {
        match self {
            Self::Nothing | Self::One(_) => (0, 0),
            Self::Many(gathered) => gathered.batches(),
        }
    }

    pub fn ids(&self) -> &[FrameId] {
        match self {
            Self::Nothing => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(gathered) => gathered.ids(),
        }
    }
}

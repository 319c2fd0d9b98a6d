//! What a shard's connections are for: the seam between the loop and the protocol
//! spoken on it.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::event::{Priorities, Priority};
use crate::filter::Parked;
use crate::protocol::encoded::Encoded;
use crate::protocol::{CloseCode, Encoding};
use crate::queue::Loss;
use crate::shard::catch_up::{Behind, Step};
use crate::shard::inspect::Standing;
use crate::shard::wishes::Wish;
use crate::ws::{Refusal, Request};

/// Speaks a protocol over a shard's connections. Connections are named by slab keys;
/// `slot` alone names one while it is open.
pub trait Handler {
    /// Judges a valid upgrade request: the subprotocol to answer with, or a refusal. What
    /// is admitted is opened next.
    ///
    /// # Errors
    /// The refusal is sent and the connection ends.
    fn admit(&mut self, key: Key, request: &Request) -> Result<Option<&'static str>, Refusal>;

    /// The connection is open. No other of this server ever has its id.
    fn opened(&mut self, key: Key, session_id: Uuid, now: Instant, replies: &mut Replies);

    /// A message arrived on an open connection.
    fn message(&mut self, key: Key, message: Message<'_>, now: Instant, replies: &mut Replies);

    /// The connection is no longer open: nothing more is delivered to it.
    fn closed(&mut self, key: Key);

    /// The last message before the server closes a connection, as a complete frame. `after`
    /// is the last event before the first that the client may not have got; none if it got, or
    /// is about to get, all that was seen.
    fn closing(&mut self, key: Key, close: &Close, after: Option<u64>) -> Option<Bytes>;

    /// Every event up to this one has been through [`Handler::matching`].
    fn seen(&mut self, _seq: u64) {}

    /// Whether the client of an open connection understands a notice of what was shed. Who
    /// does not is closed instead.
    fn hears_losses(&self, _slot: u32) -> bool {
        false
    }

    /// What is never shed for an open connection. Where it finds no room, [`Handler::overflow`]
    /// decides.
    fn kept(&self, _slot: u32) -> Priorities {
        Priorities::ALL
    }

    /// The lane of an event that a connection wants is full, and was not before: whether the event
    /// and those that follow on this lane will come by [`Handler::catch_up`]. Else the connection
    /// is closed.
    fn overflow(&mut self, _slot: u32, _priority: Priority, _seq: u64) -> bool {
        false
    }

    /// Whether what is to come on a connection's lane will come by [`Handler::catch_up`].
    fn is_overflowing(&self, _slot: u32, _priority: Priority) -> bool {
        false
    }

    /// The notice of what was lost for a connection, as a complete frame.
    fn dropped(&mut self, _key: Key, _loss: &Loss, _reason: LossReason) -> Option<Bytes> {
        None
    }

    /// How a connection with [`Replies::options`] wants an event that it matched, which is about
    /// to be queued.
    fn wish(&mut self, _slot: u32, _event: &Encoded, _now: Instant) -> Wish {
        Wish::default()
    }

    /// The next message of what was counted instead of sent and is due, or of anything that was
    /// where no time is given; with the first event that it tells of.
    fn collapsed(&mut self, _key: Key, _now: Option<Instant>) -> Option<(Bytes, u64)> {
        None
    }

    /// When [`Handler::collapsed`] has the next one.
    fn collapsed_due(&self, _slot: u32) -> Option<Instant> {
        None
    }

    /// Gives a connection that asked for the past its next part, or one that overflowed; see
    /// [`Replies::catch_up`] and [`Handler::overflow`].
    fn catch_up(&mut self, _key: Key, _step: &mut Step) -> Behind {
        Behind::No
    }

    /// The notice that a connection, which asked for them by [`Replies::checkpoints`], has got
    /// all that was seen; none where that is no news.
    fn checkpoint(&mut self, _key: Key, _now: Instant, _is_heartbeat: bool) -> Option<Bytes> {
        None
    }

    /// Appends the slots of the connections that want the event, each once; without those that
    /// are parked.
    fn matching(&mut self, event: &Arc<Encoded>, slots: &mut Vec<u32>);

    /// Puts an open connection aside, for which [`Handler::parked`] answers until it is taken back
    /// by [`Handler::unpark`] or closed. Gives [`Parked::group`], the same for all that want the
    /// same events; none where it stays among the others.
    fn park(&mut self, _slot: u32) -> Option<u32> {
        None
    }

    /// A connection that was parked is among the others again.
    fn unpark(&mut self, _slot: u32) {}

    /// Who is parked and wants the last event.
    fn parked(&self) -> &[Parked] {
        &[]
    }

    /// What an open connection speaks: it gets the events' frames of that encoding.
    fn encoding(&self, slot: u32) -> Encoding;

    /// Open connections that want any events at all.
    fn interested(&self) -> usize;

    /// An open connection's subscriptions.
    fn subscriptions(&self, _slot: u32) -> usize {
        0
    }

    /// The position that all of an open connection's readers of the past have reached; none where
    /// all is live.
    fn behind(&self, _slot: u32) -> Option<u64> {
        None
    }

    /// By [`Priority::index`], where an open connection's readers of overflowing lanes stand; none
    /// where the lane is live.
    fn overflows(&self, _slot: u32) -> [Option<u64>; Priority::ALL.len()] {
        [None; Priority::ALL.len()]
    }

    /// Appends what an open connection is subscribed to.
    fn standings(&self, _slot: u32, _standings: &mut Vec<Standing>) {}
}

/// Why events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The client did not keep up.
    SlowConsumer,
    /// Newer events took their place.
    Conflated,
}

impl LossReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow_consumer",
            Self::Conflated => "conflated",
        }
    }
}

/// A complete message from a client.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// Why and how the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: CloseCode,
    /// A sentence for the people who read the close frame.
    pub reason: &'static str,
}

/// What a handler wants sent back: complete frames, in order, and possibly the end.
#[derive(Debug, Default)]
pub struct Replies {
    pub(super) frames: Vec<Bytes>,
    pub(super) close: Option<Close>,
    pub(super) is_behind: bool,
    pub(super) may_catch_up: bool,
    pub(super) hears_checkpoints: bool,
    pub(super) pause: Option<bool>,
    pub(super) has_options: bool,
    /// Each with the first event that it tells of.
    pub(super) notices: Vec<(Bytes, u64)>,
}

impl Replies {
    /// Queues a complete frame on the control lane.
    pub fn send(&mut self, frame: Bytes) {
        self.frames.push(frame);
    }

    /// Whether the connection may ask for the past: others may be waiting for it already.
    pub fn may_catch_up(&self) -> bool {
        self.may_catch_up
    }

    /// The connection is to get events of the past, by [`Handler::catch_up`].
    pub fn catch_up(&mut self) {
        self.is_behind = true;
    }

    /// The connection is to be told when it has got everything, by [`Handler::checkpoint`].
    pub fn checkpoints(&mut self) {
        self.hears_checkpoints = true;
    }

    /// Subscriptions of the connection ask for more than each event as it comes: from now on
    /// [`Handler::wish`] is asked.
    pub fn options(&mut self) {
        self.has_options = true;
    }

    /// Queues messages of [`Handler::collapsed`], ahead of other replies.
    pub fn notices(&mut self, notices: Vec<(Bytes, u64)>) {
        self.notices.extend(notices);
    }

    /// Events are held back from now on, or no longer.
    pub fn pause(&mut self, is_paused: bool) {
        self.pause = Some(is_paused);
    }

    /// Closes the connection after what was sent before.
    pub fn close(&mut self, close: Close) {
        self.close.get_or_insert(close);
    }
}

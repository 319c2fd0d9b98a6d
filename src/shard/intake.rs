//! What comes in beside what it says: how much of it, how fast, and how much of it is left lying
//! around incomplete.

use std::cmp::Reverse;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::protocol::CloseCode;
use crate::session::rate::{Bucket, Buckets, Ledger, Rate};
use crate::shard::connection::Ending;
use crate::shard::handler::{Close, Handler};
use crate::shard::stats::Excess;
use crate::shard::turn::Shard;

/// The memory of incomplete messages ran out.
const NO_ROOM: Close = Close {
    code: CloseCode::TryAgainLater,
    reason: "too many messages are incomplete at the moment; send yours in one piece",
};

/// The close of who sent too much.
pub(super) const fn flooding(excess: Excess) -> Close {
    let reason = match excess {
        Excess::Messages => "too many messages, although they were refused",
        Excess::Frames => "too many frames",
        Excess::Bytes => "too many bytes",
    };
    Close { code: CloseCode::RateLimited, reason }
}

/// What a connection has taken of its rates.
#[derive(Debug, Default)]
struct Taken {
    frames: Bucket,
    bytes: Bucket,
}

impl Buckets for Taken {
    fn are_full(&self, now: Instant) -> bool {
        self.frames.is_full(now) && self.bytes.is_full(now)
    }
}

/// What a shard remembers of what came in.
#[derive(Debug, Default)]
pub(super) struct Received {
    taken: Ledger<Taken>,
    /// Bytes of incomplete messages: what there was when it was last looked at, and all that
    /// came since. What was completed meanwhile is in it, so that it is never too small.
    partial_bytes: usize,
}

impl Received {
    pub fn take_frames(&mut self, key: Key, count: u32, rate: Rate, now: Instant) -> bool {
        count == 0
            || rate.is_unlimited()
            || self.taken.of(key, now).frames.take_many(now, rate, count)
    }

    fn take_bytes(&mut self, key: Key, count: usize, rate: Rate, now: Instant) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        rate.is_unlimited() || self.taken.of(key, now).bytes.take_many(now, rate, count)
    }

    /// A connection's incomplete message has grown.
    pub fn note_partial(&mut self, bytes: usize) {
        self.partial_bytes = self.partial_bytes.saturating_add(bytes);
    }

    /// At least what all incomplete messages take.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes received bytes from their connection's rate; false if they are beyond it. Those of a
    /// handshake have limits of their own, and those behind the end are thrown away.
    pub(super) fn admit_bytes(&mut self, key: Key, count: usize, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.session.is_handshaking()
            || connection.session.is_ended()
            || self.received.take_bytes(key, count, self.settings.intake.bytes, now)
    }

    /// Ends a connection that sent too much. What it goes on sending is not even looked at.
    pub(super) fn close_flooding(&mut self, key: Key, excess: Excess, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_open && connection.ending == Ending::No {
            self.links.stats.rate_limited_closed[excess.index()].add(1);
        }
        self.fail(key, flooding(excess), now);
    }

    /// Keeps the memory of incomplete messages within its budget: the largest go first.
    pub(super) fn keep_partial_messages_within_budget(&mut self, now: Instant) {
        let budget = self.settings.intake.partial_bytes_max;
        if self.received.partial_bytes <= budget {
            return;
        }
        let mut stored: Vec<(usize, Key)> = Vec::new();
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get(key) else { continue };
            let bytes = connection.session.stored_bytes();
            if bytes > 0 {
                stored.push((bytes, key));
            }
        }
        stored.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        let mut bytes: usize = stored.iter().map(|&(bytes, _)| bytes).sum();
        // Some room below the budget, so that this does not happen in every turn.
        let enough = budget / 8 * 7;
        for (freed, key) in stored {
            if bytes <= enough {
                break;
            }
            bytes -= freed;
            self.links.stats.partial_messages_closed.add(1);
            self.fail(key, NO_ROOM, now);
        }
        self.received.partial_bytes = bytes;
    }
}

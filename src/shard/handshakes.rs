//! How many handshakes a shard works on at a time, and how many it begins in a second: whoever
//! is connected is served while others come back all at once.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::base::clock::Instant;
use crate::base::slab::Key;
use crate::io::Driver;
use crate::session::rate::{Bucket, Rate};
use crate::shard::connection::Counted;
use crate::shard::handler::Handler;
use crate::shard::turn::Shard;

/// The limits of one shard.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// Between the accept and the end of the handshake.
    pub pending_max: usize,
    /// From one accept to the next.
    pub rate: Rate,
}

impl HandshakeLimits {
    pub const UNLIMITED: Self = Self { pending_max: usize::MAX, rate: Rate::UNLIMITED };
}

/// What a shard has taken of its limits.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    begun: Bucket,
    /// Tells clients apart when they are to come back.
    spread: RandomState,
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Takes a place for a handshake.
    ///
    /// # Errors
    /// The reason, counted, where the shard has too many to do.
    pub(super) fn claim_handshake(&mut self, now: Instant) -> Result<(), &'static str> {
        let HandshakeLimits { pending_max, rate } = self.settings.handshakes;
        let stats = &self.links.stats;
        if stats.handshakes_pending.get() >= pending_max as u64 {
            stats.handshakes_too_many.add(1);
            return Err("too many connections are being opened; try again later");
        }
        if !self.handshakes.begun.take(now, rate) {
            stats.handshakes_too_fast.add(1);
            return Err("connections are opened too fast; try again later");
        }
        Ok(())
    }

    /// The connection's handshake is over, or will never be.
    pub(super) fn release_handshake(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.counted == Counted::Shaking {
            connection.counted = Counted::LetIn;
            self.links.stats.handshakes_pending.sub(1);
        }
    }

    /// When a refused client is to come back: on average after `secs`, and not all at once.
    pub(super) fn spread_secs(&self, key: Key, secs: u32) -> u32 {
        let choices = u64::from(secs.max(1)) * 2 - 1;
        let choice = self.handshakes.spread.hash_one((key.slot, key.generation)) % choices;
        1 + u32::try_from(choice).unwrap_or(0)
    }
}

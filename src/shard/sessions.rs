//! The ids of sessions. They follow from the place and the time of an accept and from a secret,
//! so that none has to be kept, and lead back to the place.

use std::hash::{BuildHasher, RandomState};

use uuid::{Builder, Uuid};

use crate::base::clock::{Clock, Instant};
use crate::base::slab::Key;

/// UUIDs of version 7 (RFC 9562 section 5.7). What is random in them is a keyed hash of the
/// connection's place, generation and time; the last four bytes are the slot, hidden by a hash
/// of the rest.
#[derive(Debug)]
pub(super) struct SessionIds {
    /// Of this shard and this run only. Nobody can guess an id who does not know it.
    secret: RandomState,
    started_at: Instant,
    /// The wall clock at `started_at`.
    started_millis: u64,
}

const SLOT_BYTES: usize = 4;

impl SessionIds {
    pub fn new(clock: &Clock) -> Self {
        let started_millis = u64::try_from(clock.wall().as_millisecond()).unwrap_or(0);
        Self { secret: RandomState::new(), started_at: clock.now(), started_millis }
    }

    /// The id of the connection that has been in this place since then.
    pub fn of(&self, key: Key, accepted_at: Instant) -> Uuid {
        let elapsed = accepted_at.since(self.started_at).as_millis() as u64;
        let random = self.secret.hash_one((key.slot, key.generation, accepted_at)).to_be_bytes();
        let mut tail = [0; 10];
        tail[..6].copy_from_slice(&random[..6]);
        let millis = self.started_millis.saturating_add(elapsed);
        let mut bytes = Builder::from_unix_timestamp_millis(millis, &tail).into_uuid().into_bytes();
        let hidden = key.slot ^ self.mask(bytes);
        bytes[16 - SLOT_BYTES..].copy_from_slice(&hidden.to_be_bytes());
        Uuid::from_bytes(bytes)
    }

    /// Where the connection is if it is one of this shard's: whether it is, its id there tells.
    pub fn slot(&self, id: Uuid) -> u32 {
        let bytes = id.into_bytes();
        let [.., a, b, c, d] = bytes;
        u32::from_be_bytes([a, b, c, d]) ^ self.mask(bytes)
    }

    fn mask(&self, id: [u8; 16]) -> u32 {
        self.secret.hash_one(&id[..16 - SLOT_BYTES]) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_leads_back_to_its_slot_and_no_two_connections_share_one() {
        let clock = Clock::manual();
        clock.advance(Duration::from_secs(7));
        let ids = SessionIds::new(&clock);
        let mut seen = HashSet::new();
        for slot in [0, 1, 2, 77, 99_999, u32::MAX] {
            for generation in 0..50 {
                for nanos in [0, 1, 1_000_000] {
                    let at = clock.now() + Duration::from_nanos(nanos);
                    let key = Key { slot, generation };
                    let id = ids.of(key, at);
                    assert_eq!((id, ids.slot(id)), (ids.of(key, at), slot));
                    assert_eq!(id.get_version_num(), 7);
                    assert!(seen.insert(id));
                }
            }
        }
    }

    #[test]
    fn ids_are_in_the_order_of_time_and_those_of_two_shards_differ() {
        let clock = Clock::manual();
        let (ids, others) = (SessionIds::new(&clock), SessionIds::new(&clock));
        let key = Key { slot: 3, generation: 1 };
        let mut before = Uuid::nil();
        for millis in 1..500 {
            let at = Instant::from_nanos(millis * 1_000_000);
            let id = ids.of(key, at);
            assert!(id > before);
            assert_ne!(others.of(key, at), id);
            before = id;
        }
    }
}

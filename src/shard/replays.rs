//! Subscriptions that catch up with the past before they go live.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde_json::Value;

use crate::event::Priorities;
use crate::filter::Filter;
use crate::protocol::client::From;
use crate::protocol::encoded::Encoded;
use crate::protocol::server::{NotResumed, ServerMessage};
use crate::protocol::{Encoding, Options, client};
use crate::queue::Lane;
use crate::shard::catch_up::{Behind, Item, Step};
use crate::shard::inspect::Standing;
use crate::stream::Cursor;
use crate::stream::history::History;

/// What a shard's connections have to catch up with, by their slots.
#[derive(Debug, Default)]
pub(super) struct Replays {
    by_slot: HashMap<u32, Vec<Replay>, RandomState>,
}

/// A subscription on its way from the past to the present. It is in no index yet.
#[derive(Debug)]
pub(super) struct Replay {
    pub subscription_id: Box<str>,
    pub filter: Filter,
    /// For when it is live.
    pub options: Options,
    cursor: Cursor,
    /// Of the `subscribe` that began it.
    r#ref: Option<Value>,
}

/// In which lane the past goes: it is never shed, and keeps its order.
const LANE: Lane = Lane::Critical;

impl Replays {
    pub fn start(
        &mut self,
        slot: u32,
        subscription_id: &str,
        filter: Filter,
        options: Options,
        (position, r#ref): (u64, Option<Value>),
    ) {
        let cursor = Cursor::new(position, Priorities::ALL);
        let replay =
            Replay { subscription_id: subscription_id.into(), filter, options, cursor, r#ref };
        self.by_slot.entry(slot).or_default().push(replay);
    }

    /// Whether a subscription catches up with the past.
    pub fn has(&self, slot: u32, subscription_id: &str) -> bool {
        let replays = self.by_slot.get(&slot).map(Vec::as_slice).unwrap_or_default();
        replays.iter().any(|replay| *replay.subscription_id == *subscription_id)
    }

    /// Goes on with another filter from where it is; gives the filter back where the subscription
    /// does not catch up with anything.
    pub fn replace(
        &mut self,
        slot: u32,
        subscription_id: &str,
        filter: Filter,
        options: Options,
    ) -> Result<(), Filter> {
        let replays = self.by_slot.get_mut(&slot).map(Vec::as_mut_slice).unwrap_or_default();
        match replays.iter_mut().find(|replay| *replay.subscription_id == *subscription_id) {
            Some(replay) => {
                (replay.filter, replay.options) = (filter, options);
                Ok(())
            }
            None => Err(filter),
        }
    }

    /// Subscriptions of a connection that are not live.
    pub fn count(&self, slot: u32) -> usize {
        self.by_slot.get(&slot).map_or(0, Vec::len)
    }

    /// Takes a subscription out; false if it does not catch up with anything.
    pub fn remove(&mut self, slot: u32, subscription_id: &str) -> bool {
        let Some(replays) = self.by_slot.get_mut(&slot) else { return false };
        let before = replays.len();
        replays.retain(|replay| *replay.subscription_id != *subscription_id);
        let is_removed = replays.len() < before;
        if replays.is_empty() {
            self.by_slot.remove(&slot);
        }
        is_removed
    }

    /// Forgets a connection; gives the number of its subscriptions that were not live.
    pub fn forget(&mut self, slot: u32) -> usize {
        self.by_slot.remove(&slot).map_or(0, |replays| replays.len())
    }

    /// The position that all of a connection's subscriptions have reached; none if all are live.
    pub fn position(&self, slot: u32) -> Option<u64> {
        self.by_slot.get(&slot)?.iter().map(|replay| replay.cursor.position()).min()
    }

    /// The subscriptions of a connection that are not live.
    pub fn standings(&self, slot: u32) -> impl Iterator<Item = Standing> {
        self.by_slot.get(&slot).into_iter().flatten().map(|replay| Standing {
            subscription_id: replay.subscription_id.clone(),
            filter: Arc::new(replay.filter.clone()),
            position: Some(replay.cursor.position()),
        })
    }

    /// Takes one step for a connection. Subscriptions that have met the present are handed to
    /// `go_live`.
    pub fn advance(
        &mut self,
        slot: u32,
        step: &mut Step,
        encoding: Encoding,
        history: &dyn History,
        mut go_live: impl FnMut(Replay),
    ) -> Behind {
        let Some(replays) = self.by_slot.get_mut(&slot) else { return Behind::No };
        // What was given before has not gone yet: more would only wait, where it cannot be shed.
        if step.idle_down_to.is_none_or(|lane| lane < LANE) {
            return Behind::Yes;
        }
        let mut index = 0;
        while index < replays.len() {
            let Replay { filter, cursor, .. } = &mut replays[index];
            let items = &mut step.items;
            let wants = &mut |event: &Encoded| filter.matches(&event.event.attributes());
            let take =
                &mut |event: &Arc<Encoded>| items.push((LANE, Item::Event(Arc::clone(event))));
            let advanced =
                cursor.advance(history, step.complete_to, encoding, &mut step.room, wants, take);
            match advanced {
                Err(_) => return Behind::Lost,
                // A position beyond what has come here waits until that has.
                Ok(true) if step.is_live_edge && cursor.position() == step.complete_to => {
                    let replay = replays.swap_remove(index);
                    let caught_up = replay.caught_up(step.complete_to, encoding);
                    step.items.push((LANE, Item::Notice(caught_up)));
                    go_live(replay);
                }
                Ok(true) => index += 1,
                Ok(false) => return Behind::Yes,
            }
        }
        if !replays.is_empty() {
            return Behind::Yes;
        }
        self.by_slot.remove(&slot);
        Behind::No
    }
}

impl Replay {
    fn caught_up(&self, seq: u64, encoding: Encoding) -> Bytes {
        let subscription_id = &self.subscription_id;
        ServerMessage::CaughtUp { subscription_id, seq, r#ref: self.r#ref.as_ref() }
            .encode(encoding)
    }
}

/// Where a subscription is to begin, or why that cannot be.
pub(super) fn position(
    from: &client::From,
    epoch: &str,
    history: &dyn History,
) -> Result<u64, NotResumed> {
    let bounds = history.bounds();
    let not = |reason| NotResumed { reason, first_seq: bounds.first };
    let position = match from {
        From::Position { epoch: its, .. } if its != epoch => return Err(not("epoch_changed")),
        // It cannot have come from this sequence, whatever is said.
        From::Position { after, .. } if *after > bounds.newest => {
            return Err(not("epoch_changed"));
        }
        From::Position { after, .. } => *after,
        From::Time(since) => {
            let position = history.position_at(*since);
            // Where all that is held is younger, older events may have been younger as well.
            if position < bounds.first && bounds.first > 1 {
                return Err(not("history_expired"));
            }
            position
        }
    };
    if bounds.reach_back_to(position) { Ok(position) } else { Err(not("history_expired")) }
}

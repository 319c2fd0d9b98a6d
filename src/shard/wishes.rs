//! What subscriptions asked for beside their filters, and what that makes of each event.

use std::cmp::Reverse;
use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::base::clock::Instant;
use crate::base::limits::COLLAPSE_WINDOWS_MAX;
use crate::event::Priority;
use crate::filter::{Index, SubscriptionKey};
use crate::protocol::encoded::Encoded;
use crate::protocol::server::ServerMessage;
use crate::protocol::{Batch, CollapsedCounts, Encoding, Options};
use crate::shard::collapse::{Admitted, Told, Windows};
use crate::shard::subscriptions::Subscriptions;

/// How a connection wants one event that it is about to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// It may be replaced by a newer one of its incident.
    pub conflates: bool,
    /// It may wait for others.
    pub batch: Option<Batch>,
    /// It was counted instead; that is told then.
    pub collapsed: Option<Instant>,
}

/// Of connections with subscriptions that ask for anything, by their slots.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    by_slot: HashMap<u32, Vec<Wisher>, RandomState>,
}

/// A live subscription that asks for something.
#[derive(Debug)]
struct Wisher {
    key: SubscriptionKey,
    subscription_id: Box<str>,
    options: Options,
    windows: Windows,
}

impl Wishes {
    /// A live subscription asks for this from now on. Gives what it still had to tell.
    pub fn set(
        &mut self,
        slot: u32,
        subscription_id: &str,
        key: SubscriptionKey,
        options: Options,
        encoding: Encoding,
    ) -> Vec<(Bytes, u64)> {
        let untold = self.remove(slot, key, encoding);
        if !options.is_none() {
            let subscription_id = subscription_id.into();
            let wisher = Wisher { key, subscription_id, options, windows: Windows::default() };
            self.by_slot.entry(slot).or_default().push(wisher);
        }
        untold
    }

    /// A live subscription has ended. Gives what it still had to tell.
    pub fn remove(
        &mut self,
        slot: u32,
        key: SubscriptionKey,
        encoding: Encoding,
    ) -> Vec<(Bytes, u64)> {
        let Some(wishers) = self.by_slot.get_mut(&slot) else { return Vec::new() };
        let Some(place) = wishers.iter().position(|wisher| wisher.key == key) else {
            return Vec::new();
        };
        let mut wisher = wishers.swap_remove(place);
        if wishers.is_empty() {
            self.by_slot.remove(&slot);
        }
        std::iter::from_fn(|| wisher.tell(None, encoding)).collect()
    }

    pub fn forget(&mut self, slot: u32) {
        self.by_slot.remove(&slot);
    }

    /// What a connection that matched the event wants of it: only what all of its live
    /// subscriptions that match ask for.
    pub fn of(
        &mut self,
        slot: u32,
        event: &Encoded,
        now: Instant,
        live: &Subscriptions,
        index: &Index,
    ) -> Wish {
        let Some(wishers) = self.by_slot.get_mut(&slot) else { return Wish::default() };
        let attributes = event.event.attributes();
        let is_matching = |key| index.filter(key).matches(&attributes);
        let is_only = live.len() == 1;
        let is_plain = |key| !wishers.iter().any(|wisher| wisher.key == key);
        if !is_only && live.keys().any(|key| is_plain(key) && is_matching(key)) {
            return Wish::default();
        }
        let open = wishers.iter().map(|wisher| wisher.windows.len()).sum::<usize>();
        let matching = || wishers.iter().filter(|wisher| is_only || is_matching(wisher.key));
        let (mut all, mut is_any) = (Options { conflate: true, ..Options::default() }, false);
        for wisher in matching() {
            let Options { conflate, batch, .. } = wisher.options;
            all.conflate &= conflate;
            all.batch = if is_any { sooner(all.batch, batch) } else { batch };
            is_any = true;
        }
        if !is_any {
            return Wish::default();
        }
        let mut wish = Wish { conflates: all.conflate, batch: all.batch, collapsed: None };
        let all_collapse = matching().all(|wisher| wisher.options.collapse.is_some());
        if all_collapse && event.event.priority != Priority::Critical {
            let deciding = wishers
                .iter_mut()
                .filter(|wisher| is_only || is_matching(wisher.key))
                .max_by(|one, other| one.lenience().cmp(&other.lenience()));
            wish.collapsed = deciding.and_then(|wisher| wisher.collapse(event, now, open));
        }
        wish
    }

    /// The next message of what was collapsed and is due, or, where no time is given, of anything
    /// that was; with the first event that it tells of.
    pub fn tell(
        &mut self,
        slot: u32,
        now: Option<Instant>,
        encoding: Encoding,
    ) -> Option<(Bytes, u64)> {
        self.by_slot.get_mut(&slot)?.iter_mut().find_map(|wisher| wisher.tell(now, encoding))
    }

    /// When the next such message is due.
    pub fn next_due(&self, slot: u32) -> Option<Instant> {
        self.by_slot.get(&slot)?.iter().filter_map(|wisher| wisher.windows.next_due()).min()
    }

    /// The first event that was collapsed and not told.
    pub fn first_hidden(&self, slot: u32) -> Option<u64> {
        self.by_slot.get(&slot)?.iter().filter_map(|wisher| wisher.windows.first_hidden()).min()
    }
}

impl Wisher {
    /// Of several that collapse an event, the one that lets most through decides: the greatest.
    fn lenience(&self) -> (u32, Reverse<u32>, Reverse<&str>) {
        let collapse = self.options.collapse;
        let (after, window) = collapse.map_or((0, 0), |it| (it.after, it.window_ms));
        (after, Reverse(window), Reverse(&self.subscription_id))
    }

    /// Counts an event, where enough were sent; gives when that is told.
    fn collapse(&mut self, event: &Encoded, now: Instant, open: usize) -> Option<Instant> {
        let (storm, collapse) = (event.storm()?, self.options.collapse?);
        let place = (event.event.seq, event.event.priority);
        let has_room = open < COLLAPSE_WINDOWS_MAX;
        match self.windows.admit(storm, place, collapse, now, has_room) {
            Admitted::Hidden { due } => Some(due),
            Admitted::Sent | Admitted::Unnoticed => None,
        }
    }

    fn tell(&mut self, now: Option<Instant>, encoding: Encoding) -> Option<(Bytes, u64)> {
        let Told { storm, first_seq, last_seq, counts } = self.windows.take_told(now)?;
        let CollapsedCounts { low, normal, high } = counts;
        let collapsed = ServerMessage::Collapsed {
            subscription_id: &self.subscription_id,
            event_type: storm.event_type,
            fingerprint: &storm.fingerprint,
            count: low + normal + high,
            counts,
            first_seq,
            last_seq,
        };
        Some((collapsed.encode(encoding), first_seq))
    }
}

/// Whichever of the two asks for less waiting, in either respect; none where one asks for none.
fn sooner(one: Option<Batch>, other: Option<Batch>) -> Option<Batch> {
    let (one, other) = (one?, other?);
    Some(Batch {
        max_events: one.max_events.min(other.max_events),
        max_delay_ms: one.max_delay_ms.min(other.max_delay_ms),
    })
}

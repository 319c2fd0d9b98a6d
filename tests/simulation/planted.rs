//! Faults in the handler and on the wire, to prove that the checks bite.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::event::{Priorities, Priority};
use alarmcast::filter::Parked;
use alarmcast::protocol::{Batch, Encoded, Encoding};
use alarmcast::queue::Loss;
use alarmcast::shard::{Behind, Close, Handler, LossReason, Message, Replies, Step, Wish};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use uuid::Uuid;

use crate::client::Received;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The filters miss a connection.
    FilterMisses,
    /// The filters find a connection that did not ask.
    FilterFinds,
    /// The subscriptions of who has left go on in its slot.
    SlotRemembers,
    /// A matched event is not queued.
    DeliveryLost,
    /// A matched event is queued twice.
    DeliveryTwice,
    /// An event is queued for a connection that did not ask.
    DeliveryStray,
    /// Critical events are shed, and nobody is told.
    CriticalShed,
    /// A notice tells of one event more than was shed.
    LossOverstated,
    /// A notice tells of one event less than was shed.
    LossUnderstated,
    /// A notice does not go out.
    LossUntold,
    /// Two events of a priority change places.
    Reordered,
    /// An event of a priority goes out in the name of another.
    WrongLane,
    /// An event that a plain subscription wants goes into a batch.
    BatchUnasked,
    /// An event that a plain subscription wants is counted instead of sent.
    CollapseUnasked,
    /// An event that a plain subscription wants makes way for a newer one.
    ConflateUnasked,
    /// What was collapsed is not told.
    CollapseUntold,
}

/// One fault, or none, now and then, and how often it was planted.
#[derive(Clone, Debug, Default)]
pub struct Planting(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// Occasions so far; a fault is planted on every few of them.
    occasions: u64,
    planted: u64,
}

/// A handler with a fault. The outer one is between the model and the shard, the inner one
/// between the model and the stream's handler.
pub struct Planted<H> {
    inner: H,
    planting: Planting,
    is_outer: bool,
    open: BTreeSet<u32>,
    parked: BTreeSet<u32>,
}

impl Planting {
    pub fn of(fault: Fault) -> Self {
        Self(Rc::new(RefCell::new(State { fault: Some(fault), ..State::default() })))
    }

    pub fn count(&self) -> u64 {
        self.0.borrow().planted
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.borrow().fault == Some(fault)
    }

    /// Whether this fault is to be planted now.
    fn strikes(&self, fault: Fault) -> bool {
        const EVERY: u64 = 5;
        let state = &mut *self.0.borrow_mut();
        if state.fault != Some(fault) {
            return false;
        }
        state.occasions += 1;
        let strikes = state.occasions.is_multiple_of(EVERY);
        state.planted += u64::from(strikes);
        strikes
    }

    /// As [`Self::strikes`], on every occasion.
    fn strikes_often(&self, fault: Fault) -> bool {
        let state = &mut *self.0.borrow_mut();
        let strikes = state.fault == Some(fault);
        state.planted += u64::from(strikes);
        strikes
    }

    /// Plants what happens between the server and a client, in the frames from `first` on.
    pub fn on_the_wire(&self, received: &mut [Received], first: usize) {
        let priority = |received: &Received| match received {
            Received::Text(it) | Received::Packed(it) if it["type"] == "event" => {
                Some(it["priority"].clone())
            }
            _ => None,
        };
        for place in first + 1..received.len() {
            let (before, after) = (priority(&received[place - 1]), priority(&received[place]));
            if before.is_some() && before == after && self.strikes(Fault::Reordered) {
                received.swap(place - 1, place);
            }
        }
        for frame in &mut received[first..] {
            if priority(frame).is_some()
                && self.strikes(Fault::WrongLane)
                && let Received::Text(it) | Received::Packed(it) = frame
            {
                let is_low = it["priority"] == "low";
                it["priority"] = if is_low { "normal" } else { "low" }.into();
            }
        }
    }
}

impl<H> Planted<H> {
    pub fn outer(inner: H, planting: Planting) -> Self {
        let (open, parked) = Default::default();
        Self { inner, planting, is_outer: true, open, parked }
    }

    pub fn inner(inner: H, planting: Planting) -> Self {
        Self { is_outer: false, ..Self::outer(inner, planting) }
    }

    fn strikes(&self, outer: Fault, inner: Fault) -> bool {
        self.planting.strikes(if self.is_outer { outer } else { inner })
    }
}

impl<H: Handler> Handler for Planted<H> {
    fn admit(&mut self, key: Key, request: &Request) -> Result<Option<&'static str>, Refusal> {
        self.inner.admit(key, request)
    }

    fn opened(&mut self, key: Key, session_id: Uuid, now: Instant, replies: &mut Replies) {
        self.open.insert(key.slot);
        self.inner.opened(key, session_id, now, replies);
    }

    fn message(&mut self, key: Key, message: Message<'_>, now: Instant, replies: &mut Replies) {
        self.inner.message(key, message, now, replies);
    }

    fn closed(&mut self, key: Key) {
        self.open.remove(&key.slot);
        self.parked.remove(&key.slot);
        if self.is_outer || !self.planting.strikes(Fault::SlotRemembers) {
            self.inner.closed(key);
        }
    }

    fn closing(&mut self, key: Key, close: &Close, after: Option<u64>) -> Option<Bytes> {
        self.inner.closing(key, close, after)
    }

    fn seen(&mut self, seq: u64) {
        self.inner.seen(seq);
    }

    fn hears_losses(&self, slot: u32) -> bool {
        self.inner.hears_losses(slot)
    }

    fn kept(&self, slot: u32) -> Priorities {
        self.inner.kept(slot)
    }

    fn overflow(&mut self, slot: u32, priority: Priority, seq: u64) -> bool {
        self.inner.overflow(slot, priority, seq)
    }

    fn is_overflowing(&self, slot: u32, priority: Priority) -> bool {
        self.inner.is_overflowing(slot, priority)
    }

    fn catch_up(&mut self, key: Key, step: &mut Step) -> Behind {
        self.inner.catch_up(key, step)
    }

    fn checkpoint(&mut self, key: Key, now: Instant, is_heartbeat: bool) -> Option<Bytes> {
        self.inner.checkpoint(key, now, is_heartbeat)
    }

    fn dropped(&mut self, key: Key, loss: &Loss, reason: LossReason) -> Option<Bytes> {
        if !self.is_outer {
            return self.inner.dropped(key, loss, reason);
        }
        let planting = &self.planting;
        let understates = planting.is(Fault::LossUnderstated) && total(loss) > 1;
        if planting.strikes(Fault::LossUntold) {
            None
        } else if planting.strikes(Fault::LossOverstated) {
            self.inner.dropped(key, &told_as(loss, total(loss) + 1), reason)
        } else if understates && planting.strikes_often(Fault::LossUnderstated) {
            // Often, because few worlds shed more than one event for a notice.
            self.inner.dropped(key, &told_as(loss, total(loss) - 1), reason)
        } else {
            self.inner.dropped(key, loss, reason)
        }
    }

    fn wish(&mut self, slot: u32, event: &Encoded, now: Instant) -> Wish {
        let mut wish = self.inner.wish(slot, event, now);
        if !self.is_outer {
            return wish;
        }
        let planting = &self.planting;
        if wish.batch.is_none() && planting.strikes(Fault::BatchUnasked) {
            wish.batch = Some(Batch { max_events: 5, max_delay_ms: 50 });
        }
        let is_critical = event.event.priority == Priority::Critical;
        if !is_critical && wish.collapsed.is_none() && planting.strikes(Fault::CollapseUnasked) {
            wish.collapsed = Some(now);
        }
        // Often, because an update of the same incident must wait.
        wish.conflates |= planting.strikes_often(Fault::ConflateUnasked);
        wish
    }

    fn collapsed(&mut self, key: Key, now: Option<Instant>) -> Option<(Bytes, u64)> {
        let told = self.inner.collapsed(key, now)?;
        // Always, because there are few in a run.
        if self.is_outer && self.planting.strikes_often(Fault::CollapseUntold) {
            return self.inner.collapsed(key, now);
        }
        Some(told)
    }

    fn collapsed_due(&self, slot: u32) -> Option<Instant> {
        self.inner.collapsed_due(slot)
    }

    fn matching(&mut self, event: &Arc<Encoded>, slots: &mut Vec<u32>) {
        // The slots of earlier events may still be there.
        let first = slots.len();
        self.inner.matching(event, slots);
        let is_critical = event.event.priority == Priority::Critical;
        if slots.len() > first {
            if self.strikes(Fault::DeliveryLost, Fault::FilterMisses) {
                slots.pop();
            } else if self.is_outer && self.planting.strikes(Fault::DeliveryTwice) {
                slots.extend_from_within(slots.len() - 1..);
            } else if is_critical && self.is_outer && self.planting.strikes(Fault::CriticalShed) {
                slots.pop();
            }
        }
        let is_stray = |slot: &&_| !slots[first..].contains(slot) && !self.parked.contains(slot);
        let stray = self.open.iter().find(is_stray);
        if let Some(&stray) = stray
            && self.strikes(Fault::DeliveryStray, Fault::FilterFinds)
        {
            slots.push(stray);
        }
    }

    fn park(&mut self, slot: u32) -> Option<u32> {
        let group = self.inner.park(slot)?;
        self.parked.insert(slot);
        Some(group)
    }

    fn unpark(&mut self, slot: u32) {
        self.parked.remove(&slot);
        self.inner.unpark(slot);
    }

    fn parked(&self) -> &[Parked] {
        self.inner.parked()
    }

    fn encoding(&self, slot: u32) -> Encoding {
        self.inner.encoding(slot)
    }

    fn interested(&self) -> usize {
        self.inner.interested()
    }
}

fn total(loss: &Loss) -> u64 {
    Priority::ALL.into_iter().map(|priority| loss.count(priority)).sum()
}

/// A loss of the same range and of so many events.
fn told_as(loss: &Loss, total: u64) -> Loss {
    let (from, to) = loss.range().expect("something was lost");
    let each = Priority::ALL
        .into_iter()
        .flat_map(|priority| (0..loss.count(priority)).map(move |_| priority));
    let mut told = Loss::default();
    for (number, priority) in each.chain([Priority::Low]).take(total as usize).enumerate() {
        told.add(if number == 0 { from } else { to }, priority);
    }
    told
}

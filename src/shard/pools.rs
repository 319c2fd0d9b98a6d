//! What sends and backlogs are made of, kept to be used again: in the steady state a delivery
//! allocates nothing.

use std::rc::Rc;
use std::time::Duration;

use crate::base::buffers::SendBuf;
use crate::base::clock::Instant;
use crate::queue::{Arena, Backlog, FrameId, Lane, Outbox, Waiting};
use crate::shard::batching::{Batching, Run};
use crate::shard::connection::InFlight;

/// Several frames in one piece, for every connection whose pending set is just these.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: Rc<Vec<u8>>,
    /// One reference to each is held here, for all connections.
    ids: Vec<FrameId>,
    /// Those that are in batches.
    runs: Vec<Run>,
}

impl Gathered {
    pub fn ids(&self) -> &[FrameId] {
        &self.ids
    }

    /// How many batches there are, and how many events in them.
    pub fn batches(&self) -> (usize, usize) {
        (self.runs.len(), self.runs.iter().map(|run| run.count).sum())
    }
}

/// What was used before. As many are kept as are in use at once in the busiest moment of a
/// while; see [`Pools::trim`].
#[derive(Debug, Default)]
pub(super) struct Pools {
    gathered: Spares<Rc<Gathered>>,
    outboxes: Spares<Box<Outbox>>,
    /// What was gathered last: the next connection often wants the same.
    last: Option<Rc<Gathered>>,
    taken: Vec<FrameId>,
    runs: Vec<Run>,
    /// Bytes of all that is gathered and not sent.
    bytes: usize,
    /// Room in what is kept of gathered buffers.
    spare_bytes: usize,
    trimmed_at: Instant,
}

/// Room in gathered buffers that are kept; more is given back to the allocator.
const SPARE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What was not needed for so long is given back.
const TRIM_PERIOD: Duration = Duration::from_secs(60);

/// What one send may take.
#[derive(Debug)]
pub(super) struct SendPlan {
    pub floor: Lane,
    pub bytes_max: usize,
    /// The same once nothing urgent is left to take.
    pub others_bytes_max: usize,
    /// For connections that may want several events in one message.
    pub batching: Option<Batching>,
}

/// Things to be used again.
#[derive(Debug)]
struct Spares<T> {
    all: Vec<T>,
    /// So many were never needed since the last trim.
    unneeded: usize,
}

impl Pools {
    /// Bytes that were gathered and are still with the kernel.
    pub fn gathered_bytes(&self) -> usize {
        self.bytes
    }

    pub fn outbox(&mut self) -> Box<Outbox> {
        self.outboxes.take().unwrap_or_default()
    }

    pub fn put_outbox(&mut self, outbox: Box<Outbox>) {
        debug_assert!(outbox.is_empty() && outbox.loss.is_empty());
        self.outboxes.all.push(outbox);
    }

    /// Gives up one use of what was gathered; the last one frees the frames.
    pub fn put_gathered(&mut self, mut gathered: Rc<Gathered>, arena: &mut Arena) {
        let Some(unique) = Rc::get_mut(&mut gathered) else { return };
        unique.ids.drain(..).for_each(|id| arena.release(id));
        unique.runs.clear();
        self.bytes -= unique.bytes.len();
        // A send that was given up may still hold the bytes: then they are not used again.
        if let Some(bytes) = Rc::get_mut(&mut unique.bytes)
            && self.spare_bytes + bytes.capacity() <= SPARE_BYTES_MAX
        {
            bytes.clear();
            self.spare_bytes += bytes.capacity();
            self.gathered.all.push(gathered);
        }
    }

    pub fn forget_last(&mut self, arena: &mut Arena) {
        if let Some(last) = self.last.take() {
            self.put_gathered(last, arena);
        }
    }

    /// From time to time, gives back what a burst left behind: all that was not needed once in
    /// the meantime.
    pub fn trim(&mut self, now: Instant) {
        if now.since(self.trimmed_at) < TRIM_PERIOD {
            return;
        }
        self.trimmed_at = now;
        self.outboxes.trim();
        self.gathered.trim();
        let room = |gathered: &Rc<Gathered>| gathered.bytes.capacity();
        self.spare_bytes = self.gathered.all.iter().map(room).sum();
    }

    fn spare_gathered(&mut self) -> Rc<Gathered> {
        let Some(gathered) = self.gathered.take() else { return Rc::default() };
        self.spare_bytes -= gathered.bytes.capacity();
        gathered
    }
}

impl<T> Spares<T> {
    fn take(&mut self) -> Option<T> {
        let spare = self.all.pop();
        self.unneeded = self.unneeded.min(self.all.len());
        spare
    }

    fn trim(&mut self) {
        self.all.truncate(self.all.len() - self.unneeded);
        self.all.shrink_to(self.all.len() * 2);
        self.unneeded = self.all.len();
    }
}

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self { all: Vec::new(), unneeded: 0 }
    }
}

/// Takes frames off the backlog, as `plan` says, highest lane first: one alone is shared,
/// several become one contiguous buffer, which is shared as well where the connection before
/// this one got the same frames. Nothing where no frame waits.
pub(super) fn gather(
    backlog: &mut Backlog,
    arena: &mut Arena,
    pools: &mut Pools,
    plan: &SendPlan,
) -> Option<(SendBuf, InFlight)> {
    if let Some(Waiting { id, .. }) = backlog.take_one() {
        return Some(alone(id, arena));
    }
    let sent = gather_from(backlog.outbox_mut()?, arena, pools, plan);
    if let Some(outbox) = backlog.take_empty() {
        pools.put_outbox(outbox);
    }
    sent
}

fn alone(id: FrameId, arena: &Arena) -> (SendBuf, InFlight) {
    (SendBuf::shared(Rc::clone(&arena.get(id).bytes)), InFlight::One(id))
}

fn gather_from(
    outbox: &mut Outbox,
    arena: &mut Arena,
    pools: &mut Pools,
    plan: &SendPlan,
) -> Option<(SendBuf, InFlight)> {
    let (mut taken, mut runs) = (std::mem::take(&mut pools.taken), std::mem::take(&mut pools.runs));
    taken.clear();
    runs.clear();
    let bytes = match &plan.batching {
        None => take_frames(outbox, plan, &mut taken),
        Some(batching) => batching.take_frames(outbox, plan, &mut taken, &mut runs),
    };
    let sent = match taken[..] {
        [] => None,
        [only] => Some(alone(only, arena)),
        _ => Some(gather_many(&taken, &runs, bytes, arena, pools, plan)),
    };
    (pools.taken, pools.runs) = (taken, runs);
    sent
}

impl SendPlan {
    /// Whether a send that has taken so many bytes may take so many more.
    pub fn has_room(&self, outbox: &Outbox, taken: usize, next: usize) -> bool {
        if taken == 0 {
            return true;
        }
        let bytes_max = if outbox.is_urgent() { self.bytes_max } else { self.others_bytes_max };
        taken + next <= bytes_max
    }
}

/// Gives how many bytes they have together.
fn take_frames(outbox: &mut Outbox, plan: &SendPlan, taken: &mut Vec<FrameId>) -> usize {
    let mut bytes = 0;
    while let Some(next) = outbox.next_bytes(plan.floor)
        && plan.has_room(outbox, bytes, next)
        && let Some(id) = outbox.pop_down_to(plan.floor)
    {
        bytes += next;
        taken.push(id);
    }
    bytes
}

fn gather_many(
    taken: &[FrameId],
    runs: &[Run],
    bytes: usize,
    arena: &mut Arena,
    pools: &mut Pools,
    plan: &SendPlan,
) -> (SendBuf, InFlight) {
    let is_same = |last: &&Rc<Gathered>| last.ids == taken && last.runs == runs;
    if let Some(last) = pools.last.as_ref().filter(is_same) {
        taken.iter().for_each(|id| arena.release(*id));
        let (buf, gathered) = (SendBuf::gathered(Rc::clone(&last.bytes)), Rc::clone(last));
        return (buf, InFlight::Many(gathered));
    }
    pools.forget_last(arena);
    let mut gathered = pools.spare_gathered();
    let unique = Rc::get_mut(&mut gathered).expect("what is pooled is used by nobody");
    let buffer = Rc::get_mut(&mut unique.bytes).expect("what is pooled is used by nobody");
    buffer.reserve(bytes);
    match &plan.batching {
        None => taken.iter().for_each(|id| buffer.extend_from_slice(&arena.get(*id).bytes)),
        Some(batching) => batching.write(buffer, taken, runs, arena),
    }
    unique.ids.extend_from_slice(taken);
    unique.runs.extend_from_slice(runs);
    pools.bytes += buffer.len();
    pools.last = Some(Rc::clone(&gathered));
    (SendBuf::gathered(Rc::clone(&gathered.bytes)), InFlight::Many(gathered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_left_behind_is_given_back_and_what_is_in_use_is_kept() {
        let at = |periods: u32| Instant::default() + TRIM_PERIOD * periods;
        let mut pools = Pools::default();
        let use_at_once = |pools: &mut Pools, count: usize| {
            let outboxes: Vec<_> = (0..count).map(|_| pools.outbox()).collect();
            outboxes.into_iter().for_each(|outbox| pools.put_outbox(outbox));
        };
        use_at_once(&mut pools, 1_000);
        pools.trim(at(1));
        use_at_once(&mut pools, 10);
        pools.trim(at(1));
        assert_eq!(pools.outboxes.all.len(), 1_000, "not yet");
        pools.trim(at(2));
        assert_eq!(pools.outboxes.all.len(), 10);
        use_at_once(&mut pools, 7);
        pools.trim(at(3));
        assert_eq!(pools.outboxes.all.len(), 7);
        pools.trim(at(4));
        assert_eq!(pools.outboxes.all.capacity(), 0);
    }
}

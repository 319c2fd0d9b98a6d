//! The bounded queue before the hub, and the publishers' way into it. Full means that
//! a publisher is told to wait; nothing that was taken is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use thiserror::Error;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::base::clock::{Clock, Instant};
use crate::base::lifecycle::{Lifecycle, Stage};
use crate::event::Publish;
use crate::hub::receipt::{Answer, PublishReceipt};
use crate::hub::stats::HubStats;
use crate::io::Waker;
use crate::protocol::PublishItemError;

/// What became of one published event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub message_id: Uuid,
    pub seq: u64,
    /// The idempotency key was known: nothing new was published, these are the first ones.
    pub duplicate: bool,
}

/// Why events were not taken. None of the batch was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    #[error("{waiting} events wait already, the limit; try again in {} s", retry_after.as_secs())]
    Full { waiting: usize, retry_after: Duration },
    #[error("a batch of {events} events is more than the queue of {capacity} can ever take")]
    TooLarge { events: usize, capacity: usize },
    #[error("the server is shutting down; publish to another one, or try again in {} s", retry_after.as_secs())]
    Draining { retry_after: Duration },
    #[error("the server is not running")]
    Stopped,
    /// What a publisher over HTTP would be refused for: lengths, sizes, nesting.
    #[error("this event cannot be published: {0}")]
    Invalid(PublishItemError),
}

/// The events of one request that go the same way, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub events: Vec<Publish>,
    pub accepted_at: Instant,
    pub answer: oneshot::Sender<Answer>,
}

/// One of the two ways to the hub.
#[derive(Debug)]
struct Way {
    /// A batch holds one event at least, so that as many batches as events suffice.
    batches: ArrayQueue<Batch>,
    /// Events that wait or are about to.
    events: AtomicUsize,
    events_max: usize,
}

impl Way {
    fn new(events_max: usize) -> Self {
        Self { batches: ArrayQueue::new(events_max), events: AtomicUsize::new(0), events_max }
    }

    /// Reserves room for `count` events; the bound is strict.
    fn reserve(&self, count: usize) -> Result<(), usize> {
        let reserved = self.events.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting + count <= self.events_max).then_some(waiting + count)
        });
        reserved.map(drop)
    }

    fn give_back(&self, count: usize) {
        self.events.fetch_sub(count, Ordering::AcqRel);
    }

    /// Queues events for which room was reserved; nothing where there are none.
    fn push(
        &self,
        events: Vec<Publish>,
        accepted_at: Instant,
    ) -> Option<oneshot::Receiver<Answer>> {
        if events.is_empty() {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let pushed = self.batches.push(Batch { events, accepted_at, answer });
        assert!(pushed.is_ok(), "room was reserved");
        Some(answered)
    }

    fn pop(&self) -> Option<Batch> {
        let batch = self.batches.pop()?;
        self.give_back(batch.events.len());
        Some(batch)
    }
}

/// The queue itself: critical and high events have a way of their own, so that they wait
/// behind nothing else, and find room when the others do not.
#[derive(Debug)]
pub(super) struct Ingest {
    urgent: Way,
    others: Way,
}

impl Ingest {
    pub fn new(events_max: usize) -> Self {
        Self { urgent: Way::new(events_max), others: Way::new(events_max) }
    }

    pub fn pop_urgent(&self) -> Option<Batch> {
        self.urgent.pop()
    }

    pub fn pop_other(&self) -> Option<Batch> {
        self.others.pop()
    }

    pub fn has_urgent(&self) -> bool {
        !self.urgent.batches.is_empty()
    }

    pub fn has_batches(&self) -> bool {
        self.has_urgent() || !self.others.batches.is_empty()
    }

    /// Whether nothing waits, and nothing is about to be pushed for which there is room already:
    /// a request that goes both ways is here with both parts or with none.
    pub fn is_settled(&self) -> bool {
        [&self.urgent, &self.others].iter().all(|way| way.events.load(Ordering::Acquire) == 0)
    }

    /// Throws away what waits; who published it is told so by the end of its channel.
    pub fn clear(&self) {
        while self.pop_urgent().or_else(|| self.pop_other()).is_some() {}
    }

    fn reserve(&self, urgent: usize, others: usize) -> Result<(), usize> {
        self.urgent.reserve(urgent)?;
        self.others.reserve(others).inspect_err(|_| self.urgent.give_back(urgent))
    }
}

/// Where events enter the stream; cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Publisher {
    pub(super) ingest: Arc<Ingest>,
    pub(super) stats: Arc<HubStats>,
    pub(super) lifecycle: Lifecycle,
    pub(super) clock: Clock,
    pub(super) waker: Waker,
}

impl Publisher {
    /// Hands events to the hub: all of them or none. The receipt tells when they were sequenced.
    /// Critical and high ones keep their order, and so do the others; between the two it may
    /// change while others wait.
    ///
    /// # Errors
    /// The queue has no room, the batch never fits, or the server is ending.
    pub fn publish(&self, events: Vec<Publish>) -> Result<PublishReceipt, PublishError> {
        const RETRY_AFTER: Duration = Duration::from_secs(1);
        const DRAIN_RETRY_AFTER: Duration = Duration::from_secs(5);
        if self.lifecycle.stage() >= Stage::Draining {
            self.stats.count_draining(events.len());
            return Err(PublishError::Draining { retry_after: DRAIN_RETRY_AFTER });
        }
        let capacity = self.ingest.others.events_max;
        if events.len() > capacity {
            return Err(PublishError::TooLarge { events: events.len(), capacity });
        }
        let is_urgent = |event: &Publish| event.payload.priority().is_urgent();
        let ways: Vec<bool> = events.iter().map(is_urgent).collect();
        let (urgent, others): (Vec<_>, Vec<_>) = events.into_iter().partition(is_urgent);
        if let Err(waiting) = self.ingest.reserve(urgent.len(), others.len()) {
            self.stats.count_full(ways.len());
            return Err(PublishError::Full { waiting, retry_after: RETRY_AFTER });
        }
        let accepted_at = self.clock.now();
        let urgent = self.ingest.urgent.push(urgent, accepted_at);
        let others = self.ingest.others.push(others, accepted_at);
        self.waker.wake();
        fence(Ordering::SeqCst);
        if self.lifecycle.stage() == Stage::Stopped {
            // The hub may have looked for the last time before the push: nobody would
            // answer. Dropping the batches does.
            self.ingest.clear();
        }
        Ok(PublishReceipt::new(urgent, others, ways))
    }

    /// Events that wait for the hub on the fuller of the two ways, and how many can on each.
    pub fn usage(&self) -> (usize, usize) {
        let Ingest { urgent, others } = &*self.ingest;
        let waiting = |way: &Way| way.events.load(Ordering::Acquire);
        (waiting(urgent).max(waiting(others)), others.events_max)
    }

    pub fn stats(&self) -> &HubStats {
        &self.stats
    }
}

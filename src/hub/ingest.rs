//! The bounded queue before the hub, and the publishers' way into it. Full means that
//! a publisher is told to wait; nothing that was taken is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use thiserror::Error;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::base::clock::{Clock, Instant};
use crate::base::lifecycle::{Lifecycle, Stage};
use crate::event::Publish;
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

/// Events of one request.
#[derive(Debug)]
pub(super) struct Batch {
    /// Rises from one batch to the next of one publisher.
    pub stamp: u64,
    pub events: Vec<Publish>,
    /// So many of them are urgent. With these a batch goes the urgent way, others in it or not.
    pub urgent: usize,
    pub accepted_at: Instant,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// One of the two ways to the hub.
#[derive(Debug)]
struct Way {
    /// A batch holds one event at least, so that as many batches as events suffice.
    queue: ArrayQueue<Batch>,
    /// Events that wait or are about to.
    events: AtomicUsize,
    events_max: usize,
}

impl Way {
    fn new(events_max: usize) -> Self {
        Self { queue: ArrayQueue::new(events_max), events: AtomicUsize::new(0), events_max }
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

    fn push(&self, batch: Batch) {
        let pushed = self.queue.push(batch);
        assert!(pushed.is_ok(), "room was reserved");
    }
}

/// The queue itself: critical and high events have a way of their own, so that they wait
/// behind nothing else, and find room when the others do not.
#[derive(Debug)]
pub(super) struct Ingest {
    urgent: Way,
    others: Way,
    stamps: AtomicU64,
}

impl Ingest {
    pub fn new(events_max: usize) -> Self {
        let (urgent, others) = (Way::new(events_max), Way::new(events_max));
        Self { urgent, others, stamps: AtomicU64::new(0) }
    }

    /// The next batch with urgent events. Others in it take up room until [`Ingest::free`].
    pub fn pop_urgent(&self) -> Option<Batch> {
        let batch = self.urgent.queue.pop()?;
        self.urgent.give_back(batch.urgent);
        Some(batch)
    }

    /// The next batch without urgent events.
    pub fn pop_other(&self) -> Option<Batch> {
        let batch = self.others.queue.pop()?;
        self.free(batch.events.len());
        Some(batch)
    }

    /// Gives up the room of so many events that are not urgent.
    pub fn free(&self, events: usize) {
        self.others.give_back(events);
    }

    pub fn has_urgent(&self) -> bool {
        !self.urgent.queue.is_empty()
    }

    pub fn has_any(&self) -> bool {
        self.has_urgent() || !self.others.queue.is_empty()
    }

    /// Whether nothing waits, and nothing is about to be pushed for which there is room already.
    pub fn is_settled(&self) -> bool {
        let reserved = |events: &AtomicUsize| events.load(Ordering::Acquire);
        reserved(&self.urgent.events) == 0 && reserved(&self.others.events) == 0
    }

    /// Throws away what waits; who published it is told so by the end of its channel.
    pub fn clear(&self) {
        while self.pop_urgent().is_some() || self.pop_other().is_some() {}
    }

    fn reserve(&self, urgent: usize, others: usize) -> Result<(), usize> {
        self.urgent.reserve(urgent)?;
        self.others.reserve(others).inspect_err(|_| self.urgent.give_back(urgent))
    }

    fn stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed)
    }

    /// Queues a batch for which room was reserved.
    fn push(&self, batch: Batch) {
        if batch.urgent > 0 { self.urgent.push(batch) } else { self.others.push(batch) }
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
    /// Critical and high ones keep their order, and so do the others; between the two it
    /// changes where others wait, or the batch is large.
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
        let (answer, answered) = oneshot::channel();
        if events.is_empty() {
            let _ = answer.send(Ok(Vec::new()));
            return Ok(PublishReceipt { answered });
        }
        let is_urgent = |event: &&Publish| event.payload.priority().is_urgent();
        let urgent = events.iter().filter(is_urgent).count();
        if let Err(waiting) = self.ingest.reserve(urgent, events.len() - urgent) {
            self.stats.count_full(events.len());
            return Err(PublishError::Full { waiting, retry_after: RETRY_AFTER });
        }
        let (stamp, accepted_at) = (self.ingest.stamp(), self.clock.now());
        self.ingest.push(Batch { stamp, events, urgent, accepted_at, answer });
        self.waker.wake();
        fence(Ordering::SeqCst);
        if self.lifecycle.stage() == Stage::Stopped {
            // The hub may have looked for the last time before the push: nobody would
            // answer. Dropping the batches does.
            self.ingest.clear();
        }
        Ok(PublishReceipt { answered })
    }

    /// Events that wait for the hub on the fuller of the two ways, and how many can on each.
    pub fn usage(&self) -> (usize, usize) {
        let Ingest { urgent, others, .. } = &*self.ingest;
        let waiting = |events: &AtomicUsize| events.load(Ordering::Acquire);
        (waiting(&urgent.events).max(waiting(&others.events)), others.events_max)
    }

    pub fn stats(&self) -> &HubStats {
        &self.stats
    }
}

/// Answered once the hub has sequenced the batch and handed it to every shard.
#[derive(Debug)]
#[must_use = "an event counts as published only when the receipt says so"]
pub struct PublishReceipt {
    answered: oneshot::Receiver<Result<Vec<Published>, PublishError>>,
}

impl PublishReceipt {
    /// Blocks the thread until the answer is there. Not for use in async code.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] if the server ended first.
    pub fn wait(self) -> Result<Vec<Published>, PublishError> {
        self.answered.blocking_recv().unwrap_or(Err(PublishError::Stopped))
    }
}

impl Future for PublishReceipt {
    type Output = Result<Vec<Published>, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answered).poll(cx);
        answer.map(|answer| answer.unwrap_or(Err(PublishError::Stopped)))
    }
}

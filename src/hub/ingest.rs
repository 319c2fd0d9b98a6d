//! The bounded queue before the hub, and the publisher's side of it. Full means that
//! the publisher is told to wait; nothing that was taken is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
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

/// Events of one request, which stay together and in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub events: Vec<Publish>,
    pub accepted_at: Instant,
    pub answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// The queue itself.
#[derive(Debug)]
pub(super) struct Ingest {
    /// A batch holds one event at least, so that as many batches as events suffice.
    batches: ArrayQueue<Batch>,
    events: AtomicUsize,
    events_max: usize,
}

impl Ingest {
    pub fn new(events_max: usize) -> Self {
        Self { batches: ArrayQueue::new(events_max), events: AtomicUsize::new(0), events_max }
    }

    pub fn pop(&self) -> Option<Batch> {
        let batch = self.batches.pop()?;
        self.events.fetch_sub(batch.events.len(), Ordering::AcqRel);
        Some(batch)
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Reserves room for `count` events; the bound is strict.
    fn reserve(&self, count: usize) -> Result<(), usize> {
        let reserved = self.events.fetch_update(Ordering::AcqRel, Ordering::Acquire, |waiting| {
            (waiting + count <= self.events_max).then_some(waiting + count)
        });
        reserved.map(drop)
    }

    fn push(&self, batch: Batch) {
        let pushed = self.batches.push(batch);
        assert!(pushed.is_ok(), "room was reserved");
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
    /// Hands a batch to the hub: all of it or none, in order. The receipt tells when it
    /// was sequenced.
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
        let (answer, answered) = oneshot::channel();
        if events.is_empty() {
            let _ = answer.send(Ok(Vec::new()));
            return Ok(PublishReceipt { answered });
        }
        let capacity = self.ingest.events_max;
        if events.len() > capacity {
            return Err(PublishError::TooLarge { events: events.len(), capacity });
        }
        if let Err(waiting) = self.ingest.reserve(events.len()) {
            self.stats.count_full(events.len());
            return Err(PublishError::Full { waiting, retry_after: RETRY_AFTER });
        }
        self.ingest.push(Batch { events, accepted_at: self.clock.now(), answer });
        self.waker.wake();
        fence(Ordering::SeqCst);
        if self.lifecycle.stage() == Stage::Stopped {
            // The hub may have looked for the last time before the push: nobody would
            // answer. Dropping the batch does.
            while self.ingest.pop().is_some() {}
        }
        Ok(PublishReceipt { answered })
    }

    /// Events that wait for the hub, and how many can.
    pub fn usage(&self) -> (usize, usize) {
        (self.ingest.events.load(Ordering::Acquire), self.ingest.events_max)
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

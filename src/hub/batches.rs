//! Batches under way: urgent events are taken out of them where others have to wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::clock::Instant;
use crate::event::Publish;
use crate::hub::ingest::{Batch, Ingest, PublishError, Published};

/// The batches that the hub has taken and not answered.
#[derive(Default)]
pub(super) struct Batches {
    /// The one whose turn it is.
    pub started: Option<Started>,
    /// The one whose urgent events go ahead.
    pub urgent: Option<Started>,
    /// Those whose urgent events went ahead, by their stamps.
    set_aside: BTreeMap<u64, Started>,
    /// The next one without urgent events.
    next: Option<Batch>,
}

/// A batch of which some events may be sequenced.
pub(super) struct Started {
    stamp: u64,
    events: VecDeque<(usize, Publish)>,
    /// Of these.
    urgent: usize,
    accepted_at: Instant,
    published: Vec<Option<Published>>,
    answer: oneshot::Sender<Result<Vec<Published>, PublishError>>,
}

/// One event of a batch.
pub(super) struct Next {
    /// Its place in the batch.
    pub index: usize,
    pub publish: Publish,
    pub accepted_at: Instant,
}

impl Batches {
    pub fn is_empty(&self) -> bool {
        let is_any_started = self.started.is_some() || self.urgent.is_some();
        !is_any_started && self.set_aside.is_empty() && self.next.is_none()
    }

    /// Whether a batch with urgent events may keep its order: nothing that came before it waits,
    /// and it is not so large that they would wait for the rest of it.
    pub fn may_start_whole(&mut self, batch: &Batch, ingest: &Ingest) -> bool {
        const EVENTS_MAX: usize = 128;
        self.started.is_none()
            && self.set_aside.is_empty()
            && batch.events.len() <= EVENTS_MAX
            && self.look_ahead(ingest).is_none_or(|next| batch.stamp < next.stamp)
    }

    /// Keeps what is left of a batch until its turn comes.
    fn set_aside(&mut self, batch: Started) {
        self.set_aside.insert(batch.stamp, batch);
    }

    /// What was urgent in a batch has gone ahead.
    pub fn end_urgent(&mut self) {
        match self.urgent.take() {
            Some(batch) if batch.is_over() => batch.finish(),
            Some(batch) => self.set_aside(batch),
            None => {}
        }
    }

    /// Starts the batch whose turn it is, if there is any.
    pub fn start_next(&mut self, ingest: &Ingest) {
        debug_assert!(self.started.is_none());
        let waiting = self.set_aside.first_key_value().map(|(stamp, _)| *stamp);
        let next = self.look_ahead(ingest).map(|next| next.stamp);
        // A publisher's batches go in their order, whichever way they came.
        self.started = match (waiting, next) {
            (Some(waiting), next) if next.is_none_or(|next| waiting < next) => {
                self.set_aside.remove(&waiting).inspect(|batch| ingest.free(batch.events.len()))
            }
            _ => self.next.take().map(Started::new),
        };
    }

    fn look_ahead(&mut self, ingest: &Ingest) -> Option<&Batch> {
        if self.next.is_none() {
            self.next = ingest.pop_other();
        }
        self.next.as_ref()
    }
}

impl Started {
    pub fn new(batch: Batch) -> Self {
        let Batch { stamp, events, urgent, accepted_at, answer } = batch;
        let published = vec![None; events.len()];
        let events = events.into_iter().enumerate().collect();
        Self { stamp, events, urgent, accepted_at, published, answer }
    }

    /// The next event, of whatever kind.
    pub fn next(&mut self) -> Option<Next> {
        let (index, publish) = self.events.pop_front()?;
        Some(self.placed(index, publish))
    }

    /// The next urgent event.
    pub fn next_urgent(&mut self) -> Option<Next> {
        if self.urgent == 0 {
            return None;
        }
        let is_urgent = |(_, event): &(usize, Publish)| event.payload.priority().is_urgent();
        let place = self.events.iter().position(is_urgent)?;
        let (index, publish) = self.events.remove(place)?;
        Some(self.placed(index, publish))
    }

    pub fn has_urgent(&self) -> bool {
        self.urgent > 0
    }

    fn placed(&mut self, index: usize, publish: Publish) -> Next {
        self.urgent -= usize::from(publish.payload.priority().is_urgent());
        // So that of one batch, too, it can be told what was said later.
        let accepted_at = self.accepted_at + Duration::from_nanos(index as u64);
        Next { index, publish, accepted_at }
    }

    pub fn is_over(&self) -> bool {
        self.events.is_empty()
    }

    pub fn note(&mut self, index: usize, published: Published) {
        self.published[index] = Some(published);
    }

    /// Answers the publisher once all events have their places.
    pub fn finish(self) {
        let published: Option<Vec<_>> = self.published.into_iter().collect();
        // A publisher that did not wait for its answer is no error.
        let _ = self.answer.send(published.ok_or(PublishError::Stopped));
    }
}

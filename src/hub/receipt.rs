//! The publisher's side of an answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::hub::ingest::{PublishError, Published};

/// What the hub answers to one batch.
pub(super) type Answer = Result<Vec<Published>, PublishError>;

/// Answered once the hub has sequenced the events and handed them to every shard.
#[derive(Debug)]
#[must_use = "an event counts as published only when the receipt says so"]
pub struct PublishReceipt {
    /// Of the batch with the urgent events, and of the one with the others.
    batches: [Awaited; 2],
    /// Of each event, in the publisher's order.
    is_urgent: Vec<bool>,
}

/// One batch's answer.
#[derive(Debug)]
enum Awaited {
    NotYet(oneshot::Receiver<Answer>),
    Come(std::vec::IntoIter<Published>),
}

impl PublishReceipt {
    /// Of batches with so many events of either kind; none is answered without.
    pub(super) fn new(
        urgent: Option<oneshot::Receiver<Answer>>,
        others: Option<oneshot::Receiver<Answer>>,
        is_urgent: Vec<bool>,
    ) -> Self {
        let awaited = |answered: Option<_>| match answered {
            Some(answered) => Awaited::NotYet(answered),
            None => Awaited::Come(Vec::new().into_iter()),
        };
        Self { batches: [awaited(urgent), awaited(others)], is_urgent }
    }

    /// Blocks the thread until the answer is there: one for each event, in the publisher's order.
    /// Not for use in async code.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] if the server ended first.
    pub fn wait(self) -> Result<Vec<Published>, PublishError> {
        let Self { batches: [urgent, others], is_urgent } = self;
        merge(urgent.wait()?, others.wait()?, &is_urgent)
    }
}

impl Awaited {
    fn wait(self) -> Result<std::vec::IntoIter<Published>, PublishError> {
        match self {
            Self::NotYet(answered) => {
                let answer = answered.blocking_recv().unwrap_or(Err(PublishError::Stopped));
                answer.map(Vec::into_iter)
            }
            Self::Come(published) => Ok(published),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        let Self::NotYet(answered) = self else { return Poll::Ready(Ok(())) };
        Pin::new(answered).poll(cx).map(|answer| {
            let published = answer.unwrap_or(Err(PublishError::Stopped))?;
            *self = Self::Come(published.into_iter());
            Ok(())
        })
    }

    /// What has come; once.
    fn take(&mut self) -> std::vec::IntoIter<Published> {
        match std::mem::replace(self, Self::Come(Vec::new().into_iter())) {
            Self::Come(published) => published,
            Self::NotYet(_) => Vec::new().into_iter(),
        }
    }
}

/// Both answers in the publisher's order.
fn merge(
    mut urgent: impl Iterator<Item = Published>,
    mut others: impl Iterator<Item = Published>,
    is_urgent: &[bool],
) -> Answer {
    let next = |is_urgent: &bool| if *is_urgent { urgent.next() } else { others.next() };
    is_urgent.iter().map(next).collect::<Option<_>>().ok_or(PublishError::Stopped)
}

impl Future for PublishReceipt {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { batches: [urgent, others], is_urgent } = &mut *self;
        for batch in [&mut *urgent, &mut *others] {
            match batch.poll(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(merge(urgent.take(), others.take(), is_urgent))
    }
}

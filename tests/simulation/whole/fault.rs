//! Faults between hub, history and shards, to prove that the checks bite.

use std::ops::ControlFlow;
use std::sync::Arc;

use alarmcast::event::Priorities;
use alarmcast::protocol::Encoded;
use alarmcast::stream::history::{Bounds, Expired, History, Window};

use crate::resuming;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A shard is told that it has all events although the hub holds one for it.
    CompleteTooEarly,
    /// A shard is told of one event more than there is.
    CompleteBeyond,
    /// A reader of history is not shown the last event before it ends.
    ReadOneShort,
    /// A reader of history that stops is told one place too many.
    ReadOneTooFar,
    /// Between the server and a client.
    Wire(resuming::Fault),
}

/// The past, as a faulty hub would have it.
#[derive(Debug)]
pub struct Past {
    pub window: Arc<Window>,
    pub fault: Option<Fault>,
}

impl History for Past {
    fn bounds(&self) -> Bounds {
        self.window.bounds()
    }

    fn position_at(&self, since: jiff::Timestamp) -> u64 {
        self.window.position_at(since)
    }

    fn read(
        &self,
        position: u64,
        priorities: Priorities,
        visit: &mut dyn FnMut(&Arc<Encoded>) -> ControlFlow<()>,
    ) -> Result<u64, Expired> {
        let newest = self.window.bounds().newest;
        let is_short = self.fault == Some(Fault::ReadOneShort);
        let mut has_stopped = false;
        let reached = self.window.read(position, priorities, &mut |event| {
            if is_short && event.event.seq == newest {
                return ControlFlow::Continue(());
            }
            let flow = visit(event);
            has_stopped |= flow.is_break();
            flow
        })?;
        let is_too_far = has_stopped && self.fault == Some(Fault::ReadOneTooFar);
        Ok(reached + u64::from(is_too_far))
    }
}

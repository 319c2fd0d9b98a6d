//! What the control plane asks of a shard, answered between events and flush.

use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::base::clock::Instant;
use crate::io::Driver;
use crate::protocol::CloseCode;
use crate::shard::handler::{Close, Handler};
use crate::shard::inspect::Detail;
use crate::shard::listing::{Page, Query};
use crate::shard::stats::Histograms;
use crate::shard::turn::Shard;

/// A request to one shard, answered in its own time. One that is dropped unanswered was too much
/// for the shard, or came after its end.
#[derive(Debug)]
pub enum Request {
    /// Copies of the shard's histograms.
    Histograms(oneshot::Sender<Box<Histograms>>),
    /// Once the events before it are delivered: tell every client and close its connection, one
    /// after the other over `window`, and end the shard at `deadline` at the latest.
    Drain { window: Duration, deadline: Instant },
    /// A page of the shard's connections.
    Connections(Box<Query>, oneshot::Sender<Page>),
    /// One connection by its session id; none where it is not of this shard.
    Connection(Uuid, oneshot::Sender<Option<Box<Detail>>>),
    /// To end one connection; none where it is not of this shard.
    Close(Uuid, Dismissal, oneshot::Sender<Option<Dismissed>>),
}

/// With which words an operator ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// It is ended: 1008.
    Close,
    /// It does well to connect again: 4001.
    Reconnect,
    /// It is to stay away: 4503.
    Refuse,
}

/// What became of an operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissed {
    /// `closing` and the close frame are queued; the client is to resume after this event.
    Told { after: u64 },
    /// The handshake is answered by 503.
    Refused,
    /// It was closing already.
    Before,
}

impl Dismissal {
    pub const fn close(self) -> Close {
        match self {
            Self::Close => Close {
                code: CloseCode::PolicyViolation,
                reason: "an operator closed this connection",
            },
            Self::Reconnect => {
                Close { code: CloseCode::Drain, reason: "an operator asks to connect again" }
            }
            Self::Refuse => {
                Close { code: CloseCode::Forbidden, reason: "an operator refused this client" }
            }
        }
    }
}

impl<D: Driver, H: Handler> Shard<D, H> {
    /// Answers what waits, and goes on with what takes several turns.
    pub(super) fn answer_requests(&mut self, now: Instant) {
        // Whoever asked may be gone: then nobody hears the answer.
        while let Some(request) = self.links.inbox.pop_request() {
            match request {
                // The copies are large.
                Request::Histograms(answer) if answer.is_closed() => {}
                Request::Histograms(answer) => {
                    let _ = answer.send(Box::new(self.histograms.clone()));
                }
                Request::Drain { window, deadline } => self.drain.request(window, deadline),
                Request::Connections(query, answer) => self.walks.begin(*query, answer),
                Request::Connection(session_id, answer) => {
                    let _ = answer.send(self.detail(session_id, now).map(Box::new));
                }
                Request::Close(session_id, dismissal, answer) => {
                    let _ = answer.send(self.dismiss(session_id, dismissal, now));
                }
            }
        }
        self.walk(now);
    }

    /// Ends a connection because an operator wants it to.
    fn dismiss(&mut self, id: Uuid, dismissal: Dismissal, now: Instant) -> Option<Dismissed> {
        let key = self.find(id)?;
        self.settle(key.slot, now);
        let connection = self.connections.get(key)?;
        if connection.session.is_handshaking() {
            self.links.stats.dismissed.add(1);
            self.refuse(key, "an operator closed this connection; try again later", now);
            return Some(Dismissed::Refused);
        }
        let Some(position) = self.position(key) else { return Some(Dismissed::Before) };
        self.links.stats.dismissed.add(1);
        if connection.is_congested {
            // What waits would stand between the client and the news for as long as it likes.
            let after = self.first_unsent(key).map(|first| first - 1);
            self.discard_backlog(key);
            self.close_at(key, dismissal.close(), after, now);
            return Some(Dismissed::Told { after: position });
        }
        // All that waits goes out ahead of the last words.
        let behind = self.handler.behind(key.slot);
        self.close(key, dismissal.close(), now);
        Some(Dismissed::Told { after: behind.into_iter().fold(self.seen_to, u64::min) })
    }
}

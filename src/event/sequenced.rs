use uuid::Uuid;

use super::{Attributes, Context, Payload, Priority};
use crate::base::clock::Instant;

/// A request to publish, checked and not yet sequenced.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub payload: Payload,
    /// What the publisher says about the event beside the payload.
    pub context: Option<Context>,
    /// A second request with the same key is answered like the first and not published.
    pub idempotency_key: Option<String>,
}

impl From<Payload> for Publish {
    fn from(payload: Payload) -> Self {
        Self { payload, context: None, idempotency_key: None }
    }
}

/// A sequenced, immutable event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The place in the stream: +1 each, never reused within an epoch.
    pub seq: u64,
    pub message_id: Uuid,
    /// When it was sequenced, for people.
    pub timestamp: jiff::Timestamp,
    pub priority: Priority,
    pub payload: Payload,
    /// The payload's own, the publisher's and the remembered context in one.
    pub context: Context,
    /// When it was accepted, for latencies.
    pub accepted_at: Instant,
}

impl Event {
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            event_type: self.payload.event_type(),
            priority: self.priority,
            severity: self.context.severity,
            state: self.context.state,
            source: self.context.source.as_deref(),
            title: self.payload.title(),
            affected_resources: self.context.affected_resources.as_deref(),
            labels: self.context.labels.as_ref(),
            incident_id: self.payload.incident_id(),
        }
    }
}

use uuid::Uuid;

use super::contexts::Contexts;
use super::idempotency::{Idempotency, Outcome};
use crate::base::clock::Instant;
use crate::base::limits::{
    IDEMPOTENCY_KEYS_MAX, INCIDENT_CONTEXTS_BYTES_MAX, INCIDENT_CONTEXTS_MAX,
};
use crate::event::{Context, Event, Payload, Publish};

/// What a publish became.
#[derive(Clone, Debug)]
pub enum Sequenced {
    New(Box<Event>),
    /// The idempotency key was seen before: this is what that request became.
    Duplicate {
        message_id: Uuid,
        seq: u64,
    },
}

/// Gives each publish its place in the stream. Its sequence is dense from 1.
#[derive(Debug)]
pub struct Sequencer {
    epoch: String,
    newest: u64,
    idempotency: Idempotency,
    contexts: Contexts,
}

impl Sequencer {
    /// An empty stream that `epoch` identifies.
    pub fn new(epoch: String) -> Self {
        Self {
            epoch,
            newest: 0,
            idempotency: Idempotency::new(IDEMPOTENCY_KEYS_MAX),
            contexts: Contexts::new(INCIDENT_CONTEXTS_MAX, INCIDENT_CONTEXTS_BYTES_MAX),
        }
    }

    /// The identity of this sequence.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The seq given last; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// `message_id` becomes the event's, unless the publish is a duplicate.
    pub fn sequence(
        &mut self,
        publish: Publish,
        now: Instant,
        wall: jiff::Timestamp,
        message_id: Uuid,
    ) -> Sequenced {
        let Publish { payload, context, idempotency_key } = publish;
        if let Some(Outcome { message_id, seq }) =
            idempotency_key.as_deref().and_then(|key| self.idempotency.find(key))
        {
            return Sequenced::Duplicate { message_id, seq };
        }
        self.newest += 1;
        let seq = self.newest;
        if let Some(key) = idempotency_key {
            self.idempotency.remember(&key, Outcome { message_id, seq });
        }
        let context = self.merged_context(&payload, context.unwrap_or_default(), now);
        Sequenced::New(Box::new(Event {
            seq,
            message_id,
            timestamp: wall,
            priority: payload.priority(),
            payload,
            context,
            accepted_at: now,
        }))
    }

    /// The payload's own context wins, then the publisher's, then the
    /// incident's remembered one; what is learnt about the incident is kept.
    fn merged_context(&mut self, payload: &Payload, attached: Context, now: Instant) -> Context {
        let said = payload.own_context().or(attached);
        let Some(incident) = payload.incident_id() else { return said };
        // An alert has severity, source and labels of its own, not its incident's.
        let is_alert = matches!(payload, Payload::AlertReceived(_) | Payload::AlertConverted(_));
        let is_news = !is_alert && !said.is_empty();
        let (merged, known, said_at) = match self.contexts.find(incident) {
            None => (said.clone(), said, now),
            Some((remembered, said_at)) => {
                let merged = said.clone().or_cloned(remembered);
                // Where an urgent event overtook this one, what that one said is newer.
                let is_overtaken = said_at > now;
                let known = if is_overtaken { remembered.clone().or(said) } else { merged.clone() };
                (merged, known, said_at.max(now))
            }
        };
        if is_news {
            self.contexts.remember(incident, known, said_at);
        }
        merged
    }
}

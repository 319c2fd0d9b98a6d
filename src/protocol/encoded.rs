use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::{Encoding, frame};
use crate::base::limits::FINGERPRINT_BYTES_MAX;
use crate::event::{Event, EventType, Payload, Priority};

/// An event and its wire bytes, built on first need and shared by every
/// connection: nothing of a connection is in them.
#[derive(Debug)]
pub struct Encoded {
    pub event: Event,
    frames: [OnceLock<Bytes>; Encoding::ALL.len()],
    /// What it may be collapsed by; made on first need.
    storm: OnceLock<Option<Storm>>,
}

/// What events must have in common to be collapsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storm {
    pub event_type: EventType,
    pub fingerprint: Arc<str>,
}

impl Encoded {
    pub fn new(event: Event) -> Self {
        Self { event, frames: Default::default(), storm: OnceLock::new() }
    }

    /// The complete frame, header included.
    pub fn frame(&self, encoding: Encoding) -> &Bytes {
        self.frames[encoding.index()].get_or_init(|| encode(&self.event, encoding))
    }

    /// Size of the largest frame that was built so far.
    pub fn encoded_bytes(&self) -> usize {
        self.frames.iter().filter_map(OnceLock::get).map(Bytes::len).max().unwrap_or(0)
    }

    /// What it may be collapsed by; nothing where it has no fingerprint, or one that is too long.
    pub fn storm(&self) -> Option<&Storm> {
        let storm = self.storm.get_or_init(|| {
            let fingerprint = self.event.payload.fingerprint();
            let fingerprint = fingerprint.filter(|text| text.len() <= FINGERPRINT_BYTES_MAX)?;
            let event_type = self.event.payload.event_type();
            Some(Storm { event_type, fingerprint: fingerprint.into() })
        });
        storm.as_ref()
    }

    /// The message without the frame's header.
    pub fn message(&self, encoding: Encoding) -> &[u8] {
        frame::payload(self.frame(encoding))
    }
}

impl From<Event> for Encoded {
    fn from(event: Event) -> Self {
        Self::new(event)
    }
}

/// The hub makes it, every shard reads it.
const _: fn() = || {
    fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Encoded>();
};

#[derive(Serialize)]
struct EventMessage<'a> {
    r#type: &'static str,
    message_id: Uuid,
    timestamp: jiff::Timestamp,
    seq: u64,
    priority: Priority,
    event: &'a Payload,
}

fn encode(event: &Event, encoding: Encoding) -> Bytes {
    /// Most events fit; a larger one grows its buffer.
    const USUAL_BYTES: usize = 1536;
    let message = EventMessage {
        r#type: "event",
        message_id: event.message_id,
        timestamp: event.timestamp,
        seq: event.seq,
        priority: event.priority,
        event: &event.payload,
    };
    frame::of(&message, encoding, USUAL_BYTES)
}

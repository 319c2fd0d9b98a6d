//! L1: the model. What is published, what context it is matched on, and the
//! sequenced, immutable result.
#![forbid(unsafe_code)]

mod alert;
mod context;
mod defaults;
mod field;
mod fingerprint;
mod incident;
mod kinds;
mod payload;
mod priorities;
mod sequenced;
#[cfg(test)]
mod tests;
mod timestamp;

pub use alert::Alert;
pub use context::{Attributes, Context};
pub use field::{FieldError, shortened};
pub use incident::{Incident, Note, Resolution, TimelineEntry};
pub use kinds::{
    EventType, IncidentState, IncidentType, Priority, ResolutionMethod, Severity, UnknownName,
};
pub use payload::{
    AlertConverted, AlertReceived, AssignmentChanged, CommentAdded, Escalated, IncidentEvent,
    IncidentUpdated, NotificationSent, Payload, PlaybookActionExecuted, PlaybookCompleted,
    PlaybookStarted, SystemEvent,
};
pub use priorities::Priorities;
pub use sequenced::{Event, Publish};
pub use timestamp::{Timestamp, TimestampError};

/// Fields that this version does not know, carried through untouched.
pub type Extra = serde_json::Map<String, serde_json::Value>;

//! What a subscription may ask for beside its filters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::limits::{
    BATCH_DELAY_MILLIS_MAX, BATCH_EVENTS_MAX, COLLAPSE_AFTER_MAX, COLLAPSE_WINDOW_MILLIS_MAX,
    COLLAPSE_WINDOW_MILLIS_MIN,
};
use crate::event::FieldError;

/// How a subscription wants to be sent its live events; by default each as it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Options {
    /// Of updates of one incident that wait, the newest is enough.
    #[serde(skip_serializing_if = "is_false")]
    pub conflate: bool,
    /// Several events in one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Of events with the same fingerprint, the first few are enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse: Option<Collapse>,
}

/// How long events may wait for others to be sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub max_events: u32,
    pub max_delay_ms: u32,
}

/// Of events of one type with one fingerprint, the first `after` are sent in each window; the
/// others are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collapse {
    pub window_ms: u32,
    pub after: u32,
}

impl Options {
    /// The names of all.
    const NAMES: [&str; 3] = ["conflate", "batch", "collapse"];

    /// Nothing was asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Takes out of a message what asks for nothing: `null`, and `false`.
    pub(super) fn strip(object: &mut Map<String, Value>) {
        for name in Self::NAMES {
            if let Some(Value::Null | Value::Bool(false)) = object.get(name) {
                object.remove(name);
            }
        }
    }

    /// Whether all values are within their bounds.
    ///
    /// # Errors
    /// Names the first that is not.
    pub(super) fn check(&self) -> Result<(), FieldError> {
        let within = |value: u32, least: u32, most: u32, path: &str| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(FieldError::new(path, &format!("must be {least} to {most}")))
        };
        if let Some(Batch { max_events, max_delay_ms }) = self.batch {
            within(max_events, 1, BATCH_EVENTS_MAX, "batch.max_events")?;
            within(max_delay_ms, 1, BATCH_DELAY_MILLIS_MAX, "batch.max_delay_ms")?;
        }
        if let Some(Collapse { window_ms, after }) = self.collapse {
            let (least, most) = (COLLAPSE_WINDOW_MILLIS_MIN, COLLAPSE_WINDOW_MILLIS_MAX);
            within(window_ms, least, most, "collapse.window_ms")?;
            within(after, 1, COLLAPSE_AFTER_MAX, "collapse.after")?;
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

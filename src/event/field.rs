use std::fmt;

use crate::base::limits::LOGGED_VALUE_BYTES_MAX;

/// Room for a quoted value and the longest list of what would be known.
const MESSAGE_BYTES_MAX: usize = 2 * LOGGED_VALUE_BYTES_MAX;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// `incident.severity`; empty for the document as a whole.
    pub path: String,
    /// For people; a long value is not quoted whole.
    pub message: String,
}

impl FieldError {
    pub fn new(path: &str, message: &str) -> Self {
        Self { path: shortened(path), message: cut(message, MESSAGE_BYTES_MAX) }
    }

    /// serde places a missing field at the object that lacks it; people look
    /// for the field itself.
    pub fn from_serde(path: &serde_path_to_error::Path, message: &str) -> Self {
        let path = path.to_string();
        let object = if path == "." { "" } else { &path };
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        match missing {
            Some((field, _)) => Self::new(field, "missing").within(object),
            None => Self::new(object, message),
        }
    }

    /// The same for a document in which this one stands at `prefix`.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        let joins = prefix.is_empty() || self.path.is_empty() || self.path.starts_with('[');
        let dot = if joins { "" } else { "." };
        Self { path: shortened(&format!("{prefix}{dot}{}", self.path)), message: self.message }
    }
}

impl std::error::Error for FieldError {}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(formatter, "{}{colon}{}", self.path, self.message)
    }
}

/// At most 256 bytes of `text`, whole characters, for messages that quote what
/// came from outside.
pub fn shortened(text: &str) -> String {
    cut(text, LOGGED_VALUE_BYTES_MAX)
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max - '…'.len_utf8());
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_from_the_outside_in() {
        let error = FieldError::new("incident.id", "missing");
        assert_eq!(error.clone().within("event").path, "event.incident.id");
        assert_eq!(error.within("").to_string(), "incident.id: missing");
        assert_eq!(FieldError::new("[2]", "bad").within("sources").path, "sources[2]");
        assert_eq!(FieldError::new("", "bad").within("context").path, "context");
        assert_eq!(FieldError::new("", "bad").to_string(), "bad");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let cut = shortened(&"é".repeat(1000));
        assert!(cut.len() <= LOGGED_VALUE_BYTES_MAX && cut.ends_with("é…"));
    }
}

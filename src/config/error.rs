//! What can be wrong with a configuration, said so that it can be put right.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use thiserror::Error;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File {
        path: PathBuf,
        line: usize,
    },
    /// The variable's name.
    Environment(String),
    /// As typed: `--shards` or `--set server.shards`.
    Flag(String),
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A configuration that cannot be used. The operator is to blame, and is told what to change.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("{origin}: unknown key `{key}`{}", hint(suggestion.as_deref()))]
    UnknownKey { origin: Origin, key: String, suggestion: Option<String> },
    #[error("{origin}: `{key}` is {value}, but must be {allowed}")]
    BadValue { origin: Origin, key: String, value: String, allowed: String },
    #[error("{origin}: `{key}` is a section with keys of its own{}", hint(suggestion.as_deref()))]
    Section { origin: Origin, key: String, suggestion: Option<String> },
    #[error(
        "{}: a setting is written key=value, such as `--set server.shards=2`; this has no `=`: {text}",
        origin
    )]
    NotASetting { origin: Origin, text: String },
    /// Values that are fine alone but not together.
    #[error("{0}")]
    Conflict(String),
    #[error("the configuration is invalid: {0}")]
    Invalid(String),
}

fn hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(key) => format!("; did you mean `{key}`?"),
        None => "; `alarmcast config print --defaults` lists all keys".into(),
    }
}

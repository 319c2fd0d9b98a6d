//! L6: what an operator may choose, and where the choice came from.
//!
//! A value is taken from the first of these that has it: a flag, the environment
//! (`ALARMCAST_STREAM__LISTEN`), the file (`alarmcast.toml`), the default. A key
//! that nobody knows is an error wherever it stands.

#![forbid(unsafe_code)]

mod check;
mod error;
mod layers;
mod model;
mod print;
mod schema;

use std::collections::BTreeMap;

pub use error::{ConfigError, Origin};
pub use layers::{FILE_NAME, Flag, Sources};
pub use model::{
    Alertmanager, Config, Control, DriverChoice, Hub, Limits, Log, LogFormat, ProxyProtocol,
    Server, Session, SeverityName, ShedBelow, Stream, Webhooks,
};

/// A configuration together with the origin of each value that is not a default.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// By full key, such as `stream.listen`.
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// The defaults alone.
    pub fn defaults() -> Self {
        Self { config: Config::default(), origins: BTreeMap::new() }
    }

    /// The configuration as TOML, each value that is not a default followed by its origin.
    pub fn to_toml(&self) -> String {
        print::effective(self)
    }

    /// Every key with its default and a description, as a file to start from.
    pub fn documented_defaults() -> String {
        print::documented_defaults()
    }
}

impl Config {
    /// Reads, merges and checks all layers.
    ///
    /// # Errors
    /// Names the offending key, its origin and what is allowed.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let merged = layers::merge(sources)?;
        let config = model::build(&merged)?;
        let origins = merged.into_iter().map(|leaf| (leaf.key(), leaf.origin)).collect();
        let loaded = Loaded { config, origins };
        check::cross_check(&loaded)?;
        Ok(loaded)
    }

    /// The keys whose values are not the same in both.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        print::differences(self, other)
    }
}

//! Which connections speak which encoding.

use serde::{Deserialize, Serialize};

use crate::wire::message::Encoding;

/// Of a run's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Encodings {
    #[default]
    Json,
    Msgpack,
    /// By turns.
    Both,
}

impl Encodings {
    /// Of one connection, among all of the run.
    pub fn of(self, number: u32) -> Encoding {
        match self {
            Self::Json => Encoding::Json,
            Self::Msgpack => Encoding::MessagePack,
            Self::Both if number.is_multiple_of(2) => Encoding::Json,
            Self::Both => Encoding::MessagePack,
        }
    }
}

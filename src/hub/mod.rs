//! L4: the one thread that sequences events and hands them to the shards.

#![forbid(unsafe_code)]

mod fanout;
mod ingest;
mod receipt;
mod run;
mod stats;

pub use ingest::{PublishError, Published, Publisher};
pub use receipt::PublishReceipt;
pub use run::{Hub, HubSettings};
pub use stats::HubStats;

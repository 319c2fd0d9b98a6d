//! L4: the one thread that sequences events and hands them to the shards.

#![forbid(unsafe_code)]

mod batches;
mod fanout;
mod ingest;
mod run;
mod stats;

pub use ingest::{PublishError, PublishReceipt, Published, Publisher};
pub use run::{Hub, HubSettings};
pub use stats::HubStats;

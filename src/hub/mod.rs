//! L4: the one thread that sequences events and hands them to the shards.

#![forbid(unsafe_code)]

mod batches;
mod drain;
mod fanout;
mod ingest;
mod run;
mod stats;

pub use drain::{DrainPlan, Drainer};
pub use ingest::{PublishError, PublishReceipt, Published, Publisher};
pub use run::{Hub, HubLoop, HubSettings};
pub use stats::HubStats;

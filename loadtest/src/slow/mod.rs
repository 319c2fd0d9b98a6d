//! The scenario of subscribers that read slowly among fast ones, under a flood of events of all
//! priorities: what each was sent and told to have missed is audited against what was published.

pub mod audit;
mod flood;
pub mod heard;
mod kernel;
pub mod outcome;
pub(crate) mod reader;
mod readers;
mod run;

pub use readers::Pace;
pub use run::{Settings, WINDOW, Weights, run};

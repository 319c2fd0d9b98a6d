//! L1: which connections want an event. A client's [`FilterSpec`] compiles to a
//! [`Filter`]; an [`Index`] holds the filters of every subscription of a shard.
#![forbid(unsafe_code)]

mod compile;
mod index;
mod spec;
#[cfg(test)]
mod tests;

pub use compile::{Filter, FilterError};
pub use index::{Index, SubscriptionKey};
pub use spec::FilterSpec;

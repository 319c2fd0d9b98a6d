//! L1: which connections want an event. A client's [`FilterSpec`] compiles to a
//! [`Filter`]; an [`Index`] holds the filters of every subscription of a shard.
#![forbid(unsafe_code)]

mod access;
mod compile;
mod evaluate;
mod folding;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod glob;
mod groups;
mod index;
#[cfg(any(test, fuzzing))]
mod model;
mod pattern;
mod room;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod written;

pub use compile::{Filter, FilterError};
pub use index::{Index, Parked, SubscriptionKey};
pub use spec::{FilterSpec, LabelMatcher, StringMatcher, TextMatcher};

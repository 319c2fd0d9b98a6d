//! Load tester for Alarmcast: holds very many connections and measures fan-out.
//!
//! The parts, from the wire up:
//! - [`wire`]: the upgrade, frames and messages as a client sees them; no sockets.
//! - [`connection`]: one subscriber, from upgrade to close, with [`sequence`] to tell what it
//!   was not sent and [`events`] to read an event once for all connections.
//! - [`crowd`]: many subscribers on one thread, over mio.
//! - [`worker`]: a crowd in a process of its own, because descriptors are limited per process;
//!   it speaks [`link`] over its standard streams. [`fleet`] is the other end.
//! - [`say`]: what a run tells meanwhile.
//! - [`publish`]: an open-loop publisher.
//! - [`template`]: how another server than Alarmcast is spoken to, where one is measured.
//! - [`fanout`]: the scenario that puts these together, also with events of all
//!   priorities, in both encodings ([`encodings`]);
//!   [`outcome`] and [`tables`] tell how it went, and [`results`] on disk; [`report`] draws them.
//! - [`idle`]: connections that nothing happens to, and their memory ([`kernel_memory`]).
//! - [`churn`]: some come and go at a steady rate while others stay.
//! - [`filtered`]: fan-outs in turn, with one filter and with very many ([`filters`]).
//! - [`scenario_file`]: a scenario with its settings, as a file.
//! - [`storm`]: all are cut off and come back at once, while others go on receiving.
//! - [`slow`]: a few subscribers, some of them slow, and an audit of what each was sent.
//! - [`stalled`]: fan-outs in turn, without and with very many subscribers that never read.

#![forbid(unsafe_code)]

pub mod args;
pub mod by_event;
pub mod churn;
pub mod clock;
pub mod connection;
pub mod crowd;
pub mod descriptors;
pub mod encodings;
pub mod error;
pub mod events;
pub mod fanout;
pub mod filtered;
pub mod filters;
pub mod fleet;
pub mod idle;
pub mod kernel_memory;
pub mod link;
pub mod median;
pub mod outcome;
pub mod partition;
pub mod priority;
pub mod publish;
pub mod report;
pub mod results;
pub mod say;
pub mod scenario_file;
pub mod sequence;
pub mod series;
pub mod server_process;
pub mod slow;
pub mod stalled;
pub mod storm;
pub mod tables;
pub mod tally;
pub mod target;
pub mod template;
pub mod wire;
pub mod worker;

pub use error::Error;

//! Alarmcast.
pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod event;
pub mod filter;
pub mod hub;
pub mod io;
pub mod protocol;
pub mod queue;
pub mod server;
pub mod session;
pub mod shard;
pub mod stream;
pub mod ws;

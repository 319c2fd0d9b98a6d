//! L4: one pinned thread with its loop, memory and connections; shares nothing.

pub mod stats;

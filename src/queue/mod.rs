//! L1: what waits for a connection: a shard's arena of frames, and the lanes
//! of references into it.

#![forbid(unsafe_code)]

pub mod arena;
pub mod backlog;
pub mod conflation;
pub mod lanes;
pub mod loss;

pub use arena::{Arena, EventMark, Frame, FrameId};
pub use backlog::{Backlog, Waiting};
pub use conflation::Conflation;
pub use lanes::{Lane, Limits, Outbox, Pushed};
pub use loss::Loss;

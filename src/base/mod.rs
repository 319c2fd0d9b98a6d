//! L0: what every other layer stands on: limits, identities, the clock, the slab and buffers.

pub mod buffers;
pub mod clock;
pub mod dense;
pub mod lifecycle;
pub mod limits;
pub mod logged;
pub mod network;
pub mod origin;
pub mod slab;

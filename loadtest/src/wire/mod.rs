//! The protocol as a client sees it: bytes in, bytes out, no sockets.

pub mod frame;
pub mod mark;
pub mod message;
pub mod upgrade;

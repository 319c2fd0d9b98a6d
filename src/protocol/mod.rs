//! L1: the words between server and clients. `client` and `publish` read,
//! `server` and `encoded` write, `error` and `close` name what can go wrong.
//! `json` and `msgpack` are two encodings of one model.
#![forbid(unsafe_code)]

pub mod batch;
pub mod client;
pub mod close;
pub mod encoded;
mod encoding;
pub mod error;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod json;
pub mod msgpack;
pub mod options;
pub mod publish;
pub mod server;
mod strict;
#[cfg(test)]
mod tests;

pub use batch::{BATCH_OVERHEAD_BYTES_MAX, append_batch};
pub use client::{ClientMessage, decode, decode_msgpack};
pub use close::CloseCode;
pub use encoded::Encoded;
pub use encoding::{Encoding, UnknownEncoding};
pub use error::{ErrorCode, MessageError};
#[cfg(any(test, fuzzing))]
pub use fuzz::{fuzz_client_message, fuzz_client_message_msgpack, fuzz_publish};
pub use options::{Batch, Collapse, Options};
pub use publish::{PublishItemError, check, parse_bytes, parse_item, parse_msgpack};
pub use server::{
    CollapsedCounts, DroppedCounts, Limits, NotResumed, Resume, ServerMessage, Welcome,
};

/// The version of the protocol that `welcome` names.
pub const PROTOCOL: &str = "alarmcast.v1";

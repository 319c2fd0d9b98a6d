//! L1: the words between server and clients. `client` and `publish` read,
//! `server` and `encoded` write, `error` and `close` name what can go wrong.
#![forbid(unsafe_code)]

pub mod client;
pub mod close;
pub mod encoded;
pub mod error;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod json;
pub mod publish;
pub mod server;
#[cfg(test)]
mod tests;

pub use client::{ClientMessage, decode};
pub use close::CloseCode;
pub use encoded::Encoded;
pub use error::{ErrorCode, MessageError};
#[cfg(any(test, fuzzing))]
pub use fuzz::{fuzz_client_message, fuzz_publish};
pub use publish::{PublishItemError, check, parse_bytes, parse_item};
pub use server::{Limits, ServerMessage, Welcome};

/// The version of the protocol that `welcome` names.
pub const PROTOCOL: &str = "alarmcast.v1";

//! What the scenarios are told with: servers, clients, and waiting.

mod client;
pub mod events;
mod http;
mod metrics;
mod program;
mod raw;
mod server;
pub mod shapes;
pub mod tools;
mod wait;

pub use client::Client;
pub use http::Answer;
pub use metrics::Metrics;
pub use program::Program;
pub use raw::{Raw, Sent, UPGRADE, text_frame};
pub use server::{Server, driver_argument, expected_driver, in_either_encoding};
pub use wait::{DEADLINE, eventually, let_pass};

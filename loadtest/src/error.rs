//! Why a load test could not be run at all; what it measured is in [`crate::outcome`].

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("{what}: {error}")]
    Io {
        what: String,
        #[source]
        error: io::Error,
    },
    /// A worker process ended or spoke out of turn.
    #[error("worker {index}: {why}")]
    Worker { index: usize, why: String },
    /// A bug of the load tester.
    #[error("the publisher's thread panicked")]
    PublisherPanicked,
}

impl Error {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}

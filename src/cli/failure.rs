//! Why a command ended other than well, and its exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::config::ConfigError;

/// Killed by SIGINT, as a shell would report it.
const INTERRUPTED: u8 = 130;

/// The end of a command that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Told to the user after `error:`.
    Message(String),
    /// Already told to the user.
    Reported,
    /// Whoever read our output is gone: not our failure.
    OutputClosed,
    /// Ctrl-C.
    Interrupted,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }

    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Message(message) => {
                let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
                // A stderr that cannot be written leaves nobody to tell.
                let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {message}");
                ExitCode::FAILURE
            }
            Self::Reported => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::new(format!("cannot write the output: {error}")),
        }
    }
}

//! How a run tells how it goes, while it goes.

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

/// Who listens to a run.
pub trait Say {
    /// A part of it begins.
    fn phase(&mut self, line: &str);

    /// How far that is; said as often as one likes, and heard now and then.
    fn progress(&mut self, line: &dyn Fn() -> String);
}

/// Writes phases as lines; on a terminal progress too, on one line that is written anew.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    is_terminal: bool,
    interval: Duration,
    last: Option<Instant>,
    /// Progress stands on the line that the cursor is on.
    is_shown: bool,
}

impl Lines<Stderr> {
    /// To standard error.
    pub fn stderr() -> Self {
        const INTERVAL: Duration = Duration::from_millis(200);
        let to = io::stderr();
        Self { is_terminal: to.is_terminal(), to, interval: INTERVAL, last: None, is_shown: false }
    }
}

impl<W: Write> Lines<W> {
    /// Takes progress back.
    pub fn clear(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            self.write("\r\x1b[K");
        }
    }

    /// Nobody can be told that nobody can be told.
    fn write(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }
}

impl<W: Write> Say for Lines<W> {
    fn phase(&mut self, line: &str) {
        self.clear();
        self.write(&format!("{line}\n"));
    }

    fn progress(&mut self, line: &dyn Fn() -> String) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= self.interval);
        if self.is_terminal && is_due {
            self.last = Some(Instant::now());
            self.is_shown = true;
            self.write(&format!("\r{}\x1b[K", line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(is_terminal: bool, interval: Duration) -> String {
        let to = Vec::new();
        let mut lines = Lines { to, is_terminal, interval, last: None, is_shown: false };
        lines.phase("connecting");
        lines.progress(&|| "1 of 9".to_owned());
        lines.progress(&|| "2 of 9".to_owned());
        lines.phase("publishing");
        lines.clear();
        String::from_utf8(lines.to).expect("lines are text")
    }

    #[test]
    fn a_terminal_has_progress_on_one_line() {
        let expected = "connecting\n\r1 of 9\x1b[K\r2 of 9\x1b[K\r\x1b[Kpublishing\n";
        assert_eq!(said(true, Duration::ZERO), expected);
        let expected = "connecting\n\r1 of 9\x1b[K\r\x1b[Kpublishing\n";
        assert_eq!(said(true, Duration::from_secs(600)), expected, "now and then");
    }

    #[test]
    fn a_file_has_phases_only() {
        assert_eq!(said(false, Duration::ZERO), "connecting\npublishing\n");
    }
}

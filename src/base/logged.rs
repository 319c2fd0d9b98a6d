//! Values from outside, made safe to show in a log line or a terminal.

use std::fmt::{self, Display, Formatter, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::Instant;
use super::limits::LOGGED_VALUE_BYTES_MAX;

/// Shows a string with control and invisible characters escaped, cut at
/// [`LOGGED_VALUE_BYTES_MAX`] bytes, so that nobody outside can forge a log line,
/// drive the terminal of whoever reads it, or fill the disk.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a>(pub &'a str);

impl Display for Logged<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cut = self.0.floor_char_boundary(LOGGED_VALUE_BYTES_MAX);
        for character in self.0[..cut].chars() {
            match character {
                '\'' | '"' => f.write_char(character)?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        if cut < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// Log lines that somebody outside can cause as often as they like: one in
/// [`Seldom::PERIOD`] is written.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Nanoseconds of the instant from which the next line is written.
    next: AtomicU64,
    withheld: AtomicU64,
}

impl Seldom {
    pub const PERIOD: Duration = Duration::from_secs(10);

    /// Whether a line may be written now: how many were withheld since the last.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let next = self.next.load(Relaxed);
        let after = (now + Self::PERIOD).as_nanos();
        let is_due = now.as_nanos() >= next
            && self.next.compare_exchange(next, after, Relaxed, Relaxed).is_ok();
        if is_due {
            return Some(self.withheld.swap(0, Relaxed));
        }
        self.withheld.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_terminal_sequences_are_escaped() {
        let shown = Logged("a\nb\x1b[31m\u{202e}é \"q\"").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[31m\\u{202e}é \"q\"");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = "é".repeat(LOGGED_VALUE_BYTES_MAX);
        let shown = Logged(&long).to_string();
        assert!(shown.starts_with("éé") && shown.ends_with("… (512 bytes)"), "{shown}");
        assert_eq!(shown.chars().filter(|character| *character == 'é').count(), 128);
    }
    #[test]
    fn of_many_lines_one_a_period_is_written_and_tells_of_the_others() {
        let seldom = Seldom::default();
        let start = Instant::from_nanos(1);
        assert_eq!(seldom.admit(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(seldom.admit(start), None);
        }
        assert_eq!(seldom.admit(start + Seldom::PERIOD), Some(1_000));
        assert_eq!(seldom.admit(start + Seldom::PERIOD), None);
        assert_eq!(seldom.admit(start + Seldom::PERIOD * 2), Some(1));
    }
}

//! Values from outside, made safe to show in a log line or a terminal.

use std::fmt::{self, Display, Formatter, Write};

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
}

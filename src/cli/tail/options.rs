//! What the flags ask for beside filters.

use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Options {
    /// Let the server send up to N events in one message, for which each waits at most for TIME,
    /// as in 50/200ms; critical ones do not wait
    #[arg(long, value_name = "N/TIME", value_parser = parse_pair)]
    batch: Option<(u32, u32)>,
    /// Of updates of one incident that wait for this client, get the newest only
    #[arg(long)]
    conflate: bool,
    /// Get N events of one type and fingerprint in each TIME, as in 5/10s, and the number of the
    /// others; critical ones always come
    #[arg(long, value_name = "N/TIME", value_parser = parse_pair)]
    collapse: Option<(u32, u32)>,
}

impl Options {
    /// Writes them into a `subscribe` message.
    pub fn put_into(&self, subscribe: &mut Value) {
        if let Some((max_events, max_delay_ms)) = self.batch {
            subscribe["batch"] = json!({"max_events": max_events, "max_delay_ms": max_delay_ms});
        }
        if self.conflate {
            subscribe["conflate"] = true.into();
        }
        if let Some((after, window_ms)) = self.collapse {
            subscribe["collapse"] = json!({"window_ms": window_ms, "after": after});
        }
    }
}

/// A number and a time in milliseconds. Their bounds are the server's.
fn parse_pair(text: &str) -> Result<(u32, u32), String> {
    let wrong = || "expected a number and a time, such as 5/200ms, 5/10s or 5/1m".to_owned();
    let (count, time) = text.split_once('/').ok_or_else(wrong)?;
    let unit_at = time.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = time.split_at(unit_at);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let time = number.checked_mul(millis).ok_or_else(wrong)?;
    Ok((count.parse().map_err(|_| wrong())?, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_number_and_a_time_with_its_unit() {
        assert_eq!(parse_pair("50/200ms"), Ok((50, 200)));
        assert_eq!(parse_pair("5/10s"), Ok((5, 10_000)));
        assert_eq!(parse_pair("1/2m"), Ok((1, 120_000)));
        for wrong in ["", "5", "5/10", "5/s", "/10s", "5/10h", "x/1s", "5/99999999999m", "5/-1s"] {
            assert!(parse_pair(wrong).is_err(), "{wrong}");
        }
    }
}

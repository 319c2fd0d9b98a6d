//! Moments and speeds, as they are written on a command line.

use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::base::clock::Instant;

/// A moment, or how long before now it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Moment {
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            let number: u32 = number.parse().ok()?;
            Some(Self::Ago(SignedDuration::from_secs(i64::from(number) * seconds)))
        };
        ago().or_else(|| text.parse().ok().map(Self::At)).ok_or_else(|| {
            "a moment is a time such as 2026-03-01T10:00:00Z, or how long ago it was, such as 15m"
                .into()
        })
    }
}

/// So many times as fast as it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed(f64);

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('x').unwrap_or(text).parse() {
            Ok(speed) if (0.001..=1_000_000.0).contains(&speed) => Ok(Self(speed)),
            _ => Err("a speed is a number from 0.001 to 1000000, such as 1x or 10x".into()),
        }
    }
}

/// When each event is due, by the distance to the first.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    start: Option<(Timestamp, Instant)>,
}

impl Pace {
    pub fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    /// What is left of the pause before an event of this time.
    pub fn pause(&mut self, timestamp: Timestamp, now: Instant) -> Duration {
        let (first, start) = *self.start.get_or_insert((timestamp, now));
        let distance = timestamp.duration_since(first).as_secs_f64().max(0.0) / self.speed.0;
        let distance = Duration::try_from_secs_f64(distance).unwrap_or(Duration::MAX);
        distance.saturating_sub(now.since(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_or_distances_from_now() {
        let now: Timestamp = "2026-03-01T10:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("90s", "2026-03-01T09:58:30Z"),
            ("15m", "2026-03-01T09:45:00Z"),
            ("2h", "2026-03-01T08:00:00Z"),
            ("1d", "2026-02-28T10:00:00Z"),
            ("4294967295d", "-009999-01-02T01:59:59Z"),
            ("2026-03-01T10:30:00+01:00", "2026-03-01T09:30:00Z"),
        ] {
            let moment: Moment = text.parse().expect("a moment");
            assert_eq!(moment.before(now).to_string(), expected, "{text}");
        }
        for text in ["", "m", "yesterday", "-5m", "5", "1.5h", "µ"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn pauses_keep_the_distance_to_the_first_divided_by_the_speed() {
        let mut pace = Pace::new("10x".parse().expect("a speed"));
        let event = |secs| Timestamp::from_second(secs).expect("in range");
        let now = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        assert_eq!(pace.pause(event(100), now(5_000)), Duration::ZERO);
        assert_eq!(pace.pause(event(110), now(5_000)), Duration::from_secs(1));
        // Printing took a while: the next one is not later for it.
        assert_eq!(pace.pause(event(120), now(6_300)), Duration::from_millis(700));
        assert_eq!(pace.pause(event(120), now(7_500)), Duration::ZERO);
        // The wall clock was put back.
        assert_eq!(pace.pause(event(90), now(7_500)), Duration::ZERO);
        for text in ["0", "-1x", "x", "nan", "inf", "fast"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}

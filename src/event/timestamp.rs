use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment as its publisher wrote it: an RFC 3339 text that is checked and
/// given back to the letter, because subscribers compare it with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    at: jiff::Timestamp,
    /// The publisher's text, where it is not the usual form of `at`.
    text: Option<Box<str>>,
}

/// A text that is not an RFC 3339 timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an RFC 3339 timestamp such as 2026-01-01T12:00:00Z", super::shortened(.0))]
pub struct TimestampError(String);

impl Timestamp {
    /// The moment itself.
    pub fn at(&self) -> jiff::Timestamp {
        self.at
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Self { at, text: None }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let at: jiff::Timestamp = match text.parse() {
            Ok(at) if is_rfc3339_shaped(text) => at,
            _ => return Err(TimestampError(text.to_owned())),
        };
        let usual = at.to_string() == text;
        Ok(Self { at, text: if usual { None } else { Some(text.into()) } })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => formatter.write_str(text),
            None => self.at.fmt(formatter),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(&self.at),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an RFC 3339 timestamp")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// jiff reads more than RFC 3339 (signed years, time zone annotations, short
/// forms); other clients do not, so the shape is checked: `yyyy-mm-ddThh:mm:ss`,
/// then perhaps a fraction, then `Z` or an offset.
fn is_rfc3339_shaped(text: &str) -> bool {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((head, tail)) = text.as_bytes().split_first_chunk::<19>() else {
        return false;
    };
    let head_fits = head.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == shape,
    });
    let fraction = match tail.strip_prefix(b".") {
        Some(fraction) => 1 + fraction.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        None => 0,
    };
    let offset_fits = match &tail[fraction..] {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    head_fits && offset_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publishers_text_survives() {
        for text in [
            "2026-03-01T10:00:00Z",
            "2026-03-01T10:00:00.000Z",
            "2026-03-01T10:00:00+00:00",
            "2026-03-01T12:30:00.123456+02:30",
            "2026-03-01t10:00:00z",
            "2016-12-31T23:59:60Z",
            "2026-03-01T10:00:00-00:00",
            "2026-03-01 10:00:00Z",
        ] {
            let timestamp: Timestamp = text.parse().unwrap();
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(serde_json::to_value(&timestamp).unwrap(), text);
        }
    }

    #[test]
    fn what_other_clients_could_not_read_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-03-01T10:00Z",
            "2026-13-01T10:00:00Z",
            "2026-03-01T10:00:00.Z",
            "2026-03-01T10:00:00Z[UTC]",
            "+002026-03-01T10:00:00Z",
            "20260301T100000Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        let error = "é".repeat(1000).parse::<Timestamp>().unwrap_err();
        assert!(error.to_string().len() < 512);
    }
}

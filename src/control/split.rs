//! Cuts a body into its events, without reading them.

use serde::de::IgnoredAny;

use super::answer::Refusal;
use super::body::Kind;
use crate::base::limits::PUBLISH_BATCH_EVENTS_MAX;
use crate::protocol::msgpack::ElementsError;
use crate::protocol::{ErrorCode, msgpack};

/// The events of a body, each as its bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parts<'a> {
    /// The body is one event.
    One(&'a [u8]),
    /// An array or lines, even if only one.
    Many(Vec<&'a [u8]>),
}

/// Finds the events: the kind says how they are held, or the body itself where several
/// lines came as plain JSON.
///
/// # Errors
/// When an array is not well formed between its elements, or there are too many events.
pub fn split(kind: Kind, body: &[u8]) -> Result<Parts<'_>, Refusal> {
    let text = body.trim_ascii();
    let texts = match (kind, text.first()) {
        (Kind::MessagePack, _) => return split_msgpack(body),
        (Kind::Lines, _) => lines(text),
        (Kind::Json, Some(b'[')) => elements(text)?,
        (Kind::Json, _) if is_lines(text) => lines(text),
        (Kind::Json, _) => return Ok(Parts::One(text)),
    };
    if texts.len() > PUBLISH_BATCH_EVENTS_MAX {
        return Err(too_many());
    }
    Ok(Parts::Many(texts))
}

fn split_msgpack(body: &[u8]) -> Result<Parts<'_>, Refusal> {
    match msgpack::elements(body, PUBLISH_BATCH_EVENTS_MAX) {
        Ok(None) => Ok(Parts::One(body)),
        Ok(Some(elements)) => Ok(Parts::Many(elements)),
        Err(ElementsError::TooMany) => Err(too_many()),
        Err(error) => Err(Refusal::new(400, ErrorCode::InvalidMessage, error.to_string())),
    }
}

fn too_many() -> Refusal {
    let message = format!("a request has at most {PUBLISH_BATCH_EVENTS_MAX} events");
    Refusal::new(413, ErrorCode::MessageTooLarge, message)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    // One more than allowed is enough to refuse.
    lines.filter(|line| !line.is_empty()).take(PUBLISH_BATCH_EVENTS_MAX + 1).collect()
}

/// Whether the first of several lines is a whole JSON value.
fn is_lines(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return false };
    serde_json::from_slice::<IgnoredAny>(&text[..end]).is_ok()
}

fn elements(text: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let malformed = |message: &str| Refusal::new(400, ErrorCode::InvalidMessage, message);
    let mut elements = Vec::new();
    let mut rest = text[1..].trim_ascii_start();
    if rest.first() == Some(&b']') {
        return match rest.len() {
            1 => Ok(elements),
            _ => Err(malformed("something follows the array")),
        };
    }
    while elements.len() <= PUBLISH_BATCH_EVENTS_MAX {
        let end = element_end(rest).ok_or_else(|| malformed("the array never ends"))?;
        elements.push(rest[..end].trim_ascii());
        match rest[end] {
            b',' => rest = rest[end + 1..].trim_ascii_start(),
            _ if rest.len() == end + 1 => break,
            _ => return Err(malformed("something follows the array")),
        }
    }
    Ok(elements)
}

/// Where the `,` or `]` after the element stands.
fn element_end(text: &[u8]) -> Option<usize> {
    let mut nesting = Nesting::default();
    for (index, byte) in text.iter().enumerate() {
        if !nesting.is_open() && matches!(byte, b',' | b']') {
            return Some(index);
        }
        nesting.closes(*byte);
    }
    None
}

/// Follows brackets and strings through JSON text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Inside a bracket or a string.
    pub const fn is_open(&self) -> bool {
        self.depth > 0 || self.in_string
    }

    /// Takes the next byte; true if it closes the outermost bracket.
    pub fn closes(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn many(kind: Kind, text: &str, expected: &[&str]) {
        let Ok(Parts::Many(found)) = split(kind, text.as_bytes()) else {
            panic!("{text}: not taken as several")
        };
        let found: Vec<_> = found.iter().map(|text| String::from_utf8_lossy(text)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn elements_of_an_array_are_cut_where_they_end() {
        many(
            Kind::Json,
            " [ {\"a\":[1,2]} ,\n{\"b\":\"],\\\"\"}] ",
            &["{\"a\":[1,2]}", "{\"b\":\"],\\\"\"}"],
        );
        many(Kind::Json, "[]", &[]);
        many(Kind::Json, "[1]", &["1"]);
        // What is no event is refused as an item, not here.
        many(Kind::Json, "[,{}]", &["", "{}"]);
        many(Kind::Json, "[{},]", &["{}", ""]);
    }

    #[test]
    fn malformed_arrays_are_refused() {
        for text in ["[", "[{}", "[{}]]", "[{}] x", "[] []", "[\"a]"] {
            assert!(split(Kind::Json, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_are_found_by_kind_or_by_sight() {
        many(Kind::Lines, "{\"a\":1}", &["{\"a\":1}"]);
        many(Kind::Lines, "\n{\"a\":1}\r\n\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        many(Kind::Json, "{\"a\":1}\n{\"b\":\n", &["{\"a\":1}", "{\"b\":"]);
        many(Kind::Lines, "", &[]);
    }

    #[test]
    fn one_event_may_spread_over_lines() {
        for text in ["{\"a\":1}", "{\n\"a\":1\n}\n", "nonsense", ""] {
            let trimmed = text.trim_ascii().as_bytes();
            let found = split(Kind::Json, text.as_bytes()).expect("taken");
            assert_eq!(found, Parts::One(trimmed));
        }
    }

    #[test]
    fn too_many_events_are_refused_before_they_are_read() {
        let many = format!("[{}{{}}]", "{},".repeat(PUBLISH_BATCH_EVENTS_MAX));
        assert!(split(Kind::Json, many.as_bytes()).is_err());
        let lines = "{}\n".repeat(PUBLISH_BATCH_EVENTS_MAX + 1);
        assert!(split(Kind::Lines, lines.as_bytes()).is_err());
        let lines = "{}\n".repeat(PUBLISH_BATCH_EVENTS_MAX);
        assert!(split(Kind::Lines, lines.as_bytes()).is_ok());
    }

    #[test]
    fn a_list_in_messagepack_is_cut_and_anything_else_is_one_event() {
        let found = split(Kind::MessagePack, b"\x92\x81\xa1a\x92\x01\x02\x80").expect("taken");
        assert_eq!(found, Parts::Many(vec![b"\x81\xa1a\x92\x01\x02", b"\x80"]));
        assert_eq!(split(Kind::MessagePack, b"\x90").expect("taken"), Parts::Many(vec![]));
        // Bytes that JSON would trim are values here.
        for body in [b"\x80".as_slice(), b"\x0a", b"", b"\xc1", b"\x81\xa1a", b"\xdc\x00"] {
            assert_eq!(split(Kind::MessagePack, body).expect("taken"), Parts::One(body));
        }
        for body in [b"\x91".as_slice(), b"\x91\x80\x80", b"\xdd\xff\xff\xff\xff\x80"] {
            assert!(split(Kind::MessagePack, body).is_err(), "{body:?}");
        }
    }
}

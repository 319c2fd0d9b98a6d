//! Strict `MessagePack`: the JSON model in other bytes. Maps with strings as keys, lists,
//! strings in UTF-8, numbers, booleans, nil; no binary data, no extension types.

use std::io;

use rmp::Marker;
use rmp_serde::decode::Error;
use serde::de::{Deserialize, DeserializeSeed};
use serde::ser::Serialize;
use serde_json::Value;

use super::strict::Strict;
use crate::event::FieldError;

/// Reads exactly one value. Refused are duplicate keys, keys other than strings, binary
/// data, extension types, anything after the value, and nesting beyond `depth_max` maps
/// and lists. Memory follows the bytes that are there, not the lengths that they claim.
///
/// # Errors
/// Names the place and the reason.
pub fn parse(bytes: &[u8], depth_max: usize) -> Result<Value, FieldError> {
    let mut track = serde_path_to_error::Track::new();
    let mut reader = reader(bytes, depth_max);
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = match (Strict { depth_left: depth_max }).deserialize(tracked) {
        Ok(value) => value,
        Err(error) => return Err(FieldError::from_serde(&track.path(), &reason(&error))),
    };
    // Only at the end there is no marker to be read, whatever it would be the marker of.
    match u8::deserialize(&mut reader) {
        Err(Error::InvalidMarkerRead(_)) => Ok(value),
        _ => Err(FieldError::new("", "something follows the value")),
    }
}

/// `value` as `MessagePack`, as the messages of the protocol are written.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, value);
    bytes
}

/// Writes `message` with named maps, and what people read (UUIDs) as strings.
///
/// # Panics
/// When `out` refuses bytes: it is memory or a counter.
pub(super) fn write<T: Serialize>(out: &mut impl io::Write, message: &T) {
    let mut writer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
    if let Err(error) = message.serialize(&mut writer) {
        unreachable!("a message of the protocol is MessagePack: {error}");
    }
}

/// The same value as JSON text, its fields in the same order.
///
/// # Errors
/// When the bytes are not one value, or one that JSON does not have.
pub fn to_json(bytes: &[u8], depth_max: usize) -> Result<String, FieldError> {
    let failed = |message: &str| FieldError::new("", message);
    let mut reader = reader(bytes, depth_max);
    let mut text = Vec::with_capacity(2 * bytes.len());
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::new(&mut text))
        .map_err(|error| failed(&error.to_string()))?;
    match u8::deserialize(&mut reader) {
        Err(Error::InvalidMarkerRead(_)) => {}
        _ => return Err(failed("something follows the value")),
    }
    String::from_utf8(text).map_err(|error| failed(&error.to_string()))
}

/// The values of a list, each still as its bytes; `None` where `bytes` are no list.
///
/// # Errors
/// When one of the values never ends, when something follows the list, or
/// when it has more than `count_max` values.
pub fn elements(bytes: &[u8], count_max: usize) -> Result<Option<Vec<&[u8]>>, ElementsError> {
    let Some(head) = Head::read(bytes).filter(|head| head.is_list) else { return Ok(None) };
    if head.values > count_max as u64 {
        return Err(ElementsError::TooMany);
    }
    let mut elements = Vec::new();
    let mut rest = &bytes[head.bytes as usize..];
    for _ in 0..head.values {
        let end = value_end(rest).ok_or(ElementsError::Endless)?;
        let (element, after) = rest.split_at(end);
        elements.push(element);
        rest = after;
    }
    if rest.is_empty() { Ok(Some(elements)) } else { Err(ElementsError::Followed) }
}

/// Why a list cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementsError {
    #[error("the list has too many values")]
    TooMany,
    #[error("the list never ends")]
    Endless,
    #[error("something follows the list")]
    Followed,
}

type Reader<'a> = rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>;

fn reader(bytes: &[u8], depth_max: usize) -> Reader<'_> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    // It refuses the level that brings its counter to 0.
    reader.set_max_depth(depth_max + 1);
    reader
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the message breaks off".into(),
        Error::TypeMismatch(Marker::Reserved) => "the byte c1 begins no value".into(),
        Error::Utf8Error(_) => "a string that is not UTF-8".into(),
        Error::DepthLimitExceeded => "nested too deeply".into(),
        other => other.to_string(),
    }
}

/// Where the value at the start of `bytes` ends. Goes by markers and lengths alone, without
/// recursion and without memory; what the value holds is judged by [`parse`].
fn value_end(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    // Values that still belong to it: below 2^33 for each byte that is there.
    let mut pending = 1_u64;
    while pending > 0 {
        let head = Head::read(bytes.get(end..)?)?;
        end += usize::try_from(head.bytes).ok()?;
        pending = pending - 1 + head.values;
    }
    (end <= bytes.len()).then_some(end)
}

/// What a marker and the length behind it say.
struct Head {
    /// Of the marker, the length, and what stands behind it without being a value.
    bytes: u64,
    /// That follow and belong to this one.
    values: u64,
    is_list: bool,
}

impl Head {
    /// `None` where the bytes break off, or the marker is the unused one.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&marker, rest) = bytes.split_first()?;
        let length = |width: usize| {
            let digits = rest.get(..width)?;
            Some(digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
        };
        let scalar = |bytes: u64| Some(Self { bytes: 1 + bytes, values: 0, is_list: false });
        let sized = |width: usize, more: u64| scalar(width as u64 + length(width)? + more);
        let list = |width: u64, values: u64| Some(Self { bytes: 1 + width, values, is_list: true });
        let map = |width: u64, pairs: u64| {
            Some(Self { bytes: 1 + width, values: 2 * pairs, is_list: false })
        };
        match Marker::from_u8(marker) {
            Marker::Reserved => None,
            Marker::FixPos(_) | Marker::FixNeg(_) => scalar(0),
            Marker::Null | Marker::True | Marker::False => scalar(0),
            Marker::U8 | Marker::I8 => scalar(1),
            Marker::U16 | Marker::I16 => scalar(2),
            Marker::U32 | Marker::I32 | Marker::F32 => scalar(4),
            Marker::U64 | Marker::I64 | Marker::F64 => scalar(8),
            Marker::FixStr(bytes) => scalar(bytes.into()),
            Marker::Str8 | Marker::Bin8 => sized(1, 0),
            Marker::Str16 | Marker::Bin16 => sized(2, 0),
            Marker::Str32 | Marker::Bin32 => sized(4, 0),
            Marker::FixExt1 => scalar(2),
            Marker::FixExt2 => scalar(3),
            Marker::FixExt4 => scalar(5),
            Marker::FixExt8 => scalar(9),
            Marker::FixExt16 => scalar(17),
            Marker::Ext8 => sized(1, 1),
            Marker::Ext16 => sized(2, 1),
            Marker::Ext32 => sized(4, 1),
            Marker::FixArray(values) => list(0, values.into()),
            Marker::Array16 => list(2, length(2)?),
            Marker::Array32 => list(4, length(4)?),
            Marker::FixMap(pairs) => map(0, pairs.into()),
            Marker::Map16 => map(2, length(2)?),
            Marker::Map32 => map(4, length(4)?),
        }
    }
}

#[cfg(test)]
mod tests;

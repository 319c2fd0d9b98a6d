//! Strict JSON: what two readers could understand differently is refused.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess};
use serde_json::{Map, Number, Value};

/// Why a text is not acceptable JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct JsonError {
    /// `event.incident.labels`; empty at the top.
    pub path: String,
    pub message: String,
}

/// Reads exactly one value. Refused are duplicate keys, anything after the
/// value, and nesting beyond `depth_max` objects and lists.
///
/// # Errors
/// Names the place and the reason.
pub fn parse(text: &[u8], depth_max: usize) -> Result<Value, JsonError> {
    let mut track = serde_path_to_error::Track::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = match (Strict { depth_left: depth_max }).deserialize(tracked) {
        Ok(value) => value,
        Err(error) => return Err(error_at(&track.path(), &error.to_string())),
    };
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(JsonError { path: String::new(), message: error.to_string() }),
    }
}

/// At most 256 bytes of `text`, whole characters, for messages that quote what a client sent.
pub fn shortened(text: &str) -> String {
    const BYTES_MAX: usize = crate::base::limits::LOGGED_VALUE_BYTES_MAX;
    if text.len() <= BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(BYTES_MAX - '…'.len_utf8());
    format!("{}…", &text[..end])
}

/// A path as people write it: empty at the top.
pub(super) fn error_at(path: &serde_path_to_error::Path, message: &str) -> JsonError {
    let path = path.to_string();
    let path = if path == "." { String::new() } else { shortened(&path) };
    let missing = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split_once('`'))
        .map(|(field, _)| field);
    match missing {
        Some(field) if path.is_empty() => {
            JsonError { path: field.to_owned(), message: "missing".to_owned() }
        }
        Some(field) => JsonError { path: format!("{path}.{field}"), message: "missing".to_owned() },
        None => JsonError { path, message: shortened(message) },
    }
}

/// Builds a value, counting depth and looking out for duplicate keys.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(E::custom("number out of range")),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let element = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(element)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let field = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                let message = format_args!("the key `{}` stands twice", shortened(&key));
                return Err(de::Error::custom(message));
            }
            let value = map.next_value_seed(field)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

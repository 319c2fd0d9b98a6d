//! Strict JSON: what two readers could understand differently is refused.

use serde::de::DeserializeSeed;
use serde_json::Value;

use super::strict::Strict;
use crate::event::FieldError;

/// Reads exactly one value. Refused are duplicate keys, anything after the
/// value, and nesting beyond `depth_max` objects and lists.
///
/// # Errors
/// Names the place and the reason.
pub fn parse(text: &[u8], depth_max: usize) -> Result<Value, FieldError> {
    let mut track = serde_path_to_error::Track::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let value = match (Strict { depth_left: depth_max }).deserialize(tracked) {
        Ok(value) => value,
        Err(error) => return Err(FieldError::from_serde(&track.path(), &error.to_string())),
    };
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(FieldError::new("", &error.to_string())),
    }
}

/// Whether a value nests more than `depth_max` objects and lists.
pub fn is_deeper_than(value: &Value, depth_max: usize) -> bool {
    let is_too_deep = |child: &Value| is_deeper_than(child, depth_max.saturating_sub(1));
    match value {
        Value::Array(values) => depth_max == 0 || values.iter().any(is_too_deep),
        Value::Object(object) => depth_max == 0 || object.values().any(is_too_deep),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes(), 4).unwrap_err().to_string()
    }

    #[test]
    fn numbers_and_texts_come_out_as_they_went_in() {
        let text =
            r#"[18446744073709551615,-9223372036854775808,0.1,1,1.0,1e300,"\u00e9\n",null,true]"#;
        let value = parse(text.as_bytes(), 4).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(value[0], u64::MAX);
        assert_eq!(value[1], i64::MIN);
        assert!(value[3].is_u64() && value[4].is_f64());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_with_its_place() {
        let error = parse(br#"{"a":{"b":1,"c":[],"b":2}}"#, 4).unwrap_err();
        assert!(error.path.starts_with('a'), "{error}");
        assert!(error.message.contains("`b` stands twice"), "{error}");
        assert!(message(r#"{"a":1,"\u0061":2}"#).contains("stands twice"));
    }

    #[test]
    fn depth_is_bounded_in_both_readers() {
        assert_eq!(parse(b"[[[[1]]]]", 4).unwrap(), json!([[[[1]]]]));
        assert!(message("[[[[[1]]]]]").contains("nested too deeply"));
        assert!(message(r#"{"a":{"a":{"a":{"a":[]}}}}"#).contains("nested too deeply"));
        assert!(message(&"[".repeat(100_000)).contains("nested too deeply"));
        assert!(!is_deeper_than(&json!([[[{"a": 1}]]]), 4));
        assert!(is_deeper_than(&json!([[[{"a": []}]]]), 4));
        assert!(is_deeper_than(&json!({}), 0) && !is_deeper_than(&json!(1), 0));
    }

    #[test]
    fn what_is_not_exactly_one_value_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "1e400",
            r#""\ud800""#,
            "\u{feff}{}",
            "nul",
            "{a:1}",
            "[1,]",
            "'a'",
            "01",
            "NaN",
            "\"\n\"",
        ] {
            assert!(parse(text.as_bytes(), 4).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"", 4).is_err());
    }
}

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::event::{EventType, IncidentState, Priority, Severity};

/// A filter as a client writes it. Values within a field are OR-ed, fields are
/// AND-ed; an empty field matches everything. Serialises with every one of the
/// first seven fields present, and the others where they are used. An unknown
/// field is refused, because ignoring it would match more than was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    #[serde(default, deserialize_with = "or_default")]
    pub event_types: Vec<EventType>,
    #[serde(default, deserialize_with = "or_default")]
    pub severities: Vec<Severity>,
    #[serde(default, deserialize_with = "or_default")]
    pub states: Vec<IncidentState>,
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Vec<StringMatcher>,
    /// An alert's `affected_services` count as its resources.
    #[serde(default, deserialize_with = "or_default")]
    pub affected_resources: Vec<StringMatcher>,
    /// Every label named must be there with a value that is wanted.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, LabelMatcher>,
    #[serde(default, deserialize_with = "or_default")]
    pub incident_ids: Vec<Uuid>,
    /// At least one of these filters must match, too.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<FilterSpec>,
    /// None of these filters may match.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<FilterSpec>,
    /// Events of this priority and of those above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_priority: Option<Priority>,
    /// What the title must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMatcher>,
}

/// Which strings are wanted. A plain string is that string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StringMatcher {
    /// `*` any characters, `?` one, `[a-z]` `[!a-z]` one of a set, `\` the next
    /// as it is. The whole string, case-sensitive.
    Glob(String),
    /// A regular expression, found anywhere unless anchored; case-sensitive
    /// unless it says `(?i)`.
    Regex(String),
    /// How the string begins; case-sensitive.
    Prefix(String),
    #[serde(untagged)]
    Exact(String),
}

/// Which values of a label are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelMatcher {
    One(StringMatcher),
    /// Any of these; never empty when it comes from outside.
    AnyOf(Vec<StringMatcher>),
    /// Whatever the value.
    Exists,
}

/// What the title of an incident or alert must say; case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextMatcher {
    Contains(String),
    /// As [`StringMatcher::Regex`].
    Regex(String),
}

impl From<&str> for StringMatcher {
    fn from(text: &str) -> Self {
        Self::Exact(text.to_owned())
    }
}

impl Serialize for LabelMatcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(matcher) => matcher.serialize(serializer),
            Self::AnyOf(matchers) => matchers.serialize(serializer),
            Self::Exists => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("exists", &true)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for StringMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringVisitor)
    }
}

impl<'de> Deserialize<'de> for LabelMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelVisitor)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum StringKey {
    Glob,
    Regex,
    Prefix,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum LabelKey {
    Glob,
    Regex,
    Prefix,
    Exists,
}

struct StringVisitor;

impl<'de> de::Visitor<'de> for StringVisitor {
    type Value = StringMatcher;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, or an object with `glob`, `regex` or `prefix`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StringMatcher, E> {
        Ok(StringMatcher::Exact(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StringMatcher, A::Error> {
        let matcher = match map.next_key()? {
            Some(StringKey::Glob) => StringMatcher::Glob(map.next_value()?),
            Some(StringKey::Regex) => StringMatcher::Regex(map.next_value()?),
            Some(StringKey::Prefix) => StringMatcher::Prefix(map.next_value()?),
            None => return Err(de::Error::custom("needs one of `glob`, `regex`, `prefix`")),
        };
        no_second_key(map)?;
        Ok(matcher)
    }
}

struct LabelVisitor;

impl<'de> de::Visitor<'de> for LabelVisitor {
    type Value = LabelMatcher;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "a string, an object with `glob`, `regex`, `prefix` or `exists`, or a list of strings \
             and patterns",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LabelMatcher, E> {
        Ok(LabelMatcher::One(StringMatcher::Exact(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LabelMatcher, A::Error> {
        let mut matchers = Vec::new();
        while let Some(matcher) = list.next_element()? {
            matchers.push(matcher);
        }
        if matchers.is_empty() {
            // Nothing could match it, and elsewhere an empty list matches everything.
            return Err(de::Error::custom("an empty list; for any value write {\"exists\": true}"));
        }
        Ok(LabelMatcher::AnyOf(matchers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelMatcher, A::Error> {
        let matcher = match map.next_key()? {
            Some(LabelKey::Glob) => LabelMatcher::One(StringMatcher::Glob(map.next_value()?)),
            Some(LabelKey::Regex) => LabelMatcher::One(StringMatcher::Regex(map.next_value()?)),
            Some(LabelKey::Prefix) => LabelMatcher::One(StringMatcher::Prefix(map.next_value()?)),
            Some(LabelKey::Exists) if map.next_value()? => LabelMatcher::Exists,
            Some(LabelKey::Exists) => {
                return Err(de::Error::custom(
                    "`exists` is true or left out; what must not be there goes into `none_of`",
                ));
            }
            None => {
                return Err(de::Error::custom("needs one of `glob`, `regex`, `prefix`, `exists`"));
            }
        };
        no_second_key(map)?;
        Ok(matcher)
    }
}

fn no_second_key<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    match map.next_key::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(de::Error::custom("a pattern has one key; several patterns are a list")),
    }
}

/// `null` is an absent field: some languages write it for an empty list.
fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(filters: Value) -> Result<FilterSpec, String> {
        serde_path_to_error::deserialize(filters)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))
    }

    #[test]
    fn the_normal_form_has_every_base_field() {
        let spec = read(json!({"severities": ["P0"], "any_of": [], "text": null})).unwrap();
        let normal = json!({
            "event_types": [], "severities": ["P0"], "states": [], "sources": [],
            "affected_resources": [], "labels": {}, "incident_ids": [],
        });
        assert_eq!(serde_json::to_value(&spec).unwrap(), normal);
    }

    #[test]
    fn patterns_come_out_as_they_went_in() {
        let mut filters = json!({
            "event_types": [], "severities": [], "states": [], "incident_ids": [],
            "sources": ["a", {"glob": "b*"}, {"regex": "^c"}, {"prefix": "d"}],
            "affected_resources": [{"glob": "?"}],
            "labels": {
                "a": "x", "b": {"glob": "y*"}, "c": {"exists": true}, "d": ["x", {"regex": "z"}],
            },
            "min_priority": "high", "text": {"contains": "slow"},
        });
        let nested = read(json!({"sources": ["e"]})).unwrap();
        filters["any_of"] = json!([nested]);
        filters["none_of"] = json!([nested, nested]);
        let spec = read(filters.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), filters);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_its_place() {
        for (filters, error) in [
            (json!({"severity": ["P0"]}), "severity: unknown field `severity`"),
            (json!({"sources": [{"glob": 1}]}), "sources[0].glob: invalid type"),
            (json!({"sources": ["a", {"globs": "x"}]}), "sources[1].globs: unknown field `globs`"),
            (json!({"sources": [{}]}), "sources[0]: needs one of"),
            (json!({"sources": [{"glob": "a", "prefix": "b"}]}), "sources[0]"),
            (json!({"sources": [["a"]]}), "sources[0]: invalid type: sequence"),
            (json!({"affected_resources": [{"exists": true}]}), "affected_resources[0].exists"),
            (json!({"labels": {"a": []}}), "labels.a: an empty list"),
            (json!({"labels": {"a": {"exists": false}}}), "labels.a"),
            (json!({"labels": {"a": ["x", {"exists": true}]}}), "labels.a[1].exists"),
            (json!({"labels": {"a": null}}), "labels.a: invalid type: null"),
            (json!({"text": {"glob": "a"}}), "text"),
            (json!({"text": "a"}), "text"),
            (json!({"text": {"contains": "a", "regex": "b"}}), "text"),
            (json!({"min_priority": "urgent"}), "min_priority: `urgent` is not one of critical"),
            (json!({"any_of": [{}, {"none_of": [{"x": 1}]}]}), "any_of[1].none_of[0].x: unknown"),
        ] {
            let refused = read(filters).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}

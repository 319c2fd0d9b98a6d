use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::event::{EventType, IncidentState, Severity};

/// A filter as a client writes it. Values within a field are OR-ed, fields are
/// AND-ed; an empty field matches everything. Serialises with every field
/// present; an unknown field is refused, because ignoring it would match more
/// than was asked for.
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
    pub sources: Vec<String>,
    /// An alert's `affected_services` count as its resources.
    #[serde(default, deserialize_with = "or_default")]
    pub affected_resources: Vec<String>,
    /// Every pair must be among the event's labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub incident_ids: Vec<Uuid>,
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_normal_form_has_every_field() {
        let spec: FilterSpec = serde_json::from_value(json!({"severities": ["P0"]})).unwrap();
        let normal = json!({
            "event_types": [], "severities": ["P0"], "states": [], "sources": [],
            "affected_resources": [], "labels": {}, "incident_ids": [],
        });
        assert_eq!(serde_json::to_value(&spec).unwrap(), normal);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = serde_json::from_value::<FilterSpec>(json!({"severity": ["P0"]})).unwrap_err();
        assert!(error.to_string().contains("unknown field `severity`"), "{error}");
    }
}

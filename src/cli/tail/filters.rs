//! From flags to the filters of the subscription.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::event::{EventType, IncidentState, Priority, Severity};

/// Which events are asked for.
#[derive(Debug, Args)]
pub struct Filters {
    /// Only events of these types, such as incident_created
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',',
        value_parser = names(&EventType::ALL.map(EventType::as_str)), hide_possible_values = true)]
    types: Vec<String>,
    /// Only these severities, P0 to P4
    #[arg(long = "severity", value_name = "SEVERITY", value_delimiter = ',',
        value_parser = names(&Severity::ALL.map(Severity::as_str)), hide_possible_values = true)]
    severities: Vec<String>,
    /// Only incidents in these states, such as Investigating
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',',
        value_parser = names(&IncidentState::ALL.map(IncidentState::as_str)),
        hide_possible_values = true)]
    states: Vec<String>,
    /// Only from these sources, such as prometheus or 'api-*'
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only what affects these resources or services, such as db-1 or 'db-?'
    #[arg(long = "resource", value_name = "NAME")]
    resources: Vec<String>,
    /// Only with labels of all these keys, such as team=core or 'team=*'
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Only about these incidents
    #[arg(long = "incident", value_name = "UUID", value_delimiter = ',')]
    incidents: Vec<Uuid>,
    /// Only this priority and those above: critical, high, normal or low
    #[arg(long, value_name = "PRIORITY",
        value_parser = names(&Priority::ALL.map(Priority::as_str)), hide_possible_values = true)]
    min_priority: Option<String>,
    /// Only incidents and alerts with this in their titles
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Only what these filters of the protocol want, too
    #[arg(long, value_name = "JSON", value_parser = parse_filters)]
    filter: Option<Map<String, Value>>,
}

impl Filters {
    /// As the protocol writes them.
    pub fn to_json(&self) -> Value {
        let mut filters = Map::new();
        let mut put = |field: &str, values: Vec<Value>| {
            if !values.is_empty() {
                filters.insert(field.into(), Value::Array(values));
            }
        };
        let exactly = |values: &[String]| values.iter().map(|value| json!(value)).collect();
        let perhaps_globs = |values: &[String]| values.iter().map(|value| string(value)).collect();
        put("event_types", exactly(&self.types));
        put("severities", exactly(&self.severities));
        put("states", exactly(&self.states));
        put("sources", perhaps_globs(&self.sources));
        put("affected_resources", perhaps_globs(&self.resources));
        put("incident_ids", self.incidents.iter().map(|id| json!(id)).collect());
        if !self.labels.is_empty() {
            filters.insert("labels".into(), Value::Object(self.labels()));
        }
        if let Some(priority) = &self.min_priority {
            filters.insert("min_priority".into(), json!(priority));
        }
        if let Some(title) = &self.title {
            filters.insert("text".into(), json!({ "contains": title }));
        }
        match &self.filter {
            Some(filter) if filters.is_empty() => filters = filter.clone(),
            // One alternative is a second condition.
            Some(filter) => drop(filters.insert("any_of".into(), json!([filter]))),
            None => {}
        }
        Value::Object(filters)
    }

    /// Values of one key are alternatives.
    fn labels(&self) -> Map<String, Value> {
        let mut labels = Map::new();
        for (key, value) in &self.labels {
            let value = string(value);
            match labels.get_mut(key) {
                None => drop(labels.insert(key.clone(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        labels
    }
}

/// One of these names; another is refused with the nearest.
pub fn names(names: &[&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// Reads `key=value`.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("a label is written key=value".into()),
    }
}

fn parse_filters(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("filters are a JSON object: {error}"))
}

/// A value that looks like a pattern is one.
fn string(value: &str) -> Value {
    if value.contains(['*', '?', '[']) { json!({ "glob": value }) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::filter::FilterSpec;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filters: Filters,
    }

    fn filters(line: &[&str]) -> Value {
        let words = ["tail"].iter().chain(line);
        let filters = Line::try_parse_from(words).expect("valid").filters.to_json();
        let spec: FilterSpec = serde_json::from_value(filters.clone()).expect("understood");
        spec.compile().expect("usable");
        filters
    }

    #[test]
    fn without_flags_everything_is_asked_for() {
        assert_eq!(filters(&[]), json!({}));
    }

    #[test]
    fn each_flag_is_a_field_of_the_filter() {
        let line = "--type escalated,incident_created --severity P0 --severity P1 --state Triaged \
                    --source api --resource db --label team=sre --label a=b=c \
                    --incident 018f0000-0000-7000-8000-000000000001 --min-priority high \
                    --title slow";
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = json!({
            "event_types": ["escalated", "incident_created"],
            "severities": ["P0", "P1"],
            "states": ["Triaged"],
            "sources": ["api"],
            "affected_resources": ["db"],
            "labels": {"team": "sre", "a": "b=c"},
            "incident_ids": ["018f0000-0000-7000-8000-000000000001"],
            "min_priority": "high",
            "text": {"contains": "slow"},
        });
        assert_eq!(filters(&words), expected);
    }

    #[test]
    fn values_that_look_like_patterns_are_patterns() {
        let line = "--source api-* --source web --resource db-? --label env=[pt]* --label team=a \
                    --label team=b* --label team=c --title a*";
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = json!({
            "sources": [{"glob": "api-*"}, "web"],
            "affected_resources": [{"glob": "db-?"}],
            "labels": {"env": {"glob": "[pt]*"}, "team": ["a", {"glob": "b*"}, "c"]},
            "text": {"contains": "a*"},
        });
        assert_eq!(filters(&words), expected);
    }

    #[test]
    fn filters_in_json_are_taken_as_they_are_and_hold_beside_other_flags() {
        let json = r#"{"none_of": [{"sources": ["a*"]}]}"#;
        let stated = json!({"none_of": [{"sources": ["a*"]}]});
        assert_eq!(filters(&["--filter", json]), stated);
        let both = json!({"severities": ["P0"], "any_of": [stated]});
        assert_eq!(filters(&["--filter", json, "--severity", "P0"]), both);
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            ["--label", "team"],
            ["--label", "=x"],
            ["--incident", "7"],
            ["--filter", "[]"],
            ["--filter", "{"],
            ["--min-priority", "urgent"],
        ] {
            let words = ["tail"].iter().chain(&line);
            assert!(Line::try_parse_from(words).is_err(), "{line:?}");
        }
    }
}

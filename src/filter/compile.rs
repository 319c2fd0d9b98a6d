use uuid::Uuid;

use super::FilterSpec;
use crate::base::limits::{FILTER_TERMS_MAX, FILTER_VALUE_BYTES_MAX};
use crate::event::{Attributes, EventType, IncidentState, Severity};

/// A filter ready to be evaluated: sets of names are bits, lists are sorted and
/// free of duplicates, so that filters which mean the same are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Bits by [`EventType::index`]; zero matches every type.
    event_types: u16,
    /// Bits by [`Severity::index`]; zero matches even an event without one.
    severities: u8,
    /// Bits by [`IncidentState::index`]; zero matches even an event without one.
    states: u8,
    sources: Box<[Box<str>]>,
    affected_resources: Box<[Box<str>]>,
    labels: Box<[(Box<str>, Box<str>)]>,
    incident_ids: Box<[Uuid]>,
}

const _: () = assert!(EventType::ALL.len() <= u16::BITS as usize);
const _: () = assert!(Severity::ALL.len() <= u8::BITS as usize);
const _: () = assert!(IncidentState::ALL.len() <= u8::BITS as usize);

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FilterError {
    /// From the filter's own object on: `sources[3]`; empty for the filter as a whole.
    pub path: String,
    pub message: String,
}

impl FilterSpec {
    /// # Errors
    /// When the filter has more than `FILTER_TERMS_MAX` values, or one of more
    /// than `FILTER_VALUE_BYTES_MAX` bytes.
    pub fn compile(&self) -> Result<Filter, FilterError> {
        self.check_limits()?;
        let event_types = bits(self.event_types.iter().map(|kind| kind.index()));
        // Every event has a type: all of them listed is the same as none.
        let all_types = bits(0..EventType::ALL.len());
        Ok(Filter {
            event_types: if event_types == all_types { 0 } else { event_types },
            severities: bits(self.severities.iter().map(|severity| severity.index())) as u8,
            states: bits(self.states.iter().map(|state| state.index())) as u8,
            sources: sorted_texts(&self.sources),
            affected_resources: sorted_texts(&self.affected_resources),
            labels: self
                .labels
                .iter()
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
            incident_ids: sorted(self.incident_ids.clone()),
        })
    }

    fn check_limits(&self) -> Result<(), FilterError> {
        let terms = self.event_types.len()
            + self.severities.len()
            + self.states.len()
            + self.sources.len()
            + self.affected_resources.len()
            + self.labels.len()
            + self.incident_ids.len();
        if terms > FILTER_TERMS_MAX {
            let message = format!("{terms} values, of at most {FILTER_TERMS_MAX}");
            return Err(FilterError { path: String::new(), message });
        }
        for (field, values) in
            [("sources", &self.sources), ("affected_resources", &self.affected_resources)]
        {
            for (place, value) in values.iter().enumerate() {
                check_value(value, || format!("{field}[{place}]"))?;
            }
        }
        for (key, value) in &self.labels {
            check_value(key, || "labels".to_owned())?;
            check_value(value, || format!("labels.{key}"))?;
        }
        Ok(())
    }
}

impl Filter {
    /// Whether the event is wanted. A filter on an attribute that the event
    /// does not carry does not match.
    pub fn matches(&self, event: &Attributes<'_>) -> bool {
        (self.event_types == 0 || self.event_types & (1 << event.event_type.index()) != 0)
            && (self.severities == 0
                || event
                    .severity
                    .is_some_and(|severity| self.severities & (1 << severity.index()) != 0))
            && (self.states == 0
                || event.state.is_some_and(|state| self.states & (1 << state.index()) != 0))
            && self.matches_lists(event)
    }

    fn matches_lists(&self, event: &Attributes<'_>) -> bool {
        (self.incident_ids.is_empty()
            || event.incident_id.is_some_and(|id| self.incident_ids.binary_search(&id).is_ok()))
            && (self.sources.is_empty()
                || event.source.is_some_and(|source| contains(&self.sources, source)))
            && (self.affected_resources.is_empty()
                || event.affected_resources.is_some_and(|resources| {
                    resources.iter().any(|resource| contains(&self.affected_resources, resource))
                }))
            && (self.labels.is_empty()
                || event.labels.is_some_and(|labels| {
                    self.labels.iter().all(|(key, value)| {
                        labels.get(&**key).is_some_and(|label| **label == **value)
                    })
                }))
    }
}

fn check_value(value: &str, path: impl FnOnce() -> String) -> Result<(), FilterError> {
    if value.len() <= FILTER_VALUE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("{} bytes, of at most {FILTER_VALUE_BYTES_MAX}", value.len());
    Err(FilterError { path: path(), message })
}

fn bits(indices: impl Iterator<Item = usize>) -> u16 {
    indices.fold(0, |bits, index| bits | 1 << index)
}

fn sorted_texts(texts: &[String]) -> Box<[Box<str>]> {
    sorted(texts.iter().map(|text| text.as_str().into()).collect())
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Box<[T]> {
    values.sort_unstable();
    values.dedup();
    values.into_boxed_slice()
}

fn contains(sorted: &[Box<str>], text: &str) -> bool {
    sorted.binary_search_by(|value| (**value).cmp(text)).is_ok()
}

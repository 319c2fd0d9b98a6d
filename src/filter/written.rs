//! A compiled filter as a client would write it.

use super::compile::{LabelTest, More, Strings};
use super::pattern::Pattern;
use super::{Filter, FilterSpec, LabelMatcher, StringMatcher, TextMatcher};
use crate::event::{EventType, IncidentState, Priority, Severity};

impl Filter {
    /// What it was compiled from, or something that compiles to the same: lists are sorted, and
    /// what says nothing is left out.
    pub fn spec(&self) -> FilterSpec {
        let nested = |filters: &[Self]| filters.iter().map(Self::spec).collect();
        let none = More::default();
        let more = self.more.as_deref().unwrap_or(&none);
        FilterSpec {
            event_types: named(&EventType::ALL, self.event_types),
            severities: named(&Severity::ALL, self.severities.into()),
            states: named(&IncidentState::ALL, self.states.into()),
            sources: self.sources.matchers(),
            affected_resources: self.affected_resources.matchers(),
            labels: self.labels.iter().map(|(key, test)| (key.to_string(), test.spec())).collect(),
            incident_ids: self.incident_ids.to_vec(),
            any_of: nested(&more.any_of),
            none_of: nested(&more.none_of),
            // All from the most urgent down to it.
            min_priority: named(&Priority::ALL, self.priorities.into()).pop(),
            text: more.text.as_ref().map(text),
        }
    }
}

impl Strings {
    fn matchers(&self) -> Vec<StringMatcher> {
        let exact = self.exact.iter().map(|text| StringMatcher::Exact(text.to_string()));
        exact.chain(self.patterns.iter().map(string)).collect()
    }
}

impl LabelTest {
    fn spec(&self) -> LabelMatcher {
        match self {
            Self::Exists => LabelMatcher::Exists,
            Self::AnyOf(strings) => {
                let mut matchers = strings.matchers();
                match matchers.pop() {
                    Some(only) if matchers.is_empty() => LabelMatcher::One(only),
                    last => LabelMatcher::AnyOf(matchers.into_iter().chain(last).collect()),
                }
            }
        }
    }
}

fn string(pattern: &Pattern) -> StringMatcher {
    match pattern {
        Pattern::Prefix(text) => StringMatcher::Prefix(text.to_string()),
        Pattern::Glob(glob) => StringMatcher::Glob(glob.as_str().to_owned()),
        Pattern::Regex(regex) => StringMatcher::Regex(regex.as_str().to_owned()),
        Pattern::Contains(_) => unreachable!("only a title is searched for a part"),
    }
}

fn text(pattern: &Pattern) -> TextMatcher {
    match pattern {
        Pattern::Contains(text) => TextMatcher::Contains(text.to_string()),
        Pattern::Regex(regex) => TextMatcher::Regex(regex.as_str().to_owned()),
        Pattern::Prefix(_) | Pattern::Glob(_) => unreachable!("a title is not tested so"),
    }
}

/// Those whose bits are set.
fn named<T: Copy>(all: &[T], bits: u16) -> Vec<T> {
    let is_set = |place: &usize| bits & 1 << place != 0;
    (0..all.len()).filter(is_set).map(|place| all[place]).collect()
}

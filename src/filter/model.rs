//! What filters mean, written down a second time and without any cleverness, to
//! compare with.

use std::collections::BTreeMap;

use regex_automata::nfa::thompson::pikevm::PikeVM;
use uuid::Uuid;

use super::{FilterSpec, LabelMatcher, StringMatcher, TextMatcher};
use crate::event::{Attributes, EventType, IncidentState, Priority, Severity};

/// An event's attributes, owned.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub event_type: EventType,
    pub priority: Priority,
    pub severity: Option<Severity>,
    pub state: Option<IncidentState>,
    pub source: Option<String>,
    pub title: Option<String>,
    pub affected_resources: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub incident_id: Option<Uuid>,
}

impl Sample {
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            event_type: self.event_type,
            priority: self.priority,
            severity: self.severity,
            state: self.state,
            source: self.source.as_deref(),
            title: self.title.as_deref(),
            affected_resources: self.affected_resources.as_deref(),
            labels: self.labels.as_ref(),
            incident_id: self.incident_id,
        }
    }
}

/// What the words of the protocol say.
pub(super) fn is_wanted(spec: &FilterSpec, event: &Sample) -> bool {
    fn any<T: PartialEq>(wanted: &[T], value: Option<&T>) -> bool {
        wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
    }
    fn any_string<'a>(
        wanted: &[StringMatcher],
        mut values: impl Iterator<Item = &'a String>,
    ) -> bool {
        wanted.is_empty()
            || values.any(|value| wanted.iter().any(|matcher| accepts(matcher, value)))
    }
    any(&spec.event_types, Some(&event.event_type))
        && any(&spec.severities, event.severity.as_ref())
        && any(&spec.states, event.state.as_ref())
        && any(&spec.incident_ids, event.incident_id.as_ref())
        && any_string(&spec.sources, event.source.iter())
        && any_string(&spec.affected_resources, event.affected_resources.iter().flatten())
        && spec.labels.iter().all(|(key, matcher)| {
            let value = event.labels.as_ref().and_then(|labels| labels.get(key));
            value.is_some_and(|value| match matcher {
                LabelMatcher::Exists => true,
                LabelMatcher::One(matcher) => accepts(matcher, value),
                LabelMatcher::AnyOf(all) => all.iter().any(|matcher| accepts(matcher, value)),
            })
        })
        && spec.min_priority.is_none_or(|least| event.priority <= least)
        && spec.text.as_ref().is_none_or(|text| {
            event.title.as_ref().is_some_and(|title| match text {
                TextMatcher::Contains(part) => title.contains(part),
                TextMatcher::Regex(regex) => expression_finds(regex, title),
            })
        })
        && (spec.any_of.is_empty() || spec.any_of.iter().any(|spec| is_wanted(spec, event)))
        && !spec.none_of.iter().any(|spec| is_wanted(spec, event))
}

fn accepts(matcher: &StringMatcher, value: &str) -> bool {
    match matcher {
        StringMatcher::Exact(text) => text == value,
        StringMatcher::Prefix(prefix) => value.starts_with(prefix),
        StringMatcher::Regex(text) => expression_finds(text, value),
        StringMatcher::Glob(text) => glob_accepts(text, value),
    }
}

/// By the plainest of the engines, which keeps a set of states and nothing else.
fn expression_finds(text: &str, value: &str) -> bool {
    match PikeVM::new(text) {
        Ok(engine) => engine.is_match(&mut engine.create_cache(), value),
        Err(error) => panic!("{text} was compiled once: {error}"),
    }
}

/// By dynamic programming over the positions that are reached.
fn glob_accepts(pattern: &str, value: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let value: Vec<char> = value.chars().collect();
    // After the pattern so far: which lengths of the value it can stand for.
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            let first = reached.iter().position(|&it| it).unwrap_or(reached.len());
            reached[first..].fill(true);
            at += 1;
            continue;
        }
        let (accepted, length) = glob_element(&pattern[at..]);
        let mut next = vec![false; value.len() + 1];
        for (end, character) in value.iter().enumerate() {
            next[end + 1] = reached[end] && accepted(character);
        }
        reached = next;
        at += length;
    }
    reached[value.len()]
}

type Accepts = Box<dyn Fn(&char) -> bool>;

/// What one element accepts, and how many characters of the pattern it takes.
fn glob_element(pattern: &[char]) -> (Accepts, usize) {
    match pattern {
        ['?', ..] => (Box::new(|_| true), 1),
        ['\\', literal, ..] => {
            let literal = *literal;
            (Box::new(move |it| *it == literal), 2)
        }
        ['[', ..] => {
            let negated = matches!(pattern[1], '!' | '^');
            let first = 1 + usize::from(negated);
            let (mut items, mut at) = (Vec::new(), first);
            while at == first || pattern[at] != ']' {
                at += usize::from(pattern[at] == '\\');
                let low = pattern[at];
                at += 1;
                let mut high = low;
                if pattern[at] == '-' && pattern[at + 1] != ']' {
                    at += 1 + usize::from(pattern[at + 1] == '\\');
                    high = pattern[at];
                    at += 1;
                }
                items.push(low..=high);
            }
            let accepted = move |it: &char| items.iter().any(|range| range.contains(it)) != negated;
            (Box::new(accepted), at + 1)
        }
        _ => {
            let literal = pattern[0];
            (Box::new(move |it| *it == literal), 1)
        }
    }
}

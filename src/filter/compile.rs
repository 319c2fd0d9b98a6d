use uuid::Uuid;

use super::glob::Glob;
use super::pattern::{Pattern, Regex};
use super::{FilterSpec, LabelMatcher, StringMatcher, TextMatcher};
use crate::base::limits::{
    FILTER_DEPTH_MAX, FILTER_PATTERN_BYTES_MAX, FILTER_PATTERNS_MAX, FILTER_PROGRAMS_BYTES_MAX,
    FILTER_REGEXES_MAX, FILTER_TERMS_MAX, FILTER_VALUE_BYTES_MAX,
};
use crate::event::{EventType, IncidentState, Priority, Severity};

/// A filter ready to be evaluated: sets of names are bits, lists are sorted and
/// free of duplicates, so that filters which mean the same are usually equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    /// Bits by [`EventType::index`]; zero matches every type.
    pub(super) event_types: u16,
    /// Bits by [`Severity::index`]; zero matches even an event without one.
    pub(super) severities: u8,
    /// Bits by [`IncidentState::index`]; zero matches even an event without one.
    pub(super) states: u8,
    /// Bits by [`Priority::index`]; zero matches every priority.
    pub(super) priorities: u8,
    pub(super) sources: Strings,
    pub(super) affected_resources: Strings,
    pub(super) labels: LabelTests,
    pub(super) incident_ids: Box<[Uuid]>,
    /// What few filters have, apart so that the others stay small; never empty.
    pub(super) more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct More {
    pub(super) text: Option<Pattern>,
    /// Where there are any, one of them must match.
    pub(super) any_of: Box<[Filter]>,
    pub(super) none_of: Box<[Filter]>,
}

/// Strings of which one is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Strings {
    pub(super) exact: Box<[Box<str>]>,
    pub(super) patterns: Box<[Pattern]>,
}

/// By key; each must hold.
pub(super) type LabelTests = Box<[(Box<str>, LabelTest)]>;

/// What is wanted of one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LabelTest {
    Exists,
    AnyOf(Strings),
}

const _: () = assert!(EventType::ALL.len() <= u16::BITS as usize);
const _: () = assert!(Severity::ALL.len() <= u8::BITS as usize);
const _: () = assert!(IncidentState::ALL.len() <= u8::BITS as usize);
const _: () = assert!(Priority::ALL.len() <= u8::BITS as usize);

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FilterError {
    /// From the filter's own object on: `any_of[1].sources[3].regex`; empty for
    /// the filter as a whole.
    pub path: String,
    pub message: String,
}

impl FilterSpec {
    /// # Errors
    /// When a pattern is none, or the filter is beyond one of the limits
    /// `base::limits::FILTER_*`.
    pub fn compile(&self) -> Result<Filter, FilterError> {
        self.check_depth("", FILTER_DEPTH_MAX)?;
        let terms = self.terms();
        if terms > FILTER_TERMS_MAX {
            return Err(refused("", format!("{terms} values, of at most {FILTER_TERMS_MAX}")));
        }
        Compiler::default().filter(self, "")
    }

    fn check_depth(&self, path: &str, depth_left: usize) -> Result<(), FilterError> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            let message = format!("filters within each other, at most {FILTER_DEPTH_MAX} deep");
            return Err(refused(path, message));
        };
        for (field, filters) in [("any_of", &self.any_of), ("none_of", &self.none_of)] {
            for (place, filter) in filters.iter().enumerate() {
                filter.check_depth(&joined(path, &format!("{field}[{place}]")), depth_left)?;
            }
        }
        Ok(())
    }

    /// Values of every field, nested filters and theirs included.
    fn terms(&self) -> usize {
        let labels = self.labels.values().map(|matcher| match matcher {
            LabelMatcher::One(_) | LabelMatcher::Exists => 1,
            LabelMatcher::AnyOf(matchers) => matchers.len(),
        });
        let nested = self.any_of.iter().chain(&self.none_of).map(|filter| 1 + filter.terms());
        self.event_types.len()
            + self.severities.len()
            + self.states.len()
            + self.sources.len()
            + self.affected_resources.len()
            + labels.sum::<usize>()
            + self.incident_ids.len()
            + usize::from(self.min_priority.is_some())
            + usize::from(self.text.is_some())
            + nested.sum::<usize>()
    }
}

/// Counts what a whole filter uses, nested ones included.
#[derive(Default)]
struct Compiler {
    patterns: usize,
    regexes: usize,
    program_bytes: usize,
}

impl Compiler {
    fn filter(&mut self, spec: &FilterSpec, path: &str) -> Result<Filter, FilterError> {
        let event_types = bits(spec.event_types.iter().map(|kind| kind.index()));
        let priorities = spec.min_priority.map_or(0, |least| bits(0..=least.index()));
        let filter = Filter {
            // Every event has a type and a priority: all of them is the same as none.
            event_types: unless_all(event_types, EventType::ALL.len()),
            severities: bits(spec.severities.iter().map(|severity| severity.index())) as u8,
            states: bits(spec.states.iter().map(|state| state.index())) as u8,
            priorities: unless_all(priorities, Priority::ALL.len()) as u8,
            sources: self.strings(&spec.sources, &joined(path, "sources"))?,
            affected_resources: self
                .strings(&spec.affected_resources, &joined(path, "affected_resources"))?,
            labels: self.labels(spec, path)?,
            incident_ids: sorted(spec.incident_ids.clone()),
            more: None,
        };
        let more = More {
            text: spec.text.as_ref().map(|text| self.text(text, path)).transpose()?,
            any_of: self.alternatives(spec, path)?,
            none_of: sorted(self.nested(&spec.none_of, path, "none_of")?),
        };
        Ok(filter.with(more))
    }

    fn alternatives(
        &mut self,
        spec: &FilterSpec,
        path: &str,
    ) -> Result<Box<[Filter]>, FilterError> {
        let alternatives = self.nested(&spec.any_of, path, "any_of")?;
        // One that matches everything leaves nothing to ask.
        let is_moot = alternatives.contains(&Filter::default());
        Ok(if is_moot { Box::default() } else { sorted(alternatives) })
    }

    fn nested(
        &mut self,
        specs: &[FilterSpec],
        path: &str,
        field: &str,
    ) -> Result<Vec<Filter>, FilterError> {
        let specs = specs.iter().enumerate();
        specs
            .map(|(place, spec)| self.filter(spec, &joined(path, &format!("{field}[{place}]"))))
            .collect()
    }

    fn labels(&mut self, spec: &FilterSpec, path: &str) -> Result<LabelTests, FilterError> {
        let mut labels = Vec::with_capacity(spec.labels.len());
        for (key, matcher) in &spec.labels {
            check_value(key, &joined(path, "labels"))?;
            let path = joined(path, &format!("labels.{key}"));
            let test = match matcher {
                LabelMatcher::Exists => LabelTest::Exists,
                LabelMatcher::One(matcher) => {
                    let mut strings = StringLists::default();
                    self.string(matcher, &path, &mut strings)?;
                    LabelTest::AnyOf(strings.sorted())
                }
                LabelMatcher::AnyOf(matchers) => LabelTest::AnyOf(self.strings(matchers, &path)?),
            };
            labels.push((key.as_str().into(), test));
        }
        Ok(labels.into())
    }

    fn strings(&mut self, matchers: &[StringMatcher], path: &str) -> Result<Strings, FilterError> {
        let mut strings = StringLists::default();
        for (place, matcher) in matchers.iter().enumerate() {
            self.string(matcher, &format!("{path}[{place}]"), &mut strings)?;
        }
        Ok(strings.sorted())
    }

    fn string(
        &mut self,
        matcher: &StringMatcher,
        path: &str,
        strings: &mut StringLists,
    ) -> Result<(), FilterError> {
        let pattern = match matcher {
            StringMatcher::Exact(text) => {
                check_value(text, path)?;
                strings.exact.push(text.as_str().into());
                return Ok(());
            }
            StringMatcher::Prefix(text) => {
                self.check_pattern(text, &joined(path, "prefix"))?;
                Pattern::Prefix(text.as_str().into())
            }
            StringMatcher::Glob(text) => {
                let path = joined(path, "glob");
                self.check_pattern(text, &path)?;
                Pattern::Glob(Glob::new(text).map_err(|reason| refused(&path, reason))?)
            }
            StringMatcher::Regex(text) => self.regex(text, &joined(path, "regex"))?,
        };
        strings.patterns.push(pattern);
        Ok(())
    }

    fn text(&mut self, matcher: &TextMatcher, path: &str) -> Result<Pattern, FilterError> {
        match matcher {
            TextMatcher::Regex(text) => self.regex(text, &joined(path, "text.regex")),
            TextMatcher::Contains(text) => {
                self.check_pattern(text, &joined(path, "text.contains"))?;
                Ok(Pattern::Contains(text.as_str().into()))
            }
        }
    }

    fn regex(&mut self, text: &str, path: &str) -> Result<Pattern, FilterError> {
        self.check_pattern(text, path)?;
        self.regexes += 1;
        if self.regexes > FILTER_REGEXES_MAX {
            let message = format!("more than {FILTER_REGEXES_MAX} regular expressions");
            return Err(refused(path, message));
        }
        let regex = Regex::new(text).map_err(|reason| refused(path, reason))?;
        self.program_bytes += regex.program_bytes();
        if self.program_bytes > FILTER_PROGRAMS_BYTES_MAX {
            let message = format!(
                "the expressions take more than {FILTER_PROGRAMS_BYTES_MAX} bytes when compiled"
            );
            return Err(refused(path, message));
        }
        Ok(Pattern::Regex(regex))
    }

    fn check_pattern(&mut self, text: &str, path: &str) -> Result<(), FilterError> {
        self.patterns += 1;
        if self.patterns > FILTER_PATTERNS_MAX {
            return Err(refused(path, format!("more than {FILTER_PATTERNS_MAX} patterns")));
        }
        check_bytes(text, FILTER_PATTERN_BYTES_MAX, path)
    }
}

impl Filter {
    /// Itself with `more`; nothing but one alternative is that alternative.
    fn with(mut self, mut more: More) -> Self {
        let is_all = self == Self::default() && more.text.is_none() && more.none_of.is_empty();
        if is_all && let [only] = &mut *more.any_of {
            return std::mem::take(only);
        }
        self.more = (more != More::default()).then(|| Box::new(more));
        self
    }
}

#[derive(Default)]
struct StringLists {
    exact: Vec<Box<str>>,
    patterns: Vec<Pattern>,
}

impl StringLists {
    fn sorted(self) -> Strings {
        Strings { exact: sorted(self.exact), patterns: sorted(self.patterns) }
    }
}

fn check_value(value: &str, path: &str) -> Result<(), FilterError> {
    check_bytes(value, FILTER_VALUE_BYTES_MAX, path)
}

fn check_bytes(value: &str, bytes_max: usize, path: &str) -> Result<(), FilterError> {
    if value.len() <= bytes_max {
        return Ok(());
    }
    Err(refused(path, format!("{} bytes, of at most {bytes_max}", value.len())))
}

fn refused(path: &str, message: impl Into<String>) -> FilterError {
    FilterError { path: path.to_owned(), message: message.into() }
}

fn joined(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn bits(indices: impl Iterator<Item = usize>) -> u16 {
    indices.fold(0, |bits, index| bits | 1 << index)
}

fn unless_all(set: u16, count: usize) -> u16 {
    if set == bits(0..count) { 0 } else { set }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Box<[T]> {
    values.sort_unstable();
    values.dedup();
    values.into_boxed_slice()
}

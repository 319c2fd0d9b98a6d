use super::Filter;
use super::compile::{LabelTest, More, Strings};
use crate::event::Attributes;

impl Filter {
    /// Whether the event is wanted. A filter on an attribute that the event
    /// does not carry does not match.
    pub fn matches(&self, event: &Attributes<'_>) -> bool {
        self.matches_names(event)
            && self.matches_values(event)
            && self.more.as_ref().is_none_or(|more| more.matches(event))
    }

    fn matches_names(&self, event: &Attributes<'_>) -> bool {
        let has = |set: u16, index: usize| set & (1 << index) != 0;
        (self.event_types == 0 || has(self.event_types, event.event_type.index()))
            && (self.priorities == 0 || has(self.priorities.into(), event.priority.index()))
            && (self.severities == 0
                || event.severity.is_some_and(|it| has(self.severities.into(), it.index())))
            && (self.states == 0
                || event.state.is_some_and(|it| has(self.states.into(), it.index())))
    }

    fn matches_values(&self, event: &Attributes<'_>) -> bool {
        (self.incident_ids.is_empty()
            || event.incident_id.is_some_and(|id| self.incident_ids.binary_search(&id).is_ok()))
            && (self.sources.is_empty()
                || event.source.is_some_and(|source| self.sources.matches(source)))
            && (self.affected_resources.is_empty()
                || event.affected_resources.is_some_and(|resources| {
                    resources.iter().any(|resource| self.affected_resources.matches(resource))
                }))
            && (self.labels.is_empty()
                || event.labels.is_some_and(|labels| {
                    self.labels.iter().all(|(key, test)| {
                        labels.get(&**key).is_some_and(|value| test.matches(value))
                    })
                }))
    }
}

impl More {
    fn matches(&self, event: &Attributes<'_>) -> bool {
        let Self { text, any_of, none_of } = self;
        text.as_ref().is_none_or(|text| event.title.is_some_and(|title| text.matches(title)))
            && (any_of.is_empty() || any_of.iter().any(|filter| filter.matches(event)))
            && !none_of.iter().any(|filter| filter.matches(event))
    }
}

impl Strings {
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    fn matches(&self, value: &str) -> bool {
        self.exact.binary_search_by(|wanted| (**wanted).cmp(value)).is_ok()
            || self.patterns.iter().any(|pattern| pattern.matches(value))
    }
}

impl LabelTest {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::AnyOf(strings) => strings.matches(value),
        }
    }
}

use serde_json::{Map, Value, json};

use super::Random;
use super::fact::{Fact, PRIORITIES, SOURCES};

/// What a subscription wants, said twice: as a filter, and plainly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// A bit for each source.
    sources: u8,
    /// The lowest priority that it wants.
    lowest: usize,
    form: Form,
}

/// How its filter names the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    List,
    Patterns,
    Alternatives,
    Exclusion,
}

impl Interest {
    const ALL_SOURCES: u8 = (1 << SOURCES.len()) - 1;

    pub fn any(random: &mut Random) -> Self {
        let sources = 1 + random.below(usize::from(Self::ALL_SOURCES)) as u8;
        Self::of(sources, random)
    }

    /// So many that share no source: what comes belongs to one of them only.
    pub fn disjoint(count: usize, random: &mut Random) -> Vec<Self> {
        assert!(count <= SOURCES.len());
        let mut owners: Vec<usize> = (0..count).collect();
        owners.extend((count..SOURCES.len()).map(|_| random.below(count)));
        for place in (1..owners.len()).rev() {
            owners.swap(place, random.below(place + 1));
        }
        let of = |owner: usize| {
            let mine = owners.iter().enumerate().filter(|(_, it)| **it == owner);
            mine.fold(0, |sources, (source, _)| sources | 1 << source)
        };
        (0..count).map(|owner| Self::of(of(owner), random)).collect()
    }

    /// The same sources, from another priority on and said in another way.
    pub fn varied(self, random: &mut Random) -> Self {
        Self::of(self.sources, random)
    }

    fn of(sources: u8, random: &mut Random) -> Self {
        let form = random.pick(&[Form::List, Form::Patterns, Form::Alternatives, Form::Exclusion]);
        Self { sources, lowest: random.pick(&[0, 1, 2, 3, 3, 3, 3]), form }
    }

    pub fn wants(self, fact: Fact) -> bool {
        self.sources >> fact.source & 1 == 1 && fact.priority <= self.lowest
    }

    /// The filter for `subscribe`.
    pub fn filters(self) -> Value {
        let named = |wanted: bool| {
            let is_named = move |source: &usize| (self.sources >> *source & 1 == 1) == wanted;
            (0..SOURCES.len()).filter(is_named).map(|source| SOURCES[source])
        };
        let mut filters = Map::new();
        let is_all = self.sources == Self::ALL_SOURCES;
        match self.form {
            _ if is_all => {}
            Form::List => drop(filters.insert("sources".into(), named(true).collect())),
            Form::Patterns => {
                let pattern = |source: &str| json!({"glob": format!("{}*", &source[..2])});
                filters.insert("sources".into(), named(true).map(pattern).collect());
            }
            Form::Alternatives => {
                let alternative = |source: &str| json!({"sources": [source]});
                filters.insert("any_of".into(), named(true).map(alternative).collect());
            }
            Form::Exclusion => {
                let others: Value = named(false).collect();
                filters.insert("none_of".into(), json!([{"sources": others}]));
            }
        }
        if self.lowest < PRIORITIES.len() - 1 {
            filters.insert("min_priority".into(), PRIORITIES[self.lowest].into());
        }
        Value::Object(filters)
    }
}

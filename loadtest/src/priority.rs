//! The four priorities of events, and a value for each.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// Most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

/// A value for each priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ByPriority<T: Default> {
    pub critical: T,
    pub high: T,
    pub normal: T,
    pub low: T,
}

impl<T: Default> ByPriority<T> {
    pub fn from_fn(value: impl FnMut(Priority) -> T) -> Self {
        let [critical, high, normal, low] = Priority::ALL.map(value);
        Self { critical, high, normal, low }
    }
}

impl ByPriority<u64> {
    pub fn sum(&self) -> u64 {
        Priority::ALL.into_iter().map(|priority| self[priority]).sum()
    }

    /// Adds another's, each to each.
    pub fn merge(&mut self, other: &Self) {
        Priority::ALL.into_iter().for_each(|priority| self[priority] += other[priority]);
    }
}

impl<T: Default> Index<Priority> for ByPriority<T> {
    type Output = T;

    fn index(&self, priority: Priority) -> &T {
        match priority {
            Priority::Critical => &self.critical,
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }
}

impl<T: Default> IndexMut<Priority> for ByPriority<T> {
    fn index_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::Critical => &mut self.critical,
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

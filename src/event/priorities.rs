use super::Priority;

/// A set of priorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priorities(u8);

impl Priorities {
    pub const ALL: Self = Self(0b1111);

    pub const fn only(priority: Priority) -> Self {
        Self(1 << priority.index())
    }

    /// Those of `lowest` and above.
    pub fn from_lowest(lowest: Priority) -> Self {
        Priority::ALL.into_iter().filter(|&priority| priority <= lowest).collect()
    }

    pub const fn contains(self, priority: Priority) -> bool {
        self.0 & (1 << priority.index()) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Priority> {
        Priority::ALL.into_iter().filter(move |&priority| self.contains(priority))
    }
}

impl FromIterator<Priority> for Priorities {
    fn from_iter<T: IntoIterator<Item = Priority>>(priorities: T) -> Self {
        Self(priorities.into_iter().fold(0, |all, it| all | Self::only(it).0))
    }
}

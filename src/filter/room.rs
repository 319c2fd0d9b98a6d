/// When a hash map has far more room than it needs. Its own capacity does not
/// tell: removed entries that were not yet swept count as used.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The most entries since it was last given back.
    entries_max: usize,
}

impl Room {
    /// After an insertion.
    pub fn grew(&mut self, entries: usize) {
        self.entries_max = self.entries_max.max(entries);
    }

    /// After a removal: what to shrink to, where that pays. Seldom enough that a
    /// removal takes constant time on average.
    pub fn shrank(&mut self, entries: usize) -> Option<usize> {
        const SMALL: usize = 64;
        if self.entries_max <= SMALL || entries * 8 > self.entries_max {
            return None;
        }
        self.entries_max = entries;
        Some(entries * 2)
    }
}

//! A fixed array of reusable slots whose keys carry a generation, so that a
//! stale key finds nothing instead of a stranger.

use super::dense;

/// A slot and the generation in which it was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub slot: u32,
    /// 24 bits, so that it fits a driver token beside slot and kind.
    pub generation: u32,
}

pub const GENERATION_MASK: u32 = (1 << 24) - 1;

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Grows to `capacity` and no further; freed slots are reused last-in first-out
/// so that the hot part stays small.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T> Slab<T> {
    pub fn with_capacity_max(capacity: u32) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), capacity }
    }

    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.capacity as usize
    }

    /// # Errors
    /// Gives the value back when every slot is taken.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            assert!(entry.value.is_none());
            entry.value = Some(value);
            return Ok(Key { slot, generation: entry.generation });
        }
        if self.is_full() {
            return Err(value);
        }
        let slot = self.entries.len() as u32;
        dense::push(&mut self.entries, Entry { generation: 0, value: Some(value) });
        Ok(Key { slot, generation: 0 })
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// The value in a slot whatever its generation, with its key.
    pub fn at(&self, slot: u32) -> Option<(Key, &T)> {
        let entry = self.entries.get(slot as usize)?;
        let key = Key { slot, generation: entry.generation };
        entry.value.as_ref().map(|value| (key, value))
    }

    /// The value in a slot whatever its generation, with its key.
    pub fn at_mut(&mut self, slot: u32) -> Option<(Key, &mut T)> {
        let entry = self.entries.get_mut(slot as usize)?;
        let key = Key { slot, generation: entry.generation };
        entry.value.as_mut().map(|value| (key, value))
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(key.slot);
        Some(value)
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(slot, entry)| Key { slot: slot as u32, generation: entry.generation })
    }

    /// One past the highest slot ever used.
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_key() {
        let mut slab = Slab::with_capacity_max(1);
        let old = slab.insert("old").unwrap();
        assert_eq!(slab.insert("no room"), Err("no room"));
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new").unwrap();
        assert_eq!(new.slot, old.slot);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&"new"));
        assert_eq!(slab.keys().collect::<Vec<_>>(), [new]);
    }

    #[test]
    fn a_generation_wraps_within_its_24_bits() {
        let mut slab = Slab::with_capacity_max(1);
        slab.insert(0_u8).unwrap();
        slab.entries[0].generation = GENERATION_MASK;
        let last = Key { slot: 0, generation: GENERATION_MASK };
        assert_eq!(slab.remove(last), Some(0));
        assert_eq!(slab.insert(1).unwrap().generation, 0);
    }
}

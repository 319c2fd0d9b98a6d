//! One connection's subscriptions by the ids that its client chose.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use crate::filter::SubscriptionKey;

/// Most clients have one subscription: it lies here without a table of its own.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a table is larger than what most clients need")]
pub(super) enum Subscriptions {
    #[default]
    None,
    One(Box<str>, SubscriptionKey),
    /// Clients choose what is hashed.
    Many(Box<HashMap<Box<str>, SubscriptionKey, RandomState>>),
}

/// Every connection has its own.
const _: () = assert!(size_of::<Subscriptions>() <= 24);

impl Subscriptions {
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(..) => 1,
            Self::Many(all) => all.len(),
        }
    }

    /// The key of the only one.
    pub fn single(&self) -> Option<SubscriptionKey> {
        match self {
            Self::One(_, key) => Some(*key),
            _ => None,
        }
    }

    pub fn get(&self, id: &str) -> Option<SubscriptionKey> {
        match self {
            Self::One(only, key) if **only == *id => Some(*key),
            Self::Many(all) => all.get(id).copied(),
            _ => None,
        }
    }

    /// Adds one whose id is not there yet.
    pub fn insert(&mut self, id: Box<str>, key: SubscriptionKey) {
        debug_assert!(self.get(&id).is_none());
        *self = match std::mem::take(self) {
            Self::None => Self::One(id, key),
            Self::One(first, its_key) => {
                Self::Many(Box::new(HashMap::from_iter([(first, its_key), (id, key)])))
            }
            Self::Many(mut all) => {
                all.insert(id, key);
                Self::Many(all)
            }
        };
    }

    pub fn remove(&mut self, id: &str) -> Option<SubscriptionKey> {
        let key = match self {
            Self::Many(all) => all.remove(id)?,
            _ => self.get(id)?,
        };
        let last = match self {
            Self::Many(all) if all.len() > 1 => return Some(key),
            Self::Many(all) => all.drain().next(),
            _ => None,
        };
        *self = last.map_or(Self::None, |(id, key)| Self::One(id, key));
        Some(key)
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = SubscriptionKey> {
        self.iter().map(|(_, key)| key)
    }

    /// All, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, SubscriptionKey)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(id, key) => (Some((&**id, *key)), None),
            Self::Many(all) => (None, Some(all.iter().map(|(id, key)| (&**id, *key)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The keys of all, once.
    pub fn into_keys(self) -> impl Iterator<Item = SubscriptionKey> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(_, key) => (Some(key), None),
            Self::Many(all) => (None, Some(all.into_values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{FilterSpec, Index};

    #[test]
    fn ids_are_found_whether_they_are_none_one_or_many() {
        let mut index = Index::new();
        let mut subscriptions = Subscriptions::default();
        let mut keys = Vec::new();
        for id in ["a", "b", "c"] {
            assert_eq!(subscriptions.remove(id), None);
            let key = index.subscribe(0, FilterSpec::default().compile().unwrap());
            subscriptions.insert(id.into(), key);
            keys.push(key);
            assert_eq!(subscriptions.len(), keys.len());
            assert_eq!(subscriptions.get("a"), Some(keys[0]));
            assert_eq!(subscriptions.get(id), Some(key));
            assert_eq!(subscriptions.get("z"), None);
        }
        assert_eq!(subscriptions.remove("b"), Some(keys[1]));
        assert_eq!(subscriptions.remove("a"), Some(keys[0]));
        assert!(matches!(subscriptions, Subscriptions::One(..)), "the table is given back");
        assert_eq!(subscriptions.remove("a"), None);
        assert_eq!(subscriptions.into_keys().collect::<Vec<_>>(), [keys[2]]);
    }
}

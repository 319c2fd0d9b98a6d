use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::Filter;
use crate::event::Attributes;

/// A subscription in an [`Index`]; reused after [`Index::unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey(u32);

/// Every subscription of a shard. Identical filters are one group, evaluated
/// once per event whatever the number of its members.
///
/// Connections are numbered by their slots: memory follows the highest number.
#[derive(Debug, Default)]
pub struct Index {
    subscriptions: Vec<Option<Subscription>>,
    free_subscriptions: Vec<u32>,
    /// By group number; an empty group waits in `free_groups`.
    groups: Vec<Group>,
    free_groups: Vec<u32>,
    /// The groups that have members, dense, in no order.
    live: Vec<u32>,
    /// Keyed by what clients choose: the hash is seeded.
    interned: HashMap<Arc<Filter>, u32, RandomState>,
    connections: Vec<Connection>,
    subscribed_connections: usize,
    /// Number of the evaluation, written to each connection that it found.
    round: u64,
}

/// Where a subscription is: the way back from its key, for removal in constant time.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    connection: u32,
    group: u32,
    /// In the group's members.
    position: u32,
}

#[derive(Debug)]
struct Group {
    filter: Arc<Filter>,
    members: Vec<Member>,
    /// In `live`; meaningless while there are no members.
    position: u32,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    connection: u32,
    subscription: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    /// The last round that found this connection.
    round: u64,
    subscriptions: u32,
}

impl Index {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscription of the connection in slot `connection`.
    pub fn subscribe(&mut self, connection: u32, filter: Filter) -> SubscriptionKey {
        let number = match self.free_subscriptions.pop() {
            Some(number) => number,
            None => {
                self.subscriptions.push(None);
                number_of(self.subscriptions.len() - 1)
            }
        };
        if self.connections.len() <= connection as usize {
            self.connections.resize(connection as usize + 1, Connection::default());
        }
        let state = &mut self.connections[connection as usize];
        state.subscriptions += 1;
        self.subscribed_connections += usize::from(state.subscriptions == 1);
        self.join(number, connection, filter);
        self.check();
        SubscriptionKey(number)
    }

    /// Gives the subscription another filter, at once.
    ///
    /// # Panics
    /// When `key` is not subscribed, which is a bug of the caller.
    pub fn replace(&mut self, key: SubscriptionKey, filter: Filter) {
        let subscription = self.leave(key.0);
        self.join(key.0, subscription.connection, filter);
        self.check();
    }

    /// # Panics
    /// When `key` is not subscribed, which is a bug of the caller.
    pub fn unsubscribe(&mut self, key: SubscriptionKey) {
        let subscription = self.leave(key.0);
        self.free_subscriptions.push(key.0);
        let state = &mut self.connections[subscription.connection as usize];
        assert!(state.subscriptions > 0);
        state.subscriptions -= 1;
        self.subscribed_connections -= usize::from(state.subscriptions == 0);
        self.check();
    }

    /// Appends each connection that wants the event, once, however many of its
    /// subscriptions match.
    pub fn matching(&mut self, event: &Attributes<'_>, out: &mut Vec<u32>) {
        self.round += 1;
        for &number in &self.live {
            let group = &self.groups[number as usize];
            if !group.filter.matches(event) {
                continue;
            }
            for member in &group.members {
                let state = &mut self.connections[member.connection as usize];
                if state.round != self.round {
                    state.round = self.round;
                    out.push(member.connection);
                }
            }
        }
    }

    /// Subscriptions.
    pub fn len(&self) -> usize {
        self.subscriptions.len() - self.free_subscriptions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections that hold at least one subscription.
    pub fn connections(&self) -> usize {
        self.subscribed_connections
    }

    /// Distinct filters.
    pub fn groups(&self) -> usize {
        self.live.len()
    }

    fn join(&mut self, number: u32, connection: u32, filter: Filter) {
        let group_number = match self.interned.get(&filter) {
            Some(&group_number) => group_number,
            None => self.add_group(filter),
        };
        let group = &mut self.groups[group_number as usize];
        let position = number_of(group.members.len());
        group.members.push(Member { connection, subscription: number });
        let slot = &mut self.subscriptions[number as usize];
        assert!(slot.is_none());
        *slot = Some(Subscription { connection, group: group_number, position });
    }

    fn leave(&mut self, number: u32) -> Subscription {
        let slot = self.subscriptions.get_mut(number as usize).and_then(Option::take);
        let Some(subscription) = slot else { panic!("subscription {number} is not in the index") };
        let group = &mut self.groups[subscription.group as usize];
        let removed = group.members.swap_remove(subscription.position as usize);
        assert_eq!(removed.subscription, number);
        if let Some(moved) = group.members.get(subscription.position as usize) {
            match &mut self.subscriptions[moved.subscription as usize] {
                Some(moved) => moved.position = subscription.position,
                None => unreachable!("a member of a group is subscribed"),
            }
        }
        if group.members.is_empty() {
            self.remove_group(subscription.group);
        }
        subscription
    }

    fn add_group(&mut self, filter: Filter) -> u32 {
        let filter = Arc::new(filter);
        let position = number_of(self.live.len());
        let number = match self.free_groups.pop() {
            Some(number) => {
                let group = &mut self.groups[number as usize];
                assert!(group.members.is_empty());
                group.filter = Arc::clone(&filter);
                group.position = position;
                number
            }
            None => {
                let filter = Arc::clone(&filter);
                self.groups.push(Group { filter, members: Vec::new(), position });
                number_of(self.groups.len() - 1)
            }
        };
        self.live.push(number);
        self.interned.insert(filter, number);
        number
    }

    fn remove_group(&mut self, number: u32) {
        let group = &mut self.groups[number as usize];
        self.interned.remove(&group.filter);
        // A free group keeps neither a large filter nor the room of many members.
        group.filter = Arc::default();
        group.members = Vec::new();
        let position = group.position;
        let removed = self.live.swap_remove(position as usize);
        assert_eq!(removed, number);
        if let Some(&moved) = self.live.get(position as usize) {
            self.groups[moved as usize].position = position;
        }
        self.free_groups.push(number);
    }

    /// Constant-time relations in every build, whole-structure ones while small in debug.
    fn check(&self) {
        assert_eq!(self.interned.len(), self.live.len());
        assert_eq!(self.groups.len(), self.live.len() + self.free_groups.len());
        if cfg!(debug_assertions) && self.len() <= 64 {
            self.invariants();
        }
    }

    /// Every relation between the tables.
    ///
    /// # Panics
    /// When one is broken.
    pub fn invariants(&self) {
        let members: usize = self.groups.iter().map(|group| group.members.len()).sum();
        assert_eq!(members, self.len());
        for (position, &number) in self.live.iter().enumerate() {
            let group = &self.groups[number as usize];
            assert_eq!(group.position as usize, position);
            assert_eq!(self.interned.get(&group.filter), Some(&number));
            assert!(!group.members.is_empty());
            for (position, member) in group.members.iter().enumerate() {
                let subscription = self.subscriptions[member.subscription as usize];
                let Some(subscription) = subscription else { panic!("a member is subscribed") };
                assert_eq!(subscription.connection, member.connection);
                assert_eq!(subscription.group, number);
                assert_eq!(subscription.position as usize, position);
            }
        }
        let subscriptions: usize =
            self.connections.iter().map(|connection| connection.subscriptions as usize).sum();
        assert_eq!(subscriptions, self.len());
        let subscribed =
            self.connections.iter().filter(|connection| connection.subscriptions > 0).count();
        assert_eq!(subscribed, self.subscribed_connections);
    }
}

/// A shard holds far fewer than 2^32 of anything: its slots are numbered by 32 bits.
fn number_of(position: usize) -> u32 {
    match u32::try_from(position) {
        Ok(number) => number,
        Err(_) => panic!("{position} entries in one index"),
    }
}

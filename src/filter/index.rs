use std::sync::Arc;

use super::Filter;
use super::groups::{Groups, Member, number_of};
use crate::base::dense;
use crate::event::Attributes;

/// A subscription in an [`Index`]; reused after [`Index::unsubscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionKey(u32);

/// Every subscription of a shard. Identical filters are one group, found by its
/// most selective attribute and evaluated at most once per event, whatever the
/// number of its members. What it costs to add or remove a subscription follows
/// from its filter's length, not from what else is there.
///
/// Connections are numbered by their slots: memory follows the highest number.
#[derive(Debug, Default)]
pub struct Index {
    subscriptions: Vec<Option<Subscription>>,
    free_subscriptions: Vec<u32>,
    groups: Groups,
    connections: Vec<Connection>,
    subscribed_connections: usize,
    /// Number of the event, written to each connection that wants it; never zero.
    round: u32,
    /// Of the last event.
    parked: Vec<Parked>,
}

/// Subscriptions of one filter that were put aside by [`Index::park`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Names the filter, while one of its subscriptions is parked.
    pub group: u32,
    /// How many are.
    pub subscriptions: u32,
}

/// Where a subscription is: the way back from its key, for removal in constant time.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    connection: u32,
    group: u32,
    /// In the group's members.
    position: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    /// The last round that found this connection; zero for none.
    round: u32,
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
                dense::push(&mut self.subscriptions, None);
                number_of(self.subscriptions.len() - 1)
            }
        };
        dense::reach(&mut self.connections, connection as usize, Connection::default);
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

    /// The filter of a subscription.
    ///
    /// # Panics
    /// When `key` is not subscribed, which is a bug of the caller.
    pub fn filter(&self, key: SubscriptionKey) -> &Arc<Filter> {
        self.groups.filter(self.subscription(key).group)
    }

    /// Puts a subscription aside, for which [`Index::parked`] answers then, together with all of the
    /// same filter: very many cost no more than one. Gives [`Parked::group`].
    ///
    /// # Panics
    /// When `key` is not subscribed, which is a bug of the caller.
    pub fn park(&mut self, key: SubscriptionKey) -> u32 {
        let Subscription { group, position, .. } = self.subscription(key);
        let places = self.groups.park(group, position);
        self.note_places(places);
        group
    }

    /// Takes a subscription back that was put aside; one that was not is as it was.
    ///
    /// # Panics
    /// When `key` is not subscribed, which is a bug of the caller.
    pub fn unpark(&mut self, key: SubscriptionKey) {
        let Subscription { group, position, .. } = self.subscription(key);
        let places = self.groups.unpark(group, position);
        self.note_places(places);
    }

    /// Appends each connection that wants the event, once, however many of its
    /// subscriptions match; without those that are parked.
    pub fn matching(&mut self, event: &Attributes<'_>, out: &mut Vec<u32>) {
        self.begin_round();
        let Self { groups, connections, round, parked, .. } = self;
        parked.clear();
        groups.matching(event, |group, awake, subscriptions| {
            if subscriptions > 0 {
                parked.push(Parked { group, subscriptions });
            }
            for member in awake {
                let state = &mut connections[member.connection as usize];
                if state.round != *round {
                    state.round = *round;
                    out.push(member.connection);
                }
            }
        });
    }

    /// What is parked of those that want the last event.
    pub fn parked(&self) -> &[Parked] {
        &self.parked
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
        self.groups.len()
    }

    /// Filters that were evaluated so far, for all events together.
    pub fn evaluated(&self) -> u64 {
        self.groups.evaluated()
    }

    fn begin_round(&mut self) {
        self.round = self.round.checked_add(1).unwrap_or_else(|| {
            // Once in 2^32 events: what was written before must not be met again.
            self.connections.iter_mut().for_each(|connection| connection.round = 0);
            1
        });
    }

    fn join(&mut self, number: u32, connection: u32, filter: Filter) {
        let member = Member { connection, subscription: number };
        let (group, position) = self.groups.join(filter, member);
        let slot = &mut self.subscriptions[number as usize];
        assert!(slot.is_none());
        *slot = Some(Subscription { connection, group, position });
        self.unpark(SubscriptionKey(number));
    }

    fn leave(&mut self, number: u32) -> Subscription {
        self.park(SubscriptionKey(number));
        let subscription = self.subscription(SubscriptionKey(number));
        let Subscription { group, position, .. } = subscription;
        self.subscriptions[number as usize] = None;
        let moved = self.groups.leave(group, position, number);
        self.note_places(moved.map(|member| (member, position)));
        subscription
    }

    fn subscription(&self, key: SubscriptionKey) -> Subscription {
        match self.subscriptions.get(key.0 as usize) {
            Some(Some(subscription)) => *subscription,
            _ => panic!("subscription {} is not in the index", key.0),
        }
    }

    fn note_places(&mut self, places: impl IntoIterator<Item = (Member, u32)>) {
        for (member, position) in places {
            match &mut self.subscriptions[member.subscription as usize] {
                Some(subscription) => subscription.position = position,
                None => unreachable!("a member of a group is subscribed"),
            }
        }
    }

    /// Constant-time relations in every build, whole-structure ones while small in debug.
    fn check(&self) {
        self.groups.check();
        if cfg!(debug_assertions) && self.len() <= 64 {
            self.invariants();
        }
    }

    /// Every relation between the tables.
    ///
    /// # Panics
    /// When one is broken.
    pub fn invariants(&self) {
        let mut members = 0;
        self.groups.invariants(|member, group, position| {
            let subscription = self.subscriptions[member.subscription as usize];
            let Some(subscription) = subscription else { panic!("a member is subscribed") };
            assert_eq!(subscription.connection, member.connection);
            assert_eq!((subscription.group, subscription.position), (group, position));
            members += 1;
        });
        assert_eq!(members, self.len());
        let subscriptions: usize =
            self.connections.iter().map(|connection| connection.subscriptions as usize).sum();
        assert_eq!(subscriptions, self.len());
        let subscribed =
            self.connections.iter().filter(|connection| connection.subscriptions > 0).count();
        assert_eq!(subscribed, self.subscribed_connections);
    }
}

//! Who must get what: what clients asked for, event by event, as plainly as it can be said.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::event::{Attributes, Event, EventType, Priorities, Priority, Severity};
use alarmcast::filter::{Filter, FilterSpec, LabelMatcher, Parked, StringMatcher};
use alarmcast::protocol::{self, ClientMessage, Encoded, Encoding, Options};
use alarmcast::queue::Loss;
use alarmcast::shard::{Behind, Close, Handler, LossReason, Message, Replies, Step, Wish};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use uuid::Uuid;

use crate::world::SUBSCRIPTIONS_MAX;

/// Numbers of clients that did not say theirs begin here.
const NAMELESS: usize = 1_000_000;

/// What must be true of one client.
#[derive(Debug, Default)]
pub struct Expected {
    subscriptions: BTreeMap<String, (Interest, Options)>,
    /// Events queued for it, by [`alarmcast::event::Priority::index`], in order.
    pub matched: [Vec<u64>; 4],
    /// Of these, by their seq, those that may be sent otherwise than each as it comes.
    pub optional: HashMap<u64, May>,
    pub is_open: bool,
    pub is_paused: bool,
}

/// What may be done with an event, because all subscriptions that it matches ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct May {
    pub be_replaced: bool,
    pub be_batched: bool,
    pub be_collapsed: bool,
}

/// The filters' meaning, as plainly as it can be said; patterns have their own tests.
#[derive(Debug)]
enum Interest {
    Plain {
        event_types: Vec<EventType>,
        severities: Vec<Severity>,
        sources: Vec<String>,
        labels: Vec<(String, String)>,
    },
    Pattern(Box<Filter>),
}

/// By client's number.
#[derive(Debug, Default)]
pub struct Model {
    pub clients: BTreeMap<usize, Expected>,
    /// By slot, who holds it.
    pub slots: HashMap<u32, usize>,
    nameless: usize,
}

/// Watches what passes through a handler and keeps the model up with it. Clients say their
/// number in the query, as `client=`.
pub struct Watched<H> {
    inner: H,
    model: Rc<RefCell<Model>>,
    admitted: Option<usize>,
    /// By slot, the group of who is parked.
    parked: HashMap<u32, u32>,
}

impl<H> Watched<H> {
    pub fn new(inner: H, model: Rc<RefCell<Model>>) -> Self {
        Self { inner, model, admitted: None, parked: HashMap::new() }
    }
}

impl<H: Handler> Handler for Watched<H> {
    fn admit(&mut self, key: Key, request: &Request) -> Result<Option<&'static str>, Refusal> {
        let query = request.query.as_deref().unwrap_or_default();
        let number = query.split('&').find_map(|field| field.strip_prefix("client="));
        self.admitted = number.and_then(|number| number.parse().ok());
        self.inner.admit(key, request)
    }

    fn opened(&mut self, key: Key, session_id: Uuid, now: Instant, replies: &mut Replies) {
        let model = &mut *self.model.borrow_mut();
        let number = self.admitted.take().unwrap_or_else(|| {
            model.nameless += 1;
            NAMELESS + model.nameless
        });
        let before = model.slots.insert(key.slot, number);
        assert_eq!(before, None, "one open connection a slot");
        model.clients.entry(number).or_default().is_open = true;
        self.inner.opened(key, session_id, now, replies);
    }

    fn message(&mut self, key: Key, message: Message<'_>, now: Instant, replies: &mut Replies) {
        let command = match (message, self.inner.encoding(key.slot)) {
            (Message::Text(text), Encoding::Json) => protocol::decode(text).ok(),
            (Message::Binary(bytes), Encoding::MessagePack) => protocol::decode_msgpack(bytes).ok(),
            _ => None,
        };
        if let Some(command) = command {
            let model = &mut *self.model.borrow_mut();
            let number = model.slots[&key.slot];
            model.clients.entry(number).or_default().obey(command);
        }
        self.inner.message(key, message, now, replies);
    }

    fn closed(&mut self, key: Key) {
        let model = &mut *self.model.borrow_mut();
        let number = model.slots.remove(&key.slot).expect("it was open");
        let client = model.clients.entry(number).or_default();
        client.is_open = false;
        client.subscriptions.clear();
        self.parked.remove(&key.slot);
        self.inner.closed(key);
    }

    fn closing(&mut self, key: Key, close: &Close, after: Option<u64>) -> Option<Bytes> {
        self.inner.closing(key, close, after)
    }

    fn seen(&mut self, seq: u64) {
        self.inner.seen(seq);
    }

    fn hears_losses(&self, slot: u32) -> bool {
        self.inner.hears_losses(slot)
    }

    fn kept(&self, slot: u32) -> Priorities {
        self.inner.kept(slot)
    }

    fn overflow(&mut self, slot: u32, priority: Priority, seq: u64) -> bool {
        self.inner.overflow(slot, priority, seq)
    }

    fn is_overflowing(&self, slot: u32, priority: Priority) -> bool {
        self.inner.is_overflowing(slot, priority)
    }

    fn catch_up(&mut self, key: Key, step: &mut Step) -> Behind {
        self.inner.catch_up(key, step)
    }

    fn checkpoint(&mut self, key: Key, now: Instant, is_heartbeat: bool) -> Option<Bytes> {
        self.inner.checkpoint(key, now, is_heartbeat)
    }

    fn dropped(&mut self, key: Key, loss: &Loss, reason: LossReason) -> Option<Bytes> {
        self.inner.dropped(key, loss, reason)
    }

    fn wish(&mut self, slot: u32, event: &Encoded, now: Instant) -> Wish {
        self.inner.wish(slot, event, now)
    }

    fn collapsed(&mut self, key: Key, now: Option<Instant>) -> Option<(Bytes, u64)> {
        self.inner.collapsed(key, now)
    }

    fn collapsed_due(&self, slot: u32) -> Option<Instant> {
        self.inner.collapsed_due(slot)
    }

    fn matching(&mut self, event: &Arc<Encoded>, slots: &mut Vec<u32>) {
        self.inner.matching(event, slots);
        let model = &mut *self.model.borrow_mut();
        let priority = event.event.priority.index();
        let mut wanted = Vec::new();
        for (&slot, number) in &model.slots {
            let client = model.clients.entry(*number).or_default();
            if let Some(may) = client.wants(&event.event) {
                wanted.push(slot);
                client.matched[priority].push(event.event.seq);
                if may != May::default() {
                    client.optional.insert(event.event.seq, may);
                }
            }
        }
        wanted.sort_unstable();
        let mut found = slots.clone();
        for told in self.inner.parked() {
            let before = found.len();
            let of_group = self.parked.iter().filter(|(_, group)| **group == told.group);
            found.extend(of_group.map(|(slot, _)| slot));
            assert_eq!(found.len() - before, told.subscriptions as usize);
        }
        found.sort_unstable();
        assert_eq!(found, wanted, "who gets event {}", event.event.seq);
    }

    fn park(&mut self, slot: u32) -> Option<u32> {
        let group = self.inner.park(slot)?;
        self.parked.insert(slot, group);
        Some(group)
    }

    fn unpark(&mut self, slot: u32) {
        self.parked.remove(&slot);
        self.inner.unpark(slot);
    }

    fn parked(&self) -> &[Parked] {
        self.inner.parked()
    }

    fn encoding(&self, slot: u32) -> Encoding {
        self.inner.encoding(slot)
    }

    fn interested(&self) -> usize {
        self.inner.interested()
    }
}

impl Expected {
    fn obey(&mut self, command: ClientMessage) {
        match command {
            ClientMessage::Subscribe { subscription_id: id, filters, filter, options, .. } => {
                let fits = self.subscriptions.len() < SUBSCRIPTIONS_MAX;
                if fits || self.subscriptions.contains_key(&id) {
                    self.subscriptions.insert(id, (Interest::new(*filters, filter), options));
                }
            }
            ClientMessage::Unsubscribe { subscription_id, .. } => {
                self.subscriptions.remove(&subscription_id);
            }
            ClientMessage::FlowControl { pause, .. } => self.is_paused = pause,
            _ => {}
        }
    }

    /// None where nothing asked for the event.
    fn wants(&self, event: &Event) -> Option<May> {
        let attributes = event.attributes();
        let all = self.subscriptions.values();
        let matching: Vec<Options> =
            all.filter(|(interest, _)| interest.wants(&attributes)).map(|(_, it)| *it).collect();
        let is_critical = event.priority == Priority::Critical;
        let all_ask = |asks: fn(&Options) -> bool| !is_critical && matching.iter().all(asks);
        let is_update = attributes.event_type == EventType::IncidentUpdated;
        let may = May {
            be_replaced: is_update && all_ask(|it| it.conflate),
            be_batched: all_ask(|it| it.batch.is_some()),
            be_collapsed: event.payload.fingerprint().is_some()
                && all_ask(|it| it.collapse.is_some()),
        };
        (!matching.is_empty()).then_some(may)
    }
}

impl Interest {
    fn new(spec: FilterSpec, filter: Box<Filter>) -> Self {
        let FilterSpec { event_types, severities, sources, labels, .. } = spec.clone();
        let rest = FilterSpec {
            event_types: Vec::new(),
            severities: Vec::new(),
            sources: Vec::new(),
            labels: BTreeMap::new(),
            ..spec
        };
        let sources = sources.into_iter().map(exact).collect();
        let label = |(key, matcher)| match matcher {
            LabelMatcher::One(value) => Some((key, exact(value)?)),
            _ => None,
        };
        let labels = labels.into_iter().map(label).collect();
        match (sources, labels) {
            (Some(sources), Some(labels)) if rest == FilterSpec::default() => {
                Self::Plain { event_types, severities, sources, labels }
            }
            _ => Self::Pattern(filter),
        }
    }

    fn wants(&self, event: &Attributes<'_>) -> bool {
        let (event_types, severities, sources, labels) = match self {
            Self::Plain { event_types, severities, sources, labels } => {
                (event_types, severities, sources, labels)
            }
            Self::Pattern(filter) => return filter.matches(event),
        };
        let has_label = |(key, wanted): &(String, String)| {
            event.labels.is_some_and(|labels| labels.get(key) == Some(wanted))
        };
        (event_types.is_empty() || event_types.contains(&event.event_type))
            && (severities.is_empty() || event.severity.is_some_and(|it| severities.contains(&it)))
            && (sources.is_empty()
                || event.source.is_some_and(|it| sources.iter().any(|source| source == it)))
            && labels.iter().all(has_label)
    }
}

/// The string, if it is no pattern.
fn exact(matcher: StringMatcher) -> Option<String> {
    match matcher {
        StringMatcher::Exact(text) => Some(text),
        _ => None,
    }
}

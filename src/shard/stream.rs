//! The stream's protocol on a shard's connections: commands change the shard's own
//! subscriptions, replies take the control lane.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::quality::RandomState;
use uuid::Uuid;

use crate::base::clock::{Clock, Instant};
use crate::base::dense;
use crate::base::limits;
use crate::base::origin::AllowedOrigin;
use crate::base::slab::Key;
use crate::event::{Priorities, Priority};
use crate::filter::{Filter, FilterSpec, Index, Parked, SubscriptionKey};
use crate::protocol::client::{self, ClientMessage, Permit};
use crate::protocol::encoded::Encoded;
use crate::protocol::server::{self, DroppedCounts, Resume, ServerMessage, Welcome};
use crate::protocol::{Encoding, ErrorCode, MessageError, Options};
use crate::queue::Loss;
use crate::session::rate::{Bucket, Buckets, Ledger, Rate};
use crate::shard::catch_up::{Behind, Step};
use crate::shard::checkpoints::Checkpoints;
use crate::shard::handler::{Close, Handler, LossReason, Message, Replies};
use crate::shard::inspect::Standing;
use crate::shard::intake::flooding;
use crate::shard::negotiation::{Negotiated, negotiate};
use crate::shard::origins::{OriginFault, judge_origin};
use crate::shard::overflow::{Edge, Overflows, Reading};
use crate::shard::replays::{Replay, Replays, position};
use crate::shard::stats::{Excess, ShardStats};
use crate::shard::subscriptions::Subscriptions;
use crate::shard::wishes::{Wish, Wishes};
use crate::stream::history::History;
use crate::ws::{Refusal, Request};

/// What the stream's handler must know at its start.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Where clients connect: `/ws`.
    pub path: String,
    /// Pages that may connect beside those of the own host.
    pub allowed_origins: Vec<AllowedOrigin>,
    pub epoch: String,
    /// Where those who ask for the past get it.
    pub history: Arc<dyn History>,
    /// Of events below this one some are shed for clients that do not keep up and can be told;
    /// the others come later.
    pub shed_below: Priority,
    pub message_bytes_max: usize,
    pub subscriptions_max: usize,
    /// Messages beyond it are refused; who has as many again refused is closed.
    pub message_rate: Rate,
    pub subscription_rate: Rate,
    /// Of what the shard lets in, for the welcome.
    pub frame_rate: Rate,
    pub byte_rate: Rate,
    pub heartbeat_interval: Duration,
}

/// Serves the event stream.
pub struct StreamHandler {
    settings: StreamSettings,
    clock: Clock,
    stats: Arc<ShardStats>,
    /// By the connection's slot; there while it is open.
    clients: Vec<Option<Client>>,
    /// By the connection's slot: looked at for each delivery.
    encodings: Vec<Encoding>,
    index: Index,
    /// By the connection's slot: it asked for this protocol by name, and so knows more types of
    /// message than the base.
    extended: Vec<bool>,
    /// Every event up to this one has been through this shard: what a new client's welcome
    /// names.
    seen_seq: u64,
    taken: Ledger<Taken>,
    replays: Replays,
    overflows: Overflows,
    edge: Edge,
    checkpoints: Checkpoints,
    wishes: Wishes,
    /// Seeded anew for each shard: tells clients apart when they are to come back.
    spread: RandomState,
}

/// What a client wants to subscribe to.
struct Asked {
    subscription_id: String,
    filters: FilterSpec,
    filter: Filter,
    from: Option<client::From>,
    options: Options,
    r#ref: Option<serde_json::Value>,
}

/// What is known of an open connection.
#[derive(Default)]
struct Client {
    subscriptions: Subscriptions,
}

/// What a connection has taken of its rates.
#[derive(Debug, Default)]
struct Taken {
    messages: Bucket,
    refused_messages: Bucket,
    subscription_changes: Bucket,
}

impl Buckets for Taken {
    fn are_full(&self, now: Instant) -> bool {
        self.messages.is_full(now)
            && self.refused_messages.is_full(now)
            && self.subscription_changes.is_full(now)
    }
}

impl StreamHandler {
    pub fn new(settings: StreamSettings, clock: Clock, stats: Arc<ShardStats>) -> Self {
        Self {
            settings,
            clock,
            stats,
            clients: Vec::new(),
            encodings: Vec::new(),
            index: Index::new(),
            extended: Vec::new(),
            seen_seq: 0,
            taken: Ledger::default(),
            replays: Replays::default(),
            overflows: Overflows::default(),
            edge: Edge::default(),
            checkpoints: Checkpoints::default(),
            wishes: Wishes::default(),
            spread: RandomState::default(),
        }
    }

    fn welcome(&self, session_id: Uuid, encoding: Encoding) -> Bytes {
        let (now, session_id) = (self.clock.wall(), session_id.to_string());
        let settings = &self.settings;
        let per_second = |rate: Rate| (!rate.is_unlimited()).then_some(rate.per_second);
        let limits = server::Limits {
            message_bytes_max: settings.message_bytes_max,
            subscriptions_max: settings.subscriptions_max,
            filter_terms_max: limits::FILTER_TERMS_MAX,
            batch_events_max: limits::BATCH_EVENTS_MAX,
            batch_delay_ms_max: limits::BATCH_DELAY_MILLIS_MAX,
            collapse_after_max: limits::COLLAPSE_AFTER_MAX,
            collapse_window_ms_max: limits::COLLAPSE_WINDOW_MILLIS_MAX,
            collapse_windows_max: limits::COLLAPSE_WINDOWS_MAX,
            messages_per_second: per_second(settings.message_rate),
            frames_per_second: per_second(settings.frame_rate),
            bytes_per_second: per_second(settings.byte_rate),
            subscription_changes_per_second: per_second(settings.subscription_rate),
        };
        let heartbeat = settings.heartbeat_interval.as_secs();
        let welcome =
            Welcome::new(&session_id, now, &settings.epoch, self.seen_seq, heartbeat, limits);
        ServerMessage::Welcome(welcome).encode(encoding)
    }

    fn answer(
        &mut self,
        slot: u32,
        message: ClientMessage,
        replies: &mut Replies,
    ) -> Result<Option<Bytes>, MessageError> {
        let encoding = self.encoding(slot);
        match message {
            ClientMessage::Subscribe {
                subscription_id,
                filters,
                filter,
                from,
                checkpoints,
                options,
                r#ref,
            } => {
                if checkpoints {
                    self.checkpoints.start(slot, self.seen_seq, self.clock.now());
                    replies.checkpoints();
                }
                let asked = Asked {
                    subscription_id,
                    filters: *filters,
                    filter: *filter,
                    from,
                    options,
                    r#ref,
                };
                self.subscribe(slot, asked, replies).map(Some)
            }
            ClientMessage::Unsubscribe { subscription_id, r#ref } => {
                self.unsubscribe(slot, subscription_id, r#ref, replies).map(Some)
            }
            ClientMessage::Ping { timestamp, r#ref } => {
                let pong = ServerMessage::Pong { timestamp: &timestamp, r#ref: r#ref.as_ref() };
                Ok(Some(pong.encode(encoding)))
            }
            ClientMessage::FlowControl { pause, r#ref } => {
                replies.pause(pause);
                let answer = ServerMessage::FlowControl { pause, r#ref: r#ref.as_ref() };
                Ok(Some(answer.encode(encoding)))
            }
            // Nothing is redelivered to connections without durable subscriptions, so that
            // there is nothing to mark.
            ClientMessage::Ack { .. } => Ok(None),
        }
    }

    fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        judge_origin(&self.settings.allowed_origins, &request.headers).map_err(|fault| {
            let cell = match fault {
                OriginFault::Foreign => &self.stats.origins_foreign,
                OriginFault::Null => &self.stats.origins_null,
                OriginFault::Malformed => &self.stats.origins_malformed,
            };
            cell.add(1);
            fault.refusal()
        })
    }

    /// Takes a message from its connection's rate, or says what becomes of it.
    fn admit_message(&mut self, key: Key, now: Instant) -> Result<(), Refused> {
        let rate = self.settings.message_rate;
        if rate.is_unlimited() {
            return Ok(());
        }
        let taken = self.taken.of(key, now);
        if taken.messages.take(now, rate) {
            return Ok(());
        }
        if !taken.refused_messages.take(now, rate) {
            self.stats.rate_limited_closed[Excess::Messages.index()].add(1);
            return Err(Refused::ForGood);
        }
        self.stats.messages_rate_limited.add(1);
        let message =
            format!("more than {} messages a second; slow down and try again", rate.per_second);
        Err(Refused::Now(MessageError::new(ErrorCode::RateLimited, message)))
    }

    /// Reads a message. A change of subscriptions is taken from its rate before it costs more.
    fn read(
        &mut self,
        key: Key,
        message: Message<'_>,
        now: Instant,
    ) -> Result<ClientMessage, MessageError> {
        let encoding = self.encoding(key.slot);
        let Self { taken, settings, stats, .. } = self;
        let rate = settings.subscription_rate;
        let mut permit = || {
            if rate.is_unlimited() || taken.of(key, now).subscription_changes.take(now, rate) {
                return Ok(());
            }
            stats.messages_rate_limited.add(1);
            let message = format!(
                "more than {} subscription changes a second; slow down and try again",
                rate.per_second
            );
            Err(MessageError::new(ErrorCode::RateLimited, message))
        };
        decode(message, encoding, &mut permit)
    }

    fn subscribe(
        &mut self,
        slot: u32,
        asked: Asked,
        replies: &mut Replies,
    ) -> Result<Bytes, MessageError> {
        let Asked { subscription_id, filters, filter, from, options, r#ref } = asked;
        if from.is_some() && !replies.may_catch_up() {
            self.stats.catch_ups_refused.add(1);
            return Err(self.too_many_catch_ups(slot, subscription_id, r#ref));
        }
        if !self.overflows.has_room_for_change(slot) {
            return Err(self.too_many_changes(subscription_id, r#ref));
        }
        let known = self.client(slot).subscriptions.get(&subscription_id);
        let is_behind = self.replays.has(slot, &subscription_id);
        let count = self.client(slot).subscriptions.len() + self.replays.count(slot);
        if known.is_none() && !is_behind {
            if count >= self.settings.subscriptions_max {
                let message = format!(
                    "this connection has {count} subscriptions, the limit; unsubscribe from one first"
                );
                return Err(MessageError {
                    subscription_id: Some(subscription_id),
                    r#ref,
                    ..MessageError::new(ErrorCode::TooManySubscriptions, message)
                });
            }
            self.stats.subscriptions_added.add(1);
            self.stats.subscriptions_active.add(1);
        }
        let StreamSettings { epoch, history, .. } = &self.settings;
        let position = from.map(|from| position(&from, epoch, &**history));
        match position {
            Some(Ok(position)) => {
                if let Some(key) = self.client(slot).subscriptions.remove(&subscription_id) {
                    self.end_live(slot, key, replies);
                }
                self.replays.remove(slot, &subscription_id);
                let from = (position, r#ref.clone());
                self.replays.start(slot, &subscription_id, filter, options, from);
                replies.catch_up();
            }
            Some(Err(_)) => {
                self.replays.remove(slot, &subscription_id);
                replies.notices(self.go_live(slot, &subscription_id, filter, options));
            }
            // Where it catches up, it goes on with that.
            None => {
                if let Err(filter) = self.replays.replace(slot, &subscription_id, filter, options) {
                    replies.notices(self.go_live(slot, &subscription_id, filter, options));
                }
            }
        }
        if !options.is_none() {
            replies.options();
        }
        let subscribed = ServerMessage::Subscribed {
            subscription_id: &subscription_id,
            filters: &filters,
            resumed: position.map(|position| position.is_ok()),
            not_resumed: position.and_then(Result::err),
            options,
            r#ref: r#ref.as_ref(),
        };
        Ok(subscribed.encode(self.encoding(slot)))
    }

    fn too_many_catch_ups(
        &self,
        slot: u32,
        subscription_id: String,
        r#ref: Option<serde_json::Value>,
    ) -> MessageError {
        let message = "too many clients ask for the past; subscribe again after retry_after_ms";
        MessageError {
            subscription_id: Some(subscription_id),
            r#ref,
            retry_after_ms: Some(self.retry_after_ms(slot)),
            ..MessageError::new(ErrorCode::Unavailable, message)
        }
    }

    /// When a client is to come back: not all at once.
    fn retry_after_ms(&self, client: impl std::hash::Hash) -> u64 {
        const SOONEST_MS: u64 = 250;
        /// Spread over this long.
        const SPREAD_MS: u64 = 5_000;
        SOONEST_MS + self.spread.hash_one(client) % SPREAD_MS
    }

    /// Whatever comes from now on that matches goes to the connection. Gives what the
    /// subscription, as it was before, still had to tell.
    fn go_live(
        &mut self,
        slot: u32,
        subscription_id: &str,
        filter: Filter,
        options: Options,
    ) -> Vec<(Bytes, u64)> {
        let key = self.join_live(slot, subscription_id, filter);
        self.wishes.set(slot, subscription_id, key, options, self.encodings[slot as usize])
    }

    fn join_live(&mut self, slot: u32, subscription_id: &str, filter: Filter) -> SubscriptionKey {
        let Self { index, overflows, edge, .. } = self;
        let known = self.clients[slot as usize].as_ref().expect("an open connection");
        let key = match known.subscriptions.get(subscription_id) {
            Some(key) if **index.filter(key) == filter => return key,
            Some(key) => {
                overflows.note_end(slot, key, index.filter(key), *edge);
                index.replace(key, filter);
                key
            }
            None => {
                let key = index.subscribe(slot, filter);
                self.client(slot).subscriptions.insert(subscription_id.into(), key);
                key
            }
        };
        self.overflows.note_begin(slot, key, self.edge);
        key
    }

    /// Nothing that comes from now on goes to the connection because of this subscription.
    fn end_live(&mut self, slot: u32, key: SubscriptionKey, replies: &mut Replies) {
        self.overflows.note_end(slot, key, self.index.filter(key), self.edge);
        self.index.unsubscribe(key);
        replies.notices(self.wishes.remove(slot, key, self.encodings[slot as usize]));
    }

    /// What ended subscriptions have matched is remembered until it is sent.
    fn too_many_changes(
        &self,
        subscription_id: String,
        r#ref: Option<serde_json::Value>,
    ) -> MessageError {
        self.stats.messages_rate_limited.add(1);
        let message = "too many subscription changes while this connection is behind; read what \
                       was sent, then try again";
        MessageError {
            subscription_id: Some(subscription_id),
            r#ref,
            ..MessageError::new(ErrorCode::RateLimited, message)
        }
    }

    fn unsubscribe(
        &mut self,
        slot: u32,
        subscription_id: String,
        r#ref: Option<serde_json::Value>,
        replies: &mut Replies,
    ) -> Result<Bytes, MessageError> {
        if !self.overflows.has_room_for_change(slot) {
            return Err(self.too_many_changes(subscription_id, r#ref));
        }
        if let Some(key) = self.client(slot).subscriptions.remove(&subscription_id) {
            self.end_live(slot, key, replies);
        } else if !self.replays.remove(slot, &subscription_id) {
            let message = "there is no subscription of this id on this connection";
            return Err(MessageError {
                subscription_id: Some(subscription_id),
                r#ref,
                ..MessageError::new(ErrorCode::NotFound, message)
            });
        }
        self.stats.subscriptions_removed.add(1);
        self.stats.subscriptions_active.sub(1);
        let (subscription_id, r#ref) = (&subscription_id, r#ref.as_ref());
        let unsubscribed = ServerMessage::Unsubscribed { subscription_id, r#ref };
        Ok(unsubscribed.encode(self.encoding(slot)))
    }

    /// Reads what was asked for of the past.
    fn replay(&mut self, slot: u32, step: &mut Step) -> Behind {
        let encoding = self.encoding(slot);
        let history = Arc::clone(&self.settings.history);
        let mut live = Vec::new();
        let behind =
            self.replays.advance(slot, step, encoding, &*history, |replay| live.push(replay));
        for Replay { subscription_id, filter, options, .. } in live {
            let untold = self.go_live(slot, &subscription_id, filter, options);
            debug_assert!(untold.is_empty(), "it was not live before");
        }
        behind
    }

    /// Reads what found no room on lanes of these priorities.
    fn read_overflow(&mut self, slot: u32, priorities: Priorities, step: &mut Step) -> Behind {
        let Some(Client { subscriptions }) = &self.clients[slot as usize] else {
            return Behind::No;
        };
        let reading = Reading {
            history: &*self.settings.history,
            index: &self.index,
            subscriptions,
            edge: self.edge,
            encoding: self.encodings[slot as usize],
            stats: &self.stats,
        };
        self.overflows.advance(slot, priorities, step, &reading)
    }

    fn client(&mut self, slot: u32) -> &mut Client {
        self.clients[slot as usize].as_mut().expect("an open connection")
    }
}

impl Handler for StreamHandler {
    fn admit(&mut self, key: Key, request: &Request) -> Result<Option<&'static str>, Refusal> {
        const NOT_FOUND: u16 = 404;
        if request.path != self.settings.path {
            return Err(Refusal::new(NOT_FOUND, "there is no stream at this path; try /ws"));
        }
        self.check_origin(request)?;
        let Negotiated { encoding, subprotocol, is_by_name } = negotiate(request)?;
        let slot = key.slot as usize;
        dense::reach(&mut self.encodings, slot, Encoding::default);
        dense::reach(&mut self.extended, slot, || false);
        self.encodings[slot] = encoding;
        self.extended[slot] = is_by_name;
        Ok(subprotocol)
    }

    fn opened(&mut self, key: Key, session_id: Uuid, _now: Instant, replies: &mut Replies) {
        let slot = key.slot as usize;
        dense::reach(&mut self.clients, slot, || None);
        self.clients[slot] = Some(Client::default());
        replies.send(self.welcome(session_id, self.encoding(key.slot)));
    }

    fn message(&mut self, key: Key, message: Message<'_>, now: Instant, replies: &mut Replies) {
        let answer = match self.admit_message(key, now) {
            Ok(()) => {
                let message = self.read(key, message, now);
                message.and_then(|message| self.answer(key.slot, message, replies))
            }
            Err(Refused::Now(error)) => Err(error),
            Err(Refused::ForGood) => return replies.close(flooding(Excess::Messages)),
        };
        match answer {
            Ok(answer) => answer.into_iter().for_each(|frame| replies.send(frame)),
            Err(error) => replies.send(error.as_message().encode(self.encoding(key.slot))),
        }
    }

    fn closed(&mut self, key: Key) {
        let Some(client) = self.clients[key.slot as usize].take() else { return };
        self.checkpoints.forget(key.slot);
        self.overflows.forget(key.slot, &self.stats);
        self.wishes.forget(key.slot);
        let count = (client.subscriptions.len() + self.replays.forget(key.slot)) as u64;
        client.subscriptions.into_keys().for_each(|key| self.index.unsubscribe(key));
        self.stats.subscriptions_removed.add(count);
        self.stats.subscriptions_active.sub(count);
    }

    fn closing(&mut self, key: Key, close: &Close, after: Option<u64>) -> Option<Bytes> {
        let spread = self.retry_after_ms((key.slot, key.generation));
        let retry_after_ms = close.code.invites_reconnect().then_some(spread);
        let (replayed, read) = (self.replays.position(key.slot), self.overflows.position(key.slot));
        let after = [after, replayed, read].into_iter().flatten().fold(self.seen_seq, u64::min);
        let resume = Resume { epoch: &self.settings.epoch, after };
        Some(
            ServerMessage::closing(close.code, retry_after_ms, resume)
                .encode(self.encoding(key.slot)),
        )
    }

    fn seen(&mut self, seq: u64) {
        self.seen_seq = seq;
    }

    fn hears_losses(&self, slot: u32) -> bool {
        self.extended.get(slot as usize).copied().unwrap_or(false)
    }

    fn kept(&self, slot: u32) -> Priorities {
        match self.hears_losses(slot) {
            true => Priorities::from_lowest(self.settings.shed_below),
            false => Priorities::ALL,
        }
    }

    fn overflow(&mut self, slot: u32, priority: Priority, seq: u64) -> bool {
        self.overflows.begin(slot, priority, seq, &self.stats);
        true
    }

    fn is_overflowing(&self, slot: u32, priority: Priority) -> bool {
        self.overflows.is_active(slot, priority)
    }

    fn dropped(&mut self, key: Key, loss: &Loss, reason: LossReason) -> Option<Bytes> {
        let (from_seq, to_seq) = loss.range()?;
        let counts = DroppedCounts {
            low: loss.count(Priority::Low),
            normal: loss.count(Priority::Normal),
            high: loss.count(Priority::High),
        };
        let reason = reason.as_str();
        let dropped = ServerMessage::Dropped { from_seq, to_seq, counts, reason };
        Some(dropped.encode(self.encoding(key.slot)))
    }

    fn wish(&mut self, slot: u32, event: &Encoded, now: Instant) -> Wish {
        let Self { wishes, clients, index, .. } = self;
        match &clients[slot as usize] {
            Some(client) => wishes.of(slot, event, now, &client.subscriptions, index),
            None => Wish::default(),
        }
    }

    fn collapsed(&mut self, key: Key, now: Option<Instant>) -> Option<(Bytes, u64)> {
        self.wishes.tell(key.slot, now, self.encodings[key.slot as usize])
    }

    fn collapsed_due(&self, slot: u32) -> Option<Instant> {
        self.wishes.next_due(slot)
    }

    fn checkpoint(&mut self, key: Key, now: Instant, is_heartbeat: bool) -> Option<Bytes> {
        // What was collapsed and not told is behind the position.
        let first_hidden = self.wishes.first_hidden(key.slot);
        let seq = first_hidden.map_or(self.seen_seq, |first| self.seen_seq.min(first - 1));
        let is_due = self.checkpoints.is_due(key.slot, seq, now, is_heartbeat);
        is_due.then(|| ServerMessage::Checkpoint { seq }.encode(self.encoding(key.slot)))
    }

    fn catch_up(&mut self, key: Key, step: &mut Step) -> Behind {
        const CRITICAL: Priorities = Priorities::only(Priority::Critical);
        // What was asked for goes behind critical events and ahead of the others.
        let critical = self.read_overflow(key.slot, CRITICAL, step);
        if critical != Behind::No {
            return critical;
        }
        let replays = match step.may_replay || self.replays.count(key.slot) == 0 {
            true => self.replay(key.slot, step),
            false => Behind::Yes,
        };
        if replays == Behind::Lost {
            return replays;
        }
        let others = self.read_overflow(key.slot, Priorities::ALL, step);
        if replays == Behind::Yes { others.max(replays) } else { others }
    }

    fn matching(&mut self, event: &Arc<Encoded>, slots: &mut Vec<u32>) {
        self.edge.advance(event.event.priority, event.event.seq);
        self.index.matching(&event.event.attributes(), slots);
    }

    fn park(&mut self, slot: u32) -> Option<u32> {
        // One with several may want an event because of any of them, and is told once.
        let client = self.clients.get(slot as usize).and_then(Option::as_ref)?;
        client.subscriptions.single().map(|key| self.index.park(key))
    }

    fn unpark(&mut self, slot: u32) {
        let client = self.clients.get(slot as usize).and_then(Option::as_ref);
        let keys = client.into_iter().flat_map(|client| client.subscriptions.keys());
        keys.for_each(|key| self.index.unpark(key));
    }

    fn parked(&self) -> &[Parked] {
        self.index.parked()
    }

    fn encoding(&self, slot: u32) -> Encoding {
        self.encodings[slot as usize]
    }

    fn interested(&self) -> usize {
        self.index.connections()
    }

    fn subscriptions(&self, slot: u32) -> usize {
        let live = self.clients.get(slot as usize).and_then(Option::as_ref);
        live.map_or(0, |client| client.subscriptions.len()) + self.replays.count(slot)
    }

    fn behind(&self, slot: u32) -> Option<u64> {
        [self.replays.position(slot), self.overflows.position(slot)].into_iter().flatten().min()
    }

    fn overflows(&self, slot: u32) -> [Option<u64>; Priority::ALL.len()] {
        self.overflows.positions(slot)
    }

    fn standings(&self, slot: u32, standings: &mut Vec<Standing>) {
        let live = self.clients.get(slot as usize).and_then(Option::as_ref);
        for (id, key) in live.into_iter().flat_map(|client| client.subscriptions.iter()) {
            let filter = Arc::clone(self.index.filter(key));
            standings.push(Standing { subscription_id: id.into(), filter, position: None });
        }
        standings.extend(self.replays.standings(slot));
    }
}

/// What becomes of a message beyond the rate.
enum Refused {
    /// It is answered, and the connection goes on.
    Now(MessageError),
    /// Too many were answered so already.
    ForGood,
}

/// Text is JSON, binary is `MessagePack`: a connection speaks one of them.
fn decode(
    message: Message<'_>,
    encoding: Encoding,
    permit: Permit<'_>,
) -> Result<ClientMessage, MessageError> {
    let unsupported = |spoken| Err(MessageError::new(ErrorCode::Unsupported, spoken));
    match (message, encoding) {
        (Message::Text(text), Encoding::Json) => client::decode_with_permit(text, permit),
        (Message::Binary(bytes), Encoding::MessagePack) => {
            client::decode_msgpack_with_permit(bytes, permit)
        }
        (Message::Binary(_), Encoding::Json) => {
            unsupported("this connection speaks JSON in text frames")
        }
        (Message::Text(_), Encoding::MessagePack) => {
            unsupported("this connection speaks MessagePack in binary frames")
        }
    }
}

//! The hub's loop: take a batch, sequence it, encode each event once, hand it to the
//! shards, answer the publisher. Urgent batches go first, also in the midst of another.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base::clock::{Clock, Instant};
use crate::base::lifecycle::{Lifecycle, Stage};
use crate::event::Publish;
use crate::hub::batches::{Batches, Next, Started};
use crate::hub::drain::{DrainPlan, Drainer};
use crate::hub::fanout::{Fanout, Parking};
use crate::hub::ingest::{Batch, Ingest, PublishError, Published, Publisher};
use crate::hub::stats::HubStats;
use crate::io::Waker;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;
use crate::shard::{Handle, Request};
use crate::stream::history::{self, Window, WindowWriter};
use crate::stream::{Sequenced, Sequencer};

/// What the hub must know at its start.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Identity of the sequence; new for every process until history survives one.
    pub epoch: String,
    pub ingest_events_max: usize,
    pub history: history::Limits,
    /// How the shards are to drain, unless who asks for it says otherwise.
    pub drain: DrainPlan,
}

/// The one thread that owns the sequence.
pub struct Hub {
    ingest: Arc<Ingest>,
    stats: Arc<HubStats>,
    sequencer: Sequencer,
    history: WindowWriter,
    ids: uuid::ContextV7,
    parking: Parking,
    lifecycle: Lifecycle,
    clock: Clock,
    drainer: Drainer,
}

impl Hub {
    pub fn new(settings: HubSettings, lifecycle: Lifecycle, clock: Clock) -> Self {
        let parking = Parking::new();
        let drainer = Drainer {
            lifecycle: lifecycle.clone(),
            hub: parking.waker().clone(),
            clock: clock.clone(),
            usual: settings.drain,
            begun: Arc::new(OnceLock::new()),
        };
        Self {
            ingest: Arc::new(Ingest::new(settings.ingest_events_max)),
            stats: Arc::new(HubStats::default()),
            sequencer: Sequencer::new(settings.epoch),
            history: WindowWriter::new(settings.history),
            ids: uuid::ContextV7::new(),
            parking,
            lifecycle,
            clock,
            drainer,
        }
    }

    /// The way in, for publishers of any thread.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            ingest: Arc::clone(&self.ingest),
            stats: Arc::clone(&self.stats),
            lifecycle: self.lifecycle.clone(),
            clock: self.clock.clone(),
            waker: self.waker(),
        }
    }

    /// The events of the past.
    pub fn history(&self) -> Arc<Window> {
        self.history.window()
    }

    /// What begins the drain.
    pub fn drainer(&self) -> Drainer {
        self.drainer.clone()
    }

    /// Ends the hub's sleep: shards call it when their inbox has room again.
    pub fn waker(&self) -> Waker {
        self.parking.waker().clone()
    }

    /// The hub with the shards that it hands events to.
    pub fn with_shards(self, shards: Vec<Handle>) -> HubLoop {
        HubLoop { hub: self, fanout: Fanout::new(shards), batches: Batches::default() }
    }

    /// Runs with these shards, as [`HubLoop::run`] has it.
    pub fn run(self, shards: Vec<Handle>) {
        self.with_shards(shards).run();
    }

    fn is_draining_done(&self, fanout: &Fanout, batches: &Batches) -> bool {
        match self.lifecycle.stage() {
            Stage::Starting | Stage::Serving => false,
            Stage::Draining => {
                self.ingest.is_settled() && batches.is_empty() && !fanout.is_holding()
            }
            Stage::Stopped => true,
        }
    }

    fn step(&mut self, fanout: &mut Fanout, batches: &mut Batches) -> bool {
        if !fanout.push_held_urgent() {
            return false;
        }
        if let Some(batch) = &mut batches.urgent {
            if !self.publish_urgent(batch, fanout) {
                batches.end_urgent();
            }
            return true;
        }
        // What is urgent in the batch whose turn it is came before what waits now.
        if let Some(started) = &mut batches.started
            && self.ingest.has_urgent()
            && self.publish_urgent(started, fanout)
        {
            return true;
        }
        if let Some(batch) = self.ingest.pop_urgent() {
            self.take_urgent(batch, batches);
            return true;
        }
        if !fanout.push_held() {
            let started = batches.started.as_mut();
            return started.is_some_and(|started| self.publish_urgent(started, fanout));
        }
        if let Some(started) = &mut batches.started {
            let is_over = self.publish_next(started, fanout);
            if is_over && let Some(started) = batches.started.take() {
                fanout.wake();
                started.finish();
            }
            return true;
        }
        batches.start_next(&self.ingest);
        batches.started.is_some()
    }

    fn wait(&self, fanout: &mut Fanout, batches: &Batches) {
        self.parking.park_unless(|| {
            // Batches that are not urgent are of no use before what is held has found room.
            let has_more = if fanout.is_holding_urgent() {
                fanout.push_held_urgent()
            } else if fanout.is_holding() {
                fanout.push_held() || self.ingest.has_urgent()
            } else {
                self.ingest.has_any()
            };
            has_more || self.is_draining_done(fanout, batches)
        });
    }

    /// Lets the urgent events of a batch go ahead of whatever waits.
    fn take_urgent(&mut self, batch: Batch, batches: &mut Batches) {
        let others = batch.events.len() - batch.urgent;
        if others > 0 && batches.may_start_whole(&batch, &self.ingest) {
            self.ingest.free(others);
            batches.started = Some(Started::new(batch));
        } else {
            batches.urgent = Some(Started::new(batch));
        }
    }

    /// Publishes the next event that is urgent in a batch; false when there is none.
    fn publish_urgent(&mut self, batch: &mut Started, fanout: &mut Fanout) -> bool {
        let Some(next) = batch.next_urgent() else { return false };
        self.publish(batch, next, fanout);
        if !batch.has_urgent() {
            fanout.wake();
        }
        true
    }

    /// Publishes the batch's next event; true when there is none.
    fn publish_next(&mut self, batch: &mut Started, fanout: &mut Fanout) -> bool {
        /// Shards begin while the rest of a large batch is encoded.
        const WAKE_EVERY: usize = 32;
        let Some(next) = batch.next() else { return true };
        let is_pause = next.index.is_multiple_of(WAKE_EVERY);
        self.publish(batch, next, fanout);
        if is_pause {
            fanout.wake();
        }
        false
    }

    fn publish(&mut self, batch: &mut Started, next: Next, fanout: &mut Fanout) {
        let Next { index, publish, accepted_at } = next;
        let (published, event) = self.sequence(publish, accepted_at);
        batch.note(index, published);
        let Some(event) = event else { return };
        if event.event.priority.is_urgent() {
            fanout.push_urgent(event, &self.stats);
        } else {
            fanout.push(event, &self.stats);
        }
    }

    /// Gives a publish its place; the event is absent where it is a duplicate.
    fn sequence(
        &mut self,
        publish: Publish,
        accepted_at: Instant,
    ) -> (Published, Option<Arc<Encoded>>) {
        let wall = self.clock.wall();
        let message_id = self.message_id(wall);
        match self.sequencer.sequence(publish, accepted_at, wall, message_id) {
            Sequenced::Duplicate { message_id, seq } => {
                self.stats.duplicates.add(1);
                (Published { message_id, seq, duplicate: true }, None)
            }
            Sequenced::New(event) => {
                let published =
                    Published { message_id: event.message_id, seq: event.seq, duplicate: false };
                let event = Arc::new(Encoded::new(*event));
                // Here and once, so that no shard waits for another one's encoding.
                event.frame(Encoding::Json);
                // Before any shard hears of it: who catches up finds all that others got.
                self.history.push(Arc::clone(&event));
                self.stats.history_bytes.set(self.history.bytes() as u64);
                self.stats.events_published.add(1);
                self.stats.newest_seq.set(published.seq);
                (published, Some(event))
            }
        }
    }

    /// UUIDv7 (RFC 9562 section 5.7): ordered by time, and by count within a millisecond.
    fn message_id(&self, wall: jiff::Timestamp) -> uuid::Uuid {
        let seconds = u64::try_from(wall.as_second()).unwrap_or(0);
        let nanos = u32::try_from(wall.subsec_nanosecond()).unwrap_or(0);
        uuid::Uuid::new_v7(uuid::Timestamp::from_unix(&self.ids, seconds, nanos))
    }

    fn drain(&self, fanout: &Fanout) {
        let DrainPlan { window, timeout } = self.drainer.plan();
        let deadline = self.clock.now() + timeout;
        for shard in fanout.shards() {
            if shard.request(Request::Drain { window, deadline }).is_err() {
                // So overloaded with requests that it cannot be asked: its clients still
                // reconnect after a reset.
                shard.force();
            }
        }
    }

    /// Answers batches that slipped in between a publisher's look at the lifecycle and now.
    fn refuse_late(&self) {
        const RETRY_AFTER: Duration = Duration::from_secs(5);
        let pop = || self.ingest.pop_urgent().or_else(|| self.ingest.pop_other());
        while let Some(batch) = pop() {
            self.stats.count_draining(batch.events.len());
            let _ = batch.answer.send(Err(PublishError::Draining { retry_after: RETRY_AFTER }));
        }
    }
}

/// The hub at work.
pub struct HubLoop {
    hub: Hub,
    fanout: Fanout,
    batches: Batches,
}

impl HubLoop {
    /// Runs until the server has stopped. When the server drains, everything that was
    /// taken is handed to the shards first, then they are told to drain.
    pub fn run(mut self) {
        let Hub { ingest, lifecycle, .. } = &self.hub;
        let _running = Running { ingest: Arc::clone(ingest), lifecycle: lifecycle.clone() };
        while !self.hub.is_draining_done(&self.fanout, &self.batches) {
            if !self.step() {
                self.rest();
                self.hub.wait(&mut self.fanout, &self.batches);
            }
        }
        let Self { hub, fanout, .. } = self;
        if hub.lifecycle.stage() == Stage::Stopped {
            // Forced: who waits is told by the end of its channel that it is not known how far
            // its events came.
            return;
        }
        hub.drain(&fanout);
        let is_stopped = || hub.lifecycle.stage() == Stage::Stopped;
        while !is_stopped() {
            hub.refuse_late();
            hub.parking.park_unless(|| hub.ingest.has_any() || is_stopped());
        }
        hub.refuse_late();
    }

    /// Does what is to be done next; false when there is nothing to do but wait.
    pub fn step(&mut self) -> bool {
        self.hub.step(&mut self.fanout, &mut self.batches)
    }

    /// What is to be done before a wait.
    pub fn rest(&mut self) {
        self.fanout.wake();
        let Hub { history, clock, stats, .. } = &mut self.hub;
        history.trim(clock.now());
        stats.history_bytes.set(history.bytes() as u64);
    }
}

/// Lives as long as the hub runs.
struct Running {
    ingest: Arc<Ingest>,
    lifecycle: Lifecycle,
}

impl Drop for Running {
    /// Nobody sequences any more, also when the hub panicked: who waits is told by the end of
    /// its channel, who comes later by the lifecycle.
    fn drop(&mut self) {
        self.lifecycle.advance(Stage::Stopped);
        self.ingest.clear();
    }
}

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

    /// Runs until the server has stopped. When the server drains, everything that was
    /// taken is handed to the shards first, then they are told to drain.
    pub fn run(mut self, shards: Vec<Handle>) {
        let _running =
            Running { ingest: Arc::clone(&self.ingest), lifecycle: self.lifecycle.clone() };
        let mut fanout = Fanout::new(shards);
        let mut batches = Batches::default();
        while !self.is_draining_done(&fanout, &batches) {
            if !self.step(&mut fanout, &mut batches) {
                fanout.wake();
                self.history.trim(self.clock.now());
                self.stats.history_bytes.set(self.history.bytes() as u64);
                self.wait(&mut fanout, &batches);
            }
        }
        if self.lifecycle.stage() == Stage::Stopped {
            // Forced: who waits is told by the end of its channel that it is not known how far
            // its events came.
            return;
        }
        self.drain(&fanout);
        while self.lifecycle.stage() < Stage::Stopped {
            self.refuse_late();
            self.parking
                .park_unless(|| self.ingest.has_any() || self.lifecycle.stage() == Stage::Stopped);
        }
        self.refuse_late();
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

    /// Does what is to be done next; false when there is nothing to do but wait.
    fn step(&mut self, fanout: &mut Fanout, batches: &mut Batches) -> bool {
        if let Some(batch) = self.ingest.pop_urgent() {
            self.take_urgent(batch, fanout, batches);
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
            let has_more = match fanout.is_holding() {
                true => fanout.push_held() || self.ingest.has_urgent(),
                false => self.ingest.has_any(),
            };
            has_more || self.is_draining_done(fanout, batches)
        });
    }

    /// Publishes the urgent events of a batch, ahead of whatever waits.
    fn take_urgent(&mut self, batch: Batch, fanout: &mut Fanout, batches: &mut Batches) {
        let others = batch.events.len() - batch.urgent;
        if others > 0 && batches.may_start_whole(&batch, &self.ingest) {
            self.ingest.free(others);
            batches.started = Some(Started::new(batch));
            return;
        }
        let mut batch = Started::new(batch);
        self.publish_urgent(&mut batch, fanout);
        if batch.is_over() {
            batch.finish();
        } else {
            batches.set_aside(batch);
        }
    }

    /// Publishes what is urgent in a batch; false when there is nothing.
    fn publish_urgent(&mut self, batch: &mut Started, fanout: &mut Fanout) -> bool {
        let mut is_any = false;
        while let Some(next) = batch.next_urgent() {
            is_any = true;
            self.publish(batch, next, fanout);
        }
        fanout.wake();
        is_any
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
            fanout.push_urgent(&event, &self.parking, &self.lifecycle, &self.stats);
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

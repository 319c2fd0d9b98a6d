use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::segment::Segment;
use super::{Bounds, Expired, History};
use crate::base::clock::Instant;
use crate::base::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::event::Priorities;
use crate::protocol::Encoding;
use crate::protocol::encoded::Encoded;

/// How much is held. Whatever is reached first counts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory, estimated.
    pub bytes_max: usize,
    pub events_max: usize,
    pub age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self { bytes_max: HISTORY_BYTES_MAX, events_max: HISTORY_EVENTS_MAX, age_max: DAY }
    }
}

/// The newest events, in memory: one thread writes, any number read without waiting.
#[derive(Debug)]
pub struct Window {
    /// Oldest first; replaced whenever a segment begins or goes.
    segments: ArcSwap<Vec<Arc<Segment>>>,
    first: AtomicU64,
    newest: AtomicU64,
}

/// The one that adds to a window, and takes away what is beyond its limits.
#[derive(Debug)]
pub struct WindowWriter {
    window: Arc<Window>,
    limits: Limits,
    /// Of all events that are held.
    bytes: usize,
    /// Of those in the last segment.
    segment_bytes: usize,
}

impl WindowWriter {
    /// An empty window.
    pub fn new(limits: Limits) -> Self {
        let window = Window {
            segments: ArcSwap::default(),
            first: AtomicU64::new(1),
            newest: AtomicU64::new(0),
        };
        Self { window: Arc::new(window), limits, bytes: 0, segment_bytes: 0 }
    }

    pub fn window(&self) -> Arc<Window> {
        Arc::clone(&self.window)
    }

    /// Bytes of all events that are held, estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the next event of the sequence, and trims.
    pub fn push(&mut self, event: Arc<Encoded>) {
        let (seq, now) = (event.event.seq, event.event.accepted_at);
        let bytes = weight_bytes(&event);
        let segments = self.window.segments.load();
        match segments.last().filter(|last| !last.is_full() && !self.is_segment_large()) {
            Some(last) => last.push(event),
            None => {
                let segment = Segment::new(seq);
                segment.push(event);
                let longer = segments.iter().cloned().chain([Arc::new(segment)]);
                self.window.segments.store(Arc::new(longer.collect()));
                self.segment_bytes = 0;
            }
        }
        self.bytes += bytes;
        self.segment_bytes += bytes;
        self.window.newest.store(seq, Ordering::Release);
        self.trim(now);
    }

    /// Takes away what is beyond the limits at `now`.
    pub fn trim(&mut self, now: Instant) {
        let segments = self.window.segments.load();
        let before = self.window.bounds();
        let mut first = before.first;
        for segment in segments.iter() {
            while first <= before.newest
                && let Some(event) = segment.get(first)
                && self.is_beyond(event, before.newest - first + 1, now)
            {
                self.bytes -= weight_bytes(event);
                first += 1;
            }
        }
        if first == before.first {
            return;
        }
        // Readers that come now are told that it is gone; those that are reading keep it alive.
        self.window.first.store(first, Ordering::Release);
        if segments.first().is_some_and(|oldest| oldest.end() <= first) {
            let held = segments.iter().filter(|segment| segment.end() > first).cloned();
            self.window.segments.store(Arc::new(held.collect()));
        }
    }

    fn is_beyond(&self, oldest: &Encoded, events: u64, now: Instant) -> bool {
        self.bytes > self.limits.bytes_max
            || events > self.limits.events_max as u64
            || now.since(oldest.event.accepted_at) > self.limits.age_max
    }

    /// A segment is freed as a whole: it must not hold much of the window.
    fn is_segment_large(&self) -> bool {
        const SHARE: usize = 64;
        self.segment_bytes > self.limits.bytes_max / SHARE
    }
}

/// The frames in both encodings, and what was decoded.
fn weight_bytes(event: &Encoded) -> usize {
    const EVENT_BYTES: usize = 512;
    event.frame(Encoding::Json).len() * 3 + EVENT_BYTES
}

impl History for Window {
    fn bounds(&self) -> Bounds {
        // In this order: what is trimmed meanwhile makes the range smaller, never wrong.
        let newest = self.newest.load(Ordering::Acquire);
        let first = self.first.load(Ordering::Acquire).min(newest + 1);
        Bounds { first, newest }
    }

    fn position_at(&self, since: jiff::Timestamp) -> u64 {
        let Bounds { first, newest } = self.bounds();
        let segments = self.segments.load();
        // The wall clock may have been set back: the first that is not older counts.
        let events = segments.iter().flat_map(|segment| {
            (segment.base().max(first)..segment.end()).filter_map(|seq| segment.get(seq))
        });
        let mut young = events.filter(|event| event.event.timestamp >= since);
        young.next().map_or(newest, |event| event.event.seq - 1)
    }

    fn read(
        &self,
        position: u64,
        priorities: Priorities,
        visit: &mut dyn FnMut(&Arc<Encoded>) -> ControlFlow<()>,
    ) -> Result<u64, Expired> {
        let bounds = self.bounds();
        if position >= bounds.newest {
            return Ok(position);
        }
        if !bounds.reach_back_to(position) {
            return Err(Expired { first: bounds.first });
        }
        let segments = self.segments.load();
        if segments.first().is_none_or(|oldest| oldest.base() > position + 1) {
            // Trimmed since the bounds were read.
            return Err(Expired { first: self.bounds().first });
        }
        let end = bounds.newest + 1;
        let from = segments.partition_point(|segment| segment.end() <= position + 1);
        for segment in &segments[from..] {
            let mut seq = position + 1;
            while let Some(event) = segment.next(seq, end, priorities) {
                if visit(event).is_break() {
                    return Ok(event.event.seq - 1);
                }
                seq = event.event.seq + 1;
            }
            if segment.end() >= end {
                break;
            }
        }
        Ok(bounds.newest)
    }
}

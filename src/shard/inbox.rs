//! What waits for a shard: events from the hub, requests from the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use crossbeam::queue::ArrayQueue;
use tokio::sync::oneshot;

use crate::base::limits;
use crate::io::Waker;
use crate::protocol::encoded::Encoded;
use crate::shard::requests::Request;
use crate::shard::stats::{Histograms, ShardStats};

/// Bounded and lock-free; written by any thread, read by one shard.
#[derive(Debug)]
pub struct Inbox {
    /// Critical and high events, which do not wait behind the others.
    urgent: Queue,
    events: Queue,
    requests: ArrayQueue<Request>,
    /// Every event up to this seq was queued here.
    complete_to: AtomicU64,
    forced: AtomicBool,
    /// Nobody reads any more.
    ended: AtomicBool,
}

impl Inbox {
    pub fn new(events_max: usize) -> Self {
        Self {
            urgent: Queue::new(events_max),
            events: Queue::new(events_max),
            requests: ArrayQueue::new(limits::INBOX_REQUESTS_MAX),
            complete_to: AtomicU64::new(0),
            forced: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// The next critical or high event.
    pub fn pop_urgent(&self) -> Option<Arc<Encoded>> {
        self.urgent.events.pop()
    }

    /// The next normal or low event.
    pub fn pop_event(&self) -> Option<Arc<Encoded>> {
        self.events.events.pop()
    }

    pub fn pop_request(&self) -> Option<Request> {
        self.requests.pop()
    }

    pub fn has_urgent(&self) -> bool {
        !self.urgent.events.is_empty()
    }

    pub fn has_events(&self) -> bool {
        self.has_urgent() || !self.events.events.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        !self.has_events() && self.requests.is_empty()
    }

    /// Events and requests that wait.
    pub fn depth(&self) -> usize {
        self.urgent.events.len() + self.events.events.len() + self.requests.len()
    }

    pub fn events_max(&self) -> usize {
        self.events.events.capacity()
    }

    /// Whether the shard shall end at once, whatever is still queued.
    pub fn is_forced(&self) -> bool {
        self.forced.load(Ordering::Acquire)
    }

    /// The shard has ended: who asked it for something hears so by the end of its channel.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.drop_requests_if_ended();
    }

    fn drop_requests_if_ended(&self) {
        // Called after the push of a request and after the end: either one sees the other.
        fence(Ordering::SeqCst);
        if self.ended.load(Ordering::Relaxed) {
            while self.requests.pop().is_some() {}
        }
    }

    /// The seq up to which every event was queued here: to be read before both queues are found
    /// empty, it is the position that has been reached then. What comes after it may lack an event
    /// that the hub holds for want of room, while urgent ones pass.
    pub fn complete_to(&self) -> u64 {
        self.complete_to.load(Ordering::Acquire)
    }

    /// True once after the hub was refused and there is some room again: it wants a wake.
    pub fn relieve(&self) -> bool {
        // The fence pairs with the one in `Queue::push`: either the hub's second try sees the
        // room, or this sees that it is starved.
        fence(Ordering::SeqCst);
        // Both, whatever comes of the first.
        self.urgent.relieve() | self.events.relieve()
    }
}

/// Events of one kind, from the hub to a shard.
#[derive(Debug)]
struct Queue {
    events: ArrayQueue<Arc<Encoded>>,
    /// The hub found it full and waits for room.
    starved: AtomicBool,
}

impl Queue {
    fn new(events_max: usize) -> Self {
        Self { events: ArrayQueue::new(events_max), starved: AtomicBool::new(false) }
    }

    fn push(&self, event: Arc<Encoded>) -> Result<(), Arc<Encoded>> {
        let Err(event) = self.events.push(event) else { return Ok(()) };
        self.starved.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.events.push(event)
    }

    /// Whether the hub waits and there is so much room that it need not be woken for every
    /// single event.
    fn relieve(&self) -> bool {
        const SHARE: usize = 8;
        let capacity = self.events.capacity();
        self.starved.load(Ordering::Relaxed)
            && capacity - self.events.len() >= capacity.div_ceil(SHARE)
            && self.starved.swap(false, Ordering::AcqRel)
    }
}

/// How other threads reach a shard.
#[derive(Clone, Debug)]
pub struct Handle {
    index: usize,
    driver_name: &'static str,
    stats: Arc<ShardStats>,
    inbox: Arc<Inbox>,
    waker: Waker,
}

impl Handle {
    pub fn new(
        index: usize,
        driver_name: &'static str,
        stats: Arc<ShardStats>,
        inbox: Arc<Inbox>,
        waker: Waker,
    ) -> Self {
        Self { index, driver_name, stats, inbox, waker }
    }

    pub fn index(&self) -> usize {
        self.index
    }

    /// The driver that this shard runs on: `uring`, `epoll` or `sim`.
    pub fn driver_name(&self) -> &'static str {
        self.driver_name
    }

    pub fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// Whether the shard has ended: it has no connections any more.
    pub fn has_ended(&self) -> bool {
        self.inbox.ended.load(Ordering::Acquire)
    }

    /// Whether the shard waits for something to do, and nobody has woken it.
    pub fn is_parked(&self) -> bool {
        self.waker.is_parked()
    }

    /// Events that wait in the fuller of the two queues, and how many each can hold.
    pub fn inbox_usage(&self) -> (usize, usize) {
        let Inbox { urgent, events, .. } = &*self.inbox;
        (urgent.events.len().max(events.events.len()), events.events.capacity())
    }

    /// Copies of the shard's histograms; `None` when it has ended or is overloaded with
    /// requests.
    pub async fn histograms(&self) -> Option<Box<Histograms>> {
        let (answer, histograms) = oneshot::channel();
        self.request(Request::Histograms(answer)).ok()?;
        histograms.await.ok()
    }

    /// Queues a request and wakes the shard. One that has ended drops it.
    ///
    /// # Errors
    /// Gives the request back when too many wait already.
    pub fn request(&self, request: Request) -> Result<(), Request> {
        self.inbox.requests.push(request)?;
        self.inbox.drop_requests_if_ended();
        self.waker.wake();
        Ok(())
    }

    /// Ends the shard at once.
    pub fn force(&self) {
        self.inbox.forced.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Queues an event without waking the shard. One thread only, the hub.
    ///
    /// # Errors
    /// Gives the event back when the inbox is full; the hub's waker is called when there
    /// is room again.
    pub fn push_event(&self, event: Arc<Encoded>) -> Result<(), Arc<Encoded>> {
        let Inbox { urgent, events, .. } = &*self.inbox;
        let queue = if event.event.priority.is_urgent() { urgent } else { events };
        queue.push(event)
    }

    /// Says that every event up to `seq` was queued here. One thread only, the hub.
    pub fn set_complete_to(&self, seq: u64) {
        self.inbox.complete_to.store(seq, Ordering::Release);
    }

    /// Wakes the shard if it is parked.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

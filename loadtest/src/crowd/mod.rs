//! Many subscribers on one thread: opened in a window, read as they become ready.

pub mod dial;
pub mod slot;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock::{now_ns, own_cpu_us};
use crate::connection::{Connection, Fault, Shared};
use crate::events::EventCache;
use crate::link::{Command, Plan, Progress, Report};
use crate::priority::ByPriority;
use crate::tally::{Ledger, Tally};
use dial::{DialQueue, Dialer};
use slot::{Open, Pumped, Scratch, Slot};

const WAKE: Token = Token(usize::MAX);
const EVENTS_PER_TURN: usize = 1024;
const TURN_MAX: Duration = Duration::from_millis(50);
const REPORT_INTERVAL_NS: u64 = 100_000_000;
const TIMEOUT_SCAN_INTERVAL_NS: u64 = 500_000_000;
/// How long a goodbye may take.
const GOODBYE_NS: u64 = 5_000_000_000;

/// The subscribers of one thread.
pub struct Crowd {
    plan: Plan,
    poll: Poll,
    waker: Arc<Waker>,
    slots: Vec<Slot>,
    queue: DialQueue,
    dialer: Dialer,
    /// Being opened: not yet subscribed, not given up.
    outstanding: u32,
    shared: Shared,
    scratch: Scratch,
    progress: Progress,
    retries: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    reported_ns: u64,
    scanned_ns: u64,
}

/// Whether another attempt may help.
enum Failure {
    Transient { why: String, after_secs: Option<u64> },
    Final(String),
}

impl Crowd {
    /// # Errors
    /// When the kernel has no epoll instance to give.
    pub fn new(plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            waker,
            slots: (0..plan.connections).map(|_| Slot::default()).collect(),
            queue: DialQueue::new(plan.connections),
            dialer: Dialer::new(plan.target.addr, plan.sources.clone(), plan.receive_buffer),
            outstanding: 0,
            shared: Shared {
                run: plan.run,
                filters: plan.filters.clone(),
                hears_losses: plan.hears_losses,
                encodings: plan.encodings,
                subscriptions: plan.subscriptions,
                warm_up: plan.warm_up,
                subscribe: plan.subscribe.clone(),
                events: EventCache::default(),
                ledger: Ledger::default(),
            },
            scratch: Scratch::default(),
            progress: Progress::default(),
            retries: BTreeMap::new(),
            failures: BTreeMap::new(),
            reported_ns: 0,
            scanned_ns: 0,
            plan,
        })
    }

    /// To be woken after a command was sent.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Runs until told to finish, or until nobody is left to tell; returns the tally.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn run(
        mut self,
        commands: &Receiver<Command>,
        mut report: impl FnMut(Report),
    ) -> io::Result<Tally> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            match commands.try_recv() {
                Ok(Command::Finish { published, by_priority }) => {
                    self.say_goodbye(&mut events)?;
                    return Ok(self.tally(published, &by_priority));
                }
                Ok(Command::Drain) => self.progress.draining = 1,
                Ok(Command::Begin(_)) | Err(TryRecvError::Disconnected) => {
                    return Ok(self.tally(0, &ByPriority::default()));
                }
                Err(TryRecvError::Empty) => {}
            }
            self.dial();
            self.turn(&mut events)?;
            let now = now_ns();
            self.give_up_slow_handshakes(now);
            if now >= self.reported_ns + REPORT_INTERVAL_NS {
                self.reported_ns = now;
                self.progress.deliveries = self.shared.ledger.accounted();
                self.progress.cpu_us = own_cpu_us();
                report(Report::Progress(self.progress));
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(TURN_MAX)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let accounted_before = self.shared.ledger.accounted();
        for event in events.iter().filter(|event| event.token() != WAKE) {
            self.handle_ready(event);
        }
        if self.shared.ledger.accounted() > accounted_before {
            self.progress.delivered_ns = now_ns();
        }
        Ok(())
    }

    fn dial(&mut self) {
        while self.outstanding < self.plan.window {
            let now = now_ns();
            let Some(index) = self.queue.next(now) else { return };
            self.outstanding += 1;
            let slot = &mut self.slots[index as usize];
            slot.attempts += 1;
            let mut request = Vec::new();
            let number = self.plan.first + index;
            let connection =
                Connection::start(&self.plan.target, number, &self.shared, &mut request);
            let interest = Interest::READABLE | Interest::WRITABLE;
            let opened = self.dialer.open().and_then(|mut stream| {
                self.poll.registry().register(&mut stream, Token(index as usize), interest)?;
                Ok(stream)
            });
            match opened {
                Ok(stream) => {
                    slot.open = Some(Open::new(stream, now, request));
                    slot.connection = Some(connection);
                }
                Err(error) => self.fail(index, failure_of(&error)),
            }
        }
    }

    fn handle_ready(&mut self, event: &Event) {
        let index = event.token().0;
        let Some(Slot { open: Some(open), connection: Some(connection), was_live, .. }) =
            self.slots.get_mut(index)
        else {
            return;
        };
        let is_read_closed = event.is_read_closed() || event.is_error();
        let pumped =
            open.pump(connection, &mut self.shared, &mut self.scratch, is_read_closed, now_ns);
        if !*was_live && (connection.is_live() || connection.is_closing()) {
            *was_live = true;
            self.outstanding -= 1;
            self.progress.subscribed += 1;
            self.note_settled();
        }
        self.handle_pumped(index as u32, pumped);
    }

    fn handle_pumped(&mut self, index: u32, pumped: Pumped) {
        let slot = &mut self.slots[index as usize];
        if matches!(pumped, Pumped::Waiting) {
            return;
        }
        if !slot.was_live {
            let failure = match pumped {
                Pumped::Faulty(fault) => failure_of_fault(&fault),
                Pumped::Lost(error) => failure_of(&error),
                Pumped::Waiting | Pumped::Ended => {
                    let why = "ended before it was subscribed".to_owned();
                    Failure::Transient { why, after_secs: None }
                }
            };
            return self.fail(index, failure);
        }
        let is_within_frame = slot.open.take().is_some_and(|open| open.is_within_frame());
        if let Some(connection) = &mut slot.connection {
            if matches!(pumped, Pumped::Ended) {
                connection.handle_end(is_within_frame);
            }
            slot.is_lost = !connection.is_closing() || self.progress.draining == 0;
            if slot.is_lost {
                let code = connection.ending().close_code;
                self.note_failure(loss_reason(&pumped, code));
            }
        }
        self.progress.ended += 1;
    }

    /// An attempt to open a connection came to nothing.
    fn fail(&mut self, index: u32, failure: Failure) {
        self.outstanding -= 1;
        let slot = &mut self.slots[index as usize];
        slot.open = None;
        slot.connection = None;
        match failure {
            Failure::Transient { why, after_secs } if slot.attempts < self.plan.attempts => {
                self.queue.retry(index, slot.attempts, after_secs, now_ns());
                *self.retries.entry(why).or_default() += 1;
            }
            Failure::Transient { why, .. } | Failure::Final(why) => {
                self.progress.failed += 1;
                self.note_failure(why);
                self.note_settled();
            }
        }
    }

    fn note_failure(&mut self, why: String) {
        *self.failures.entry(why).or_default() += 1;
    }

    fn note_settled(&mut self) {
        let settled = self.progress.subscribed + self.progress.failed;
        if settled == u64::from(self.plan.connections) {
            self.progress.settled_ns = now_ns();
        }
    }

    fn give_up_slow_handshakes(&mut self, now_ns: u64) {
        if self.outstanding == 0 || now_ns < self.scanned_ns + TIMEOUT_SCAN_INTERVAL_NS {
            return;
        }
        self.scanned_ns = now_ns;
        let timeout_ns = self.plan.handshake_timeout_ms * 1_000_000;
        for index in 0..self.plan.connections {
            let slot = &self.slots[index as usize];
            let is_slow = |open: &Open| now_ns.saturating_sub(open.since_ns) > timeout_ns;
            if !slot.was_live && slot.open.as_ref().is_some_and(is_slow) {
                let why = "not subscribed in time".to_owned();
                self.fail(index, Failure::Transient { why, after_secs: None });
            }
        }
    }

    /// Closes what is still open, and waits for the server's part, within bounds.
    fn say_goodbye(&mut self, events: &mut Events) -> io::Result<()> {
        self.progress.draining = 1;
        for index in 0..self.plan.connections {
            let slot = &mut self.slots[index as usize];
            let Slot { open: Some(open), connection: Some(connection), was_live: true, .. } = slot
            else {
                continue;
            };
            if let Err(error) = open.close(connection, &mut self.scratch) {
                self.handle_pumped(index, Pumped::Lost(error));
            }
        }
        let until_ns = now_ns() + GOODBYE_NS;
        while self.progress.ended < self.progress.subscribed && now_ns() < until_ns {
            self.turn(events)?;
        }
        Ok(())
    }

    fn tally(mut self, published: u32, by_priority: &ByPriority<u64>) -> Tally {
        let mut tally = self.shared.ledger.tally();
        for slot in self.slots.iter().filter(|slot| slot.was_live) {
            tally.lost += u64::from(slot.is_lost);
            if let Some(connection) = &slot.connection {
                let due = self.plan.filters.due(connection.number(), published);
                tally.add_connection(connection, due, by_priority);
            }
        }
        tally.retries = std::mem::take(&mut self.retries);
        tally.failures = std::mem::take(&mut self.failures);
        tally
    }
}

pub fn loss_reason(pumped: &Pumped, close_code: Option<u16>) -> String {
    match (close_code, pumped) {
        (Some(code), _) => format!("subscribed, then closed with {code}"),
        (None, Pumped::Faulty(fault)) => fault.to_string(),
        (None, Pumped::Lost(error)) => format!("subscribed, then {error}"),
        (None, Pumped::Waiting | Pumped::Ended) => {
            "subscribed, then ended without a close frame".to_owned()
        }
    }
}

fn failure_of(error: &io::Error) -> Failure {
    let why = error.to_string();
    match error.raw_os_error() {
        // Waiting does not make descriptors, and the server's address does not change.
        Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::EACCES | nix::libc::EPERM) => {
            Failure::Final(why)
        }
        _ => Failure::Transient { why, after_secs: None },
    }
}

fn failure_of_fault(fault: &Fault) -> Failure {
    let why = fault.to_string();
    match fault {
        // 408: the request was not there in time, as where this side is the slow one.
        Fault::Refused { status: 408 | 429 | 503, retry_after_secs } => {
            Failure::Transient { why, after_secs: *retry_after_secs }
        }
        Fault::ClosedEarly(_) => Failure::Transient { why, after_secs: None },
        Fault::Refused { .. }
        | Fault::Upgrade(_)
        | Fault::Frame(_)
        | Fault::Message(_)
        | Fault::NoWelcome
        | Fault::NotSubscribed(_) => Failure::Final(why),
    }
}

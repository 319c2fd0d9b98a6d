//! Connections that come when they are due, stay for a while, and say goodbye.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::Settings;
use crate::Error;
use crate::clock::now_ns;
use crate::connection::{Connection, Shared};
use crate::crowd::dial::Dialer;
use crate::crowd::loss_reason;
use crate::crowd::slot::{Open, Pumped, Scratch};
use crate::events::EventCache;
use crate::priority::ByPriority;
use crate::tally::{Ledger, empty_histogram};

const EVENTS_PER_TURN: usize = 1_024;
const TURN_MAX: Duration = Duration::from_millis(5);
const SCAN_INTERVAL_NS: u64 = 100_000_000;
/// How long a goodbye may take.
const GOODBYE_NS: u64 = 5_000_000_000;

/// The visitors of a run, on one thread.
pub struct Visitors {
    settings: Settings,
    poll: Poll,
    dialer: Dialer,
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    /// Who leaves when, soonest first: all stay equally long. A seat that was given to another
    /// meanwhile has another visitor's number.
    leaving: VecDeque<(u64, usize, u64)>,
    shared: Shared,
    scratch: Scratch,
    connect_us: Histogram<u64>,
    came: u64,
    subscribed: u64,
    orderly: u64,
    failures: BTreeMap<String, u64>,
    last_subscribed_ns: u64,
    scanned_ns: u64,
}

struct Seat {
    /// Among all visitors.
    visitor: u64,
    due_ns: u64,
    open: Open,
    connection: Connection,
    was_live: bool,
    left_ns: Option<u64>,
}

/// What visitors met.
#[derive(Debug)]
pub struct Visited {
    pub ledger: Ledger,
    pub connect_us: Histogram<u64>,
    pub due: u64,
    pub subscribed: u64,
    pub orderly: u64,
    pub failures: BTreeMap<String, u64>,
    /// From the first that was due to the last that was subscribed.
    pub seconds: f64,
}

impl Visitors {
    /// # Errors
    /// When the kernel has no epoll instance to give.
    pub fn new(settings: &Settings, run: u64) -> Result<Self, Error> {
        let fanout = &settings.fanout;
        Ok(Self {
            poll: Poll::new().map_err(Error::io("cannot poll"))?,
            dialer: Dialer::new(fanout.target.addr, Vec::new(), None),
            seats: Vec::new(),
            free: Vec::new(),
            leaving: VecDeque::new(),
            shared: Shared {
                run,
                filters: fanout.filters.clone(),
                hears_losses: false,
                encodings: fanout.encodings,
                subscriptions: fanout.subscriptions,
                warm_up: ByPriority::default(),
                subscribe: None,
                events: EventCache::default(),
                ledger: Ledger::default(),
            },
            scratch: Scratch::default(),
            connect_us: empty_histogram(),
            came: 0,
            subscribed: 0,
            orderly: 0,
            failures: BTreeMap::new(),
            last_subscribed_ns: 0,
            scanned_ns: 0,
            settings: settings.clone(),
        })
    }

    /// For as long as events are due; returns when the last visitor has gone.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn run(mut self) -> io::Result<Visited> {
        let start_ns = now_ns();
        let (fanout, rate) = (&self.settings.fanout, self.settings.visits_per_second);
        let due = (f64::from(fanout.events) / fanout.rate * rate).ceil() as u64;
        let due_ns = |visitor: u64| start_ns + (visitor as f64 * 1e9 / rate) as u64;
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while self.came < due || self.free.len() < self.seats.len() {
            while self.came < due && due_ns(self.came) <= now_ns() {
                self.open(self.came, due_ns(self.came));
                self.came += 1;
            }
            let next_ns = if self.came < due { due_ns(self.came) } else { u64::MAX };
            let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns())).min(TURN_MAX);
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            events.iter().for_each(|event| self.handle_ready(event));
            self.say_goodbyes();
            self.give_up();
        }
        let elapsed_ns = self.last_subscribed_ns.saturating_sub(start_ns);
        Ok(Visited {
            ledger: self.shared.ledger,
            connect_us: self.connect_us,
            due,
            subscribed: self.subscribed,
            orderly: self.orderly,
            failures: self.failures,
            seconds: elapsed_ns as f64 / 1e9,
        })
    }

    fn open(&mut self, visitor: u64, due_ns: u64) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let mut request = Vec::new();
        let number = visitor as u32;
        let target = &self.settings.fanout.target;
        let connection = Connection::start(target, number, &self.shared, &mut request);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let opened = self.dialer.open().and_then(|mut stream| {
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                let open = Open::new(stream, now_ns(), request);
                let seat =
                    Seat { visitor, due_ns, open, connection, was_live: false, left_ns: None };
                self.seats[index] = Some(seat);
            }
            Err(error) => {
                self.free.push(index);
                self.fail(error.to_string());
            }
        }
    }

    fn handle_ready(&mut self, event: &Event) {
        let index = event.token().0;
        let Some(Some(seat)) = self.seats.get_mut(index) else { return };
        let is_read_closed = event.is_read_closed() || event.is_error();
        let pumped = seat.open.pump(
            &mut seat.connection,
            &mut self.shared,
            &mut self.scratch,
            is_read_closed,
            now_ns,
        );
        if !seat.was_live && seat.connection.is_live() {
            let now = now_ns();
            seat.was_live = true;
            self.subscribed += 1;
            self.last_subscribed_ns = now;
            self.connect_us.saturating_record(now.saturating_sub(seat.due_ns) / 1_000);
            let leave_ns = now + self.settings.stay.as_nanos() as u64;
            self.leaving.push_back((leave_ns, index, seat.visitor));
        }
        self.handle_pumped(index, &pumped);
    }

    fn handle_pumped(&mut self, index: usize, pumped: &Pumped) {
        if matches!(pumped, Pumped::Waiting) {
            return;
        }
        let Some(seat) = self.seats[index].take() else { return };
        self.free.push(index);
        let code = seat.connection.ending().close_code;
        match (pumped, seat.left_ns) {
            (_, Some(_)) if code.is_some() => self.orderly += 1,
            (Pumped::Faulty(fault), _) if !seat.was_live => self.fail(fault.to_string()),
            (Pumped::Lost(error), _) if !seat.was_live => self.fail(error.to_string()),
            _ if !seat.was_live => self.fail("ended before it was subscribed".to_owned()),
            _ => self.fail(loss_reason(pumped, code)),
        }
    }

    fn say_goodbyes(&mut self) {
        let now = now_ns();
        while let Some((_, index, visitor)) =
            self.leaving.pop_front_if(|(leave_ns, ..)| *leave_ns <= now)
        {
            let Some(seat) = &mut self.seats[index] else { continue };
            if seat.visitor != visitor || seat.connection.is_closing() {
                continue;
            }
            seat.left_ns = Some(now);
            if let Err(error) = seat.open.close(&mut seat.connection, &mut self.scratch) {
                self.handle_pumped(index, &Pumped::Lost(error));
            }
        }
    }

    /// Whoever waits too long to be let in, or for the answer to a goodbye.
    fn give_up(&mut self) {
        let now = now_ns();
        if now < self.scanned_ns + SCAN_INTERVAL_NS {
            return;
        }
        self.scanned_ns = now;
        let handshake_ns = self.settings.fanout.handshake_timeout.as_nanos() as u64;
        for index in 0..self.seats.len() {
            let why = match &self.seats[index] {
                Some(seat) if !seat.was_live && now > seat.due_ns + handshake_ns => {
                    "not subscribed in time"
                }
                Some(Seat { left_ns: Some(left_ns), .. }) if now > left_ns + GOODBYE_NS => {
                    "a goodbye was not answered"
                }
                _ => continue,
            };
            self.seats[index] = None;
            self.free.push(index);
            self.fail(why.to_owned());
        }
    }

    fn fail(&mut self, why: String) {
        *self.failures.entry(why).or_default() += 1;
    }
}

//! Subscribers of a storm on one thread: opened, cut and opened again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::SockRef;

use super::LOOK;
use super::member::{Member, News};
use crate::Error;
use crate::clock::now_ns;
use crate::crowd::dial::Dialer;
use crate::events::EventCache;
use crate::say::Say;
use crate::target::Target;

/// Attempts under way at once, until all are there for the first time.
const WINDOW: usize = 500;
/// From an attempt to caught up.
const ATTEMPT_NS: u64 = 20_000_000_000;
const FIRST_WAIT_MS: u64 = 100;
const WAIT_MAX_MS: u64 = 5_000;

/// What a party and its run tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// Cut all off; taken back when that is done.
    pub cut: AtomicBool,
    finish: AtomicBool,
    /// The event that everyone should have got by then; others may publish, too.
    last: AtomicU64,
    /// Members that have caught up.
    live: AtomicU64,
    pub last_back_ns: AtomicU64,
    /// The newest event that anyone has got, and the one that the slowest has.
    newest: AtomicU64,
    slowest: AtomicU64,
}

impl Signals {
    /// Waits until so many have caught up.
    ///
    /// # Errors
    /// When they have not, after so long.
    pub fn await_all(&self, members: u32, limit: Duration, say: &mut dyn Say) -> Result<(), Error> {
        let until_ns = now_ns() + limit.as_nanos() as u64;
        while self.live.load(Ordering::SeqCst) < u64::from(members) {
            if now_ns() > until_ns {
                let live = self.live.load(Ordering::SeqCst);
                return Err(Error::Usage(format!("only {live} of {members} connections are up")));
            }
            say.progress(&|| format!("{} of {members} are up", self.live.load(Ordering::SeqCst)));
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The newest event that anyone has got, once nothing new comes.
    pub fn newest_of(&self, other: &Self, limit: Duration) -> u64 {
        const QUIET: u32 = 25;
        let newest = || self.newest.load(Ordering::SeqCst).max(other.newest.load(Ordering::SeqCst));
        let (mut last, mut quiet, until_ns) = (newest(), 0, now_ns() + limit.as_nanos() as u64);
        while quiet < QUIET && now_ns() < until_ns {
            thread::sleep(LOOK);
            quiet = if newest() == last { quiet + 1 } else { 0 };
            last = newest();
        }
        last
    }

    /// Ends the party once everyone has that event, or after so long.
    pub fn finish_at(&self, newest: u64, limit: Duration) {
        let until_ns = now_ns() + limit.as_nanos() as u64;
        while self.slowest.load(Ordering::SeqCst) < newest && now_ns() < until_ns {
            thread::sleep(LOOK);
        }
        self.last.store(newest, Ordering::SeqCst);
        self.finish.store(true, Ordering::SeqCst);
    }
}

/// The members, and afterwards what they met.
pub struct Party {
    target: Target,
    dialer: Dialer,
    run: u64,
    signals: Arc<Signals>,
    poll: Poll,
    seats: Vec<Seat>,
    /// Whom to open next, by when.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    underway: usize,
    was_cut: bool,
    events: EventCache,
    pub latencies: Vec<(u64, u64)>,
    pub refusals: BTreeMap<String, u64>,
    pub retries: u64,
    pub replayed: u64,
    pub holes: u64,
    pub duplicates: u64,
    pub dropped: u64,
    pub behind: u64,
    /// Ends of connections that were live, the cut aside.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Seat {
    member: Member,
    open: Option<TcpStream>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    attempts: u32,
    since_ns: u64,
}

impl Party {
    /// # Errors
    /// When the kernel has no epoll instance to give.
    pub fn new(
        target: Target,
        dialer: Dialer,
        run: u64,
        members: u32,
        signals: Arc<Signals>,
    ) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::io("cannot make an epoll instance"))?;
        Ok(Self {
            target,
            dialer,
            run,
            signals,
            poll,
            seats: (0..members).map(|_| Seat::default()).collect(),
            due: (0..members as usize).map(|number| Reverse((0, number))).collect(),
            underway: 0,
            was_cut: false,
            events: EventCache::default(),
            latencies: Vec::new(),
            refusals: BTreeMap::new(),
            retries: 0,
            replayed: 0,
            holes: 0,
            duplicates: 0,
            dropped: 0,
            behind: 0,
            lost: 0,
        })
    }

    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Until it is told to finish.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn run(mut self) -> Result<Self, Error> {
        const EVENTS: usize = 1_024;
        let (mut events, mut news) = (Events::with_capacity(EVENTS), Vec::new());
        let mut input = vec![0; 256 * 1024];
        let mut looked_ns = 0;
        while !self.signals.finish.load(Ordering::SeqCst) {
            if self.signals.cut.load(Ordering::SeqCst) {
                self.cut();
            }
            self.dial();
            match self.poll.poll(&mut events, Some(Duration::from_millis(5))) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("waiting for sockets")(error)),
            }
            for event in &events {
                self.pump(event.token().0, &mut input, &mut news);
            }
            if now_ns() > looked_ns + LOOK.as_nanos() as u64 {
                looked_ns = now_ns();
                self.look_round(looked_ns);
            }
        }
        let last = self.signals.last.load(Ordering::SeqCst);
        for seat in &self.seats {
            let (counts, place) = (seat.member.counts, seat.member.place.as_ref());
            self.replayed += counts.replayed;
            self.holes += counts.holes;
            self.duplicates += counts.duplicates;
            self.dropped += counts.dropped;
            self.behind += u64::from(place.is_none_or(|place| place.seq < last));
        }
        Ok(self)
    }

    /// Cuts all off, without a farewell, and has them all come back at once.
    fn cut(&mut self) {
        self.signals.live.store(0, Ordering::SeqCst);
        self.due.clear();
        self.underway = 0;
        self.was_cut = true;
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if let Some(stream) = seat.open.take() {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            seat.leave();
            seat.attempts = 0;
            self.due.push(Reverse((0, number)));
        }
        self.signals.cut.store(false, Ordering::SeqCst);
    }

    fn dial(&mut self) {
        while self.was_cut || self.underway < WINDOW {
            let now = now_ns();
            match self.due.peek() {
                Some(Reverse((due_ns, _))) if *due_ns <= now => {}
                _ => return,
            }
            let Some(Reverse((_, number))) = self.due.pop() else { return };
            self.underway += 1;
            let seat = &mut self.seats[number];
            self.retries += u64::from(seat.attempts > 0);
            seat.attempts += 1;
            seat.since_ns = now;
            seat.member.start(&self.target, &mut seat.unsent);
            let registry = self.poll.registry();
            match self.dialer.open().and_then(|stream| registered(stream, registry, number)) {
                Ok(stream) => seat.open = Some(stream),
                Err(error) => self.end(number, error.to_string(), None),
            }
        }
    }

    fn pump(&mut self, number: usize, input: &mut [u8], news: &mut Vec<News>) {
        let seat = &mut self.seats[number];
        if seat.open.is_none() {
            return;
        }
        let before = seat.member.is_live();
        let ended = seat.pump(&mut self.events, input, news);
        let now = now_ns();
        let mut came_back = false;
        let mut why = ended.map(|why| (why, None));
        for news in news.drain(..) {
            match news {
                News::CaughtUp => came_back = true,
                News::Event(mark) if mark.run == self.run && before => {
                    self.latencies.push((mark.due_ns, now.saturating_sub(mark.due_ns) / 1_000));
                }
                News::Event(_) => {}
                // The first to be told is the one that names a time.
                News::Ended { why: told, after_ms } => {
                    why = why.filter(|(_, after)| after.is_some()).or(Some((told, after_ms)));
                }
            }
        }
        if let Some(place) = &self.seats[number].member.place {
            self.signals.newest.fetch_max(place.seq, Ordering::SeqCst);
        }
        if came_back {
            self.underway = self.underway.saturating_sub(1);
            self.signals.last_back_ns.fetch_max(now, Ordering::SeqCst);
            self.signals.live.fetch_add(1, Ordering::SeqCst);
        }
        if let Some((why, after_ms)) = why {
            self.end(number, why, after_ms);
        }
    }

    /// A connection or an attempt is over: another one follows.
    fn end(&mut self, number: usize, why: String, after_ms: Option<u64>) {
        let seat = &mut self.seats[number];
        if seat.member.is_live() {
            self.lost += 1;
            self.signals.live.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.underway = self.underway.saturating_sub(1);
        }
        *self.refusals.entry(why).or_default() += 1;
        let attempts = seat.attempts;
        seat.open = None;
        seat.leave();
        let doubled = FIRST_WAIT_MS << attempts.min(6);
        let wait_ms = after_ms.unwrap_or(doubled).min(WAIT_MAX_MS);
        let wait_ms = wait_ms + fastrand::u64(0..=wait_ms / 4);
        self.due.push(Reverse((now_ns() + wait_ms * 1_000_000, number)));
    }

    /// Gives up attempts that take too long, and sees how far the slowest is.
    fn look_round(&mut self, now_ns: u64) {
        let seq = |seat: &Seat| seat.member.place.as_ref().map_or(0, |place| place.seq);
        let slowest = self.seats.iter().map(seq).min().unwrap_or(u64::MAX);
        self.signals.slowest.store(slowest, Ordering::SeqCst);
        for number in 0..self.seats.len() {
            let seat = &self.seats[number];
            let is_slow = seat.open.is_some() && now_ns > seat.since_ns + ATTEMPT_NS;
            if is_slow && !seat.member.is_live() {
                self.end(number, "not caught up in time".to_owned(), None);
            }
        }
    }
}

impl Seat {
    fn leave(&mut self) {
        self.member.leave();
        (self.partial, self.unsent) = (Vec::new(), Vec::new());
    }

    /// Writes and reads what goes; why the connection has ended.
    fn pump(
        &mut self,
        events: &mut EventCache,
        input: &mut [u8],
        news: &mut Vec<News>,
    ) -> Option<String> {
        loop {
            if let Err(error) = self.flush() {
                return Some(error.to_string());
            }
            let Some(stream) = &mut self.open else { return None };
            let kept = self.partial.len();
            input[..kept].copy_from_slice(&self.partial);
            match stream.read(&mut input[kept..]) {
                Ok(0) => return Some("ended".to_owned()),
                Ok(count) => {
                    let input = &input[..kept + count];
                    let taken = self.member.handle_input(input, events, &mut self.unsent, news);
                    self.partial.clear();
                    self.partial.extend_from_slice(&input[taken..]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Some(error.to_string()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.open else { return Ok(()) };
        while !self.unsent.is_empty() {
            match stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Not connected yet: it will be told when it is.
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn registered(mut stream: TcpStream, registry: &Registry, number: usize) -> io::Result<TcpStream> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut stream, Token(number), interest)?;
    Ok(stream)
}

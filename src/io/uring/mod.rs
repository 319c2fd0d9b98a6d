//! The driver on io_uring, directly on the kernel's interface (Linux 6.1).
//!
//! The ring belongs to the thread that makes the driver (SINGLE_ISSUER): make it on the
//! shard's thread. Sockets are direct descriptors, in a table of the ring's own.

mod accept;
mod buffers;
mod setup;
#[cfg(test)]
mod tests;
mod wake;

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use self::accept::Accepts;
use self::buffers::{GROUP, ProvidedBuffers};
use self::setup::Mode;
use self::wake::WakeEvent;
use super::errno::{ENTER_RETRIES_MAX, EnterAnswer, os_error};
use super::table::Table;
use super::{
    Completion, Completions, Driver, DriverConfig, DriverStats, Kind, Op, Outcome, Shutdown,
    Socket, Token, Waker,
};
use crate::base::clock::{Clock, Instant};
use crate::base::slab::Key;

pub use setup::{Features, Unavailable};

/// `user_data` of the driver's own operations.
const WAKE: Token = Token::new(Kind::Internal, Key { slot: 0, generation: 0 });
const CANCEL: Token = Token::new(Kind::Internal, Key { slot: 1, generation: 0 });

/// The order of fields is the order of dropping: the ring goes first. Before that, `drop`
/// ends every operation, after which the kernel knows none of the memory in `held`.
pub struct UringDriver {
    ring: IoUring,
    held: ManuallyDrop<Held>,
    listener: TcpListener,
    clock: Clock,
    features: Features,
    /// Cancellations for which the submission queue had no room.
    cancels: Vec<Token>,
    reaped: Vec<Cqe>,
    stats: DriverStats,
}

/// Everything that the kernel may write to or read from while operations are in flight.
struct Held {
    table: Table,
    accepts: Accepts,
    buffers: ProvidedBuffers,
    wake: WakeEvent,
}

#[derive(Clone, Copy)]
struct Cqe {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// Whether io_uring can be used in this process: builds a small driver and drops it. For the
/// composition root to decide once.
///
/// # Errors
/// Says why not.
pub fn probe_uring() -> Result<Features, Unavailable> {
    let config = DriverConfig {
        sq_entries: 8,
        cq_entries: 16,
        sockets_max: 8,
        recv_buffers: 4,
        recv_buffer_bytes: 64,
        accepts: 1,
        ..DriverConfig::default()
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .map_err(|error| Unavailable::at("binding to probe", &error))?;
    Ok(UringDriver::new(&config, listener)?.features().clone())
}

impl UringDriver {
    /// To be called on the thread that will use the driver.
    ///
    /// # Errors
    /// Where the kernel refuses io_uring or lacks a part of it.
    ///
    /// # Panics
    /// If the configuration contradicts itself.
    pub fn new(config: &DriverConfig, listener: TcpListener) -> Result<Self, Unavailable> {
        Self::in_mode(config, listener, &Mode::ALL)
    }

    /// In the first of the modes that the kernel takes.
    fn in_mode(
        config: &DriverConfig,
        listener: TcpListener,
        modes: &[Mode],
    ) -> Result<Self, Unavailable> {
        config.check();
        let (ring, features) = setup::ring(config, modes)?;
        // On a non-blocking listener an accept would fail instead of waiting.
        listener
            .set_nonblocking(false)
            .map_err(|error| Unavailable::at("making the listener blocking", &error))?;
        let held = Held {
            table: Table::new(features.sockets_max),
            accepts: Accepts::new(config.accepts),
            buffers: ProvidedBuffers::new(config.recv_buffers, config.recv_buffer_bytes),
            wake: WakeEvent::new().map_err(|error| Unavailable::at("eventfd", &error))?,
        };
        // SAFETY: `drop` unregisters before `held` goes; until then `held` stays in the driver, and
        // what is registered lies on the heap.
        let registered = unsafe { held.buffers.register(&ring.submitter()) };
        registered.map_err(|error| Unavailable::at("registering receive buffers", &error))?;
        Ok(Self {
            ring,
            held: ManuallyDrop::new(held),
            listener,
            clock: config.clock.clone(),
            features,
            cancels: Vec::new(),
            reaped: Vec::new(),
            stats: DriverStats::default(),
        })
    }

    pub fn features(&self) -> &Features {
        &self.features
    }

    pub fn stats(&self) -> DriverStats {
        DriverStats { in_flight: self.in_flight(), ..self.stats }
    }

    /// # Panics
    /// If the driver's bookkeeping is wrong.
    pub fn invariants(&self) {
        self.held.table.invariants();
        assert!(self.held.table.open_count() <= self.features.sockets_max);
    }

    fn in_flight(&self) -> u64 {
        self.held.accepts.in_flight() as u64 + u64::from(self.held.table.in_flight())
    }

    /// Room in the submission queue for one more, by submitting what is staged if need be.
    fn has_room(&mut self) -> bool {
        if self.ring.submission().is_full() {
            self.submit();
        }
        !self.ring.submission().is_full()
    }

    /// Stages an entry; there must be room.
    fn stage(&mut self, entry: Entry, user_data: Token) {
        let entry = entry.user_data(user_data.to_bits());
        // SAFETY: whatever the entry points to is static (`NOBODY`), or is in `held` or lies on the
        // heap and is owned by it, and stays there until the terminal completion: addresses and the
        // wake count are freed only with `held`, buffers of sends leave the table when their
        // completion comes.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "staged without room");
        self.stats.submissions += 1;
    }

    fn entry_of(&self, kind: Kind, socket: Socket) -> Entry {
        let fixed = Fixed(socket.0);
        match kind {
            Kind::Recv => opcode::RecvMulti::new(fixed, GROUP).build(),
            Kind::Send => {
                let buf = self.held.table.send_buf(socket).expect("begun with a buffer");
                let bytes = buf.remaining();
                let length = u32::try_from(bytes.len()).unwrap_or(i32::MAX as u32);
                opcode::Send::new(fixed, bytes.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build()
            }
            Kind::Shutdown => match self.held.table.shutdown(socket) {
                Shutdown::Write => opcode::Shutdown::new(fixed, libc::SHUT_WR).build(),
                Shutdown::Both => opcode::Shutdown::new(fixed, libc::SHUT_RDWR).build(),
                Shutdown::Reset => disconnect(fixed),
            },
            Kind::Close => opcode::Close::new(fixed).build(),
            Kind::Accept | Kind::Internal => unreachable!("{kind:?} has no socket"),
        }
    }

    /// What must be staged before each wait: the read of the eventfd, and late cancellations.
    fn stage_own(&mut self) {
        if !self.held.wake.is_armed() && self.has_room() {
            let entry = self.held.wake.arm();
            self.stage(entry, WAKE);
        }
        while let Some(token) = self.cancels.pop() {
            if !self.try_cancel(token) {
                self.cancels.push(token);
                break;
            }
        }
    }

    /// False when there was no room.
    fn try_cancel(&mut self, token: Token) -> bool {
        let target = match self.held.accepts.find(token) {
            Some(place) => Some(place_token(place)),
            None => self.held.table.find(token).map(|(kind, socket)| socket_token(kind, socket)),
        };
        let Some(target) = target else { return true };
        if !self.has_room() {
            return false;
        }
        self.stage(opcode::AsyncCancel::new(target.to_bits()).build(), CANCEL);
        true
    }

    /// Submits what is staged and waits for `want` completions.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<usize> {
        self.held.buffers.publish();
        self.stats.enters += 1;
        let submitter = self.ring.submitter();
        if want == 0 {
            return submitter.submit();
        }
        match timeout {
            Some(Duration::ZERO) => self.look(),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                submitter.submit_with_args(want, &SubmitArgs::new().timespec(&timeout))
            }
            None => submitter.submit_with_args(want, &SubmitArgs::new()),
        }
    }

    /// Submits what is staged and lets the kernel complete what it can, without a wait: for a
    /// timeout of zero the kernel would set a timer, and on a virtual machine leave it for that.
    fn look(&mut self) -> io::Result<usize> {
        /// IORING_ENTER_GETEVENTS (io_uring_enter(2)).
        const GETEVENTS: u32 = 1;
        let staged = self.ring.submission().len() as u32;
        // SAFETY: as many entries as are staged, which `stage` vouches for; no argument is passed,
        // and none is announced by the flags.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(staged, 0, GETEVENTS, None) }
    }

    /// Enters until the kernel has taken everything and waited once; see `errno`.
    fn enter_and_wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        for _ in 0..=ENTER_RETRIES_MAX {
            let timeout = deadline.map(|deadline| deadline.since(self.clock.now()));
            match self.enter(1, timeout) {
                Ok(_) if self.ring.submission().is_empty() => return Ok(()),
                // Some were not taken, and so the kernel did not wait either.
                Ok(_) => {}
                Err(error) => match EnterAnswer::to(&error) {
                    EnterAnswer::Return | EnterAnswer::Reap => return Ok(()),
                    EnterAnswer::Retry => {}
                    EnterAnswer::Fatal => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Copies out what the completion queue holds, then translates it.
    fn reap(&mut self, completions: &mut Completions) {
        assert!(self.reaped.is_empty());
        if self.ring.submission().cq_overflow() {
            self.stats.overflows += 1;
        }
        let copy = |cqe: cqueue::Entry| Cqe {
            user_data: cqe.user_data(),
            result: cqe.result(),
            flags: cqe.flags(),
        };
        self.reaped.extend(self.ring.completion().map(copy));
        let mut reaped = std::mem::take(&mut self.reaped);
        self.stats.completions += reaped.len() as u64;
        for cqe in reaped.drain(..) {
            completions.extend(self.held.translate(cqe));
        }
        self.reaped = reaped;
    }

    /// Cancels everything and waits for the last completion. False if the kernel still holds
    /// on to something after a time that is long for it.
    fn end_everything(&mut self) -> bool {
        const ROUNDS_MAX: u32 = 200;
        const ROUND: Duration = Duration::from_millis(10);
        if !self.cancel_everything() {
            return false;
        }
        let mut discarded = Completions::new();
        for _ in 0..ROUNDS_MAX {
            if self.in_flight() == 0 && !self.held.wake.is_armed() {
                return true;
            }
            if let Err(error) = self.enter(1, Some(ROUND))
                && EnterAnswer::to(&error) == EnterAnswer::Fatal
            {
                return false;
            }
            self.reap(&mut discarded);
            discarded.clear();
        }
        false
    }

    /// One cancellation for each operation: each is found by hash, whereas a cancellation of
    /// all takes the kernel time in the square of their number. False when there is no room.
    fn cancel_everything(&mut self) -> bool {
        let places = self.held.accepts.places_in_flight();
        let mut targets: Vec<Token> = places.into_iter().map(place_token).collect();
        let on_sockets = self.held.table.all_in_flight();
        targets.extend(on_sockets.into_iter().map(|(kind, socket)| socket_token(kind, socket)));
        targets.push(WAKE);
        for target in targets {
            if !self.has_room() {
                return false;
            }
            self.stage(opcode::AsyncCancel::new(target.to_bits()).build(), CANCEL);
        }
        true
    }
}

/// Connects a socket to nobody, which is how TCP is told to abort (connect(2), `AF_UNSPEC`).
fn disconnect(fixed: Fixed) -> Entry {
    static NOBODY: libc::sockaddr =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    opcode::Connect::new(fixed, &raw const NOBODY, len).build()
}

impl Driver for UringDriver {
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op> {
        if !self.has_room() {
            self.stats.pushes_refused += 1;
            return Err(op);
        }
        let (kind, socket) = match &op {
            Op::Accept => {
                let Some(place) = self.held.accepts.vacant() else {
                    self.stats.pushes_refused += 1;
                    return Err(op);
                };
                let entry = self.held.accepts.begin(place, token, self.listener.as_raw_fd());
                self.stage(entry, place_token(place));
                return Ok(());
            }
            Op::Recv(socket) => (Kind::Recv, *socket),
            Op::Send(socket, _) => (Kind::Send, *socket),
            Op::Shutdown(socket, _) => (Kind::Shutdown, *socket),
            Op::Close(socket) => (Kind::Close, *socket),
        };
        self.held.table.begin(token, op);
        let entry = self.entry_of(kind, socket);
        self.stage(entry, socket_token(kind, socket));
        Ok(())
    }

    fn cancel(&mut self, token: Token) {
        if !self.try_cancel(token) {
            self.cancels.push(token);
        }
    }

    fn submit(&mut self) {
        if !self.ring.submission().is_empty() {
            // Whatever the answer: what is left is submitted by the next wait, which sees the error
            // too.
            let _ = self.enter(0, None);
        }
    }

    fn submit_and_wait(
        &mut self,
        deadline: Option<Instant>,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.stage_own();
        // Without the read of the eventfd nobody could end the wait: look, but do not wait.
        let is_wakeable = self.held.wake.is_armed();
        let deadline = if is_wakeable { deadline } else { Some(self.clock.now()) };
        self.enter_and_wait(deadline)?;
        self.reap(completions);
        if cfg!(debug_assertions) {
            self.invariants();
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.held.wake.waker()
    }
}

impl fmt::Debug for UringDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UringDriver");
        debug.field("features", &self.features).field("stats", &self.stats());
        debug.finish_non_exhaustive()
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        let ended = self.end_everything();
        let submitter = self.ring.submitter();
        // Closes the sockets now; the ring's own end would do it some time later.
        let is_free = ended
            && submitter.unregister_files().is_ok()
            && self.held.buffers.unregister(&submitter).is_ok();
        if is_free {
            // SAFETY: dropped once, here. No operation is in flight and the buffer ring is
            // unregistered, so that the kernel knows none of this memory.
            unsafe { ManuallyDrop::drop(&mut self.held) };
        }
        // Else it is leaked: the kernel may still write to it.
    }
}

impl Held {
    /// A completion of the kernel in the contract's terms; none for the driver's own.
    fn translate(&mut self, cqe: Cqe) -> Option<Completion> {
        let own = Token::from_bits(cqe.user_data);
        let Key { slot, .. } = own.key();
        let socket = Socket(slot);
        let (token, outcome) = match own.kind() {
            Kind::Accept => self.accepted(slot, cqe),
            Kind::Recv => self.received(socket, cqe),
            Kind::Send => self.sent(socket, cqe),
            Kind::Shutdown => (self.table.end(Kind::Shutdown, socket), shut_down(cqe.result)),
            Kind::Close => self.closed(socket, cqe),
            Kind::Internal => {
                if own == WAKE {
                    self.wake.disarm();
                }
                return None;
            }
        };
        Some(Completion { token, outcome })
    }

    fn accepted(&mut self, place: u32, cqe: Cqe) -> (Token, Outcome) {
        let (token, peer) = self.accepts.end(place);
        let Ok(index) = u32::try_from(cqe.result) else { return (token, failed(cqe.result)) };
        let socket = Socket(index);
        self.table.open(socket);
        (token, Outcome::Accepted { socket, peer })
    }

    /// Without F_MORE a completion is the last one of a multishot receive, also when it
    /// brings data: the completion queue was full, say.
    fn received(&mut self, socket: Socket, cqe: Cqe) -> (Token, Outcome) {
        let more = cqueue::more(cqe.flags);
        let token = if more {
            self.table.token(Kind::Recv, socket).expect("a receive in flight")
        } else {
            self.table.end(Kind::Recv, socket)
        };
        let bytes = usize::try_from(cqe.result).unwrap_or(0);
        // Named by an error or the end as well, sometimes; then it goes straight back.
        let buffer = cqueue::buffer_select(cqe.flags).map(|id| self.buffers.received(id, bytes));
        let outcome = match (cqe.result, buffer) {
            (1.., Some(bytes)) => Outcome::Received { bytes, more },
            (1.., None) => unreachable!("data without a buffer"),
            (0, _) => Outcome::ReceivedEnd,
            (error, _) => failed(error),
        };
        assert!(!more || cqe.result > 0, "a receive ended and goes on");
        (token, outcome)
    }

    fn sent(&mut self, socket: Socket, cqe: Cqe) -> (Token, Outcome) {
        let (token, mut buf) = self.table.end_send(socket);
        let outcome = match usize::try_from(cqe.result) {
            Ok(count) if count > 0 => {
                buf.advance(count);
                Outcome::Sent { buf, count }
            }
            Ok(_) => Outcome::Failed { error: os_error(libc::EPIPE), buf: Some(buf) },
            Err(_) => Outcome::Failed { error: os_error(-cqe.result), buf: Some(buf) },
        };
        (token, outcome)
    }

    fn closed(&mut self, socket: Socket, cqe: Cqe) -> (Token, Outcome) {
        let token = self.table.end(Kind::Close, socket);
        if cqe.result < 0 {
            return (token, failed(cqe.result));
        }
        self.table.close(socket);
        (token, Outcome::Closed)
    }
}

fn shut_down(result: i32) -> Outcome {
    match -result {
        0 | libc::ENOTCONN => Outcome::ShutDown,
        _ => failed(result),
    }
}

fn failed(result: i32) -> Outcome {
    Outcome::Failed { error: os_error(-result), buf: None }
}

/// `user_data` of an accept, which stands for its place.
fn place_token(place: u32) -> Token {
    Token::new(Kind::Accept, Key { slot: place, generation: 0 })
}

/// `user_data` of an operation on a socket. No generation: a socket is reused only after
/// every completion of its operations has come.
fn socket_token(kind: Kind, socket: Socket) -> Token {
    Token::new(kind, Key { slot: socket.0, generation: 0 })
}

/// A ring used from two threads would be refused by the kernel at best: not `Send`. Ambiguous,
/// and so not compiled, if it were.
const _: () = {
    trait NotSend<Witness> {
        const CHECKED: () = ();
    }
    impl<T> NotSend<u8> for T {}
    impl<T: Send> NotSend<u16> for T {}
    <UringDriver as NotSend<_>>::CHECKED
};

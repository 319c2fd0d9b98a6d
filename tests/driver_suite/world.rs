//! A shard in miniature, which also keeps the books: every operation gets exactly one
//! terminal completion, under its own token.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use alarmcast::base::buffers::SendBuf;
use alarmcast::base::clock::{Clock, Instant};
use alarmcast::base::slab::Key;
use alarmcast::io::{Completion, Driver, DriverConfig, Kind, Op, Outcome, Shutdown, Socket, Token};

use crate::harness::{Client, Harness};

/// Waits until something is taken for lost; each lasts [`TURN`] at most.
const TURNS_MAX: usize = 2_000;
const TURN: Duration = Duration::from_millis(10);

pub struct World<H: Harness> {
    pub harness: H,
    in_flight: HashMap<Token, Kind>,
    arrived: VecDeque<Completion>,
    tokens: u32,
}

/// Roomy enough not to matter.
pub fn roomy() -> DriverConfig {
    DriverConfig {
        clock: Clock::System,
        sq_entries: 64,
        cq_entries: 256,
        sockets_max: 64,
        recv_buffers: 64,
        recv_buffer_bytes: 2048,
        accepts: 8,
    }
}

/// As small as it gets.
pub fn tiny() -> DriverConfig {
    DriverConfig {
        sq_entries: 8,
        cq_entries: 8,
        sockets_max: 256,
        recv_buffers: 4,
        recv_buffer_bytes: 512,
        ..roomy()
    }
}

/// Bytes in which a loss, a repetition or an exchange shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

impl<H: Harness> World<H> {
    pub fn new(config: DriverConfig) -> Self {
        let harness = H::new(config);
        Self { harness, in_flight: HashMap::new(), arrived: VecDeque::new(), tokens: 0 }
    }

    pub fn now(&self) -> Instant {
        self.harness.clock().now()
    }

    /// A token that was never used before.
    pub fn token(&mut self, kind: Kind) -> Token {
        self.tokens += 1;
        Token::new(kind, Key { slot: self.tokens % 97, generation: self.tokens })
    }

    pub fn push(&mut self, op: Op) -> Token {
        let token = self.token(kind_of(&op));
        self.push_as(token, op);
        token
    }

    /// Pushes; where there is no room, again after the next wait.
    pub fn push_as(&mut self, token: Token, mut op: Op) {
        for _ in 0..TURNS_MAX {
            let kind = kind_of(&op);
            match self.harness.driver().push(token, op) {
                Ok(()) => {
                    assert!(self.in_flight.insert(token, kind).is_none());
                    return;
                }
                Err(back) => op = back,
            }
            self.turn();
        }
        panic!("no room for {op:?}");
    }

    pub fn send(&mut self, socket: Socket, bytes: Vec<u8>) -> Token {
        self.push(Op::Send(socket, SendBuf::gathered(bytes)))
    }

    /// One wait; what arrives is kept.
    pub fn turn(&mut self) -> usize {
        let deadline = self.now() + TURN;
        self.turn_until(Some(deadline))
    }

    pub fn turn_until(&mut self, deadline: Option<Instant>) -> usize {
        let mut completions = Vec::new();
        self.harness.driver().submit_and_wait(deadline, &mut completions).unwrap();
        let count = completions.len();
        for completion in completions {
            self.check(&completion);
            self.arrived.push_back(completion);
        }
        assert_eq!(self.harness.stats().in_flight, self.in_flight.len() as u64);
        self.harness.invariants();
        count
    }

    /// Everything that has arrived and was not looked at.
    pub fn drain(&mut self) -> Vec<Completion> {
        self.arrived.drain(..).collect()
    }

    pub fn is_in_flight(&self, token: Token) -> bool {
        self.in_flight.contains_key(&token)
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The next completion of `token`.
    pub fn outcome(&mut self, token: Token) -> Outcome {
        self.outcome_while(token, |_| {})
    }

    /// The next completion of `token`; `meanwhile` acts before each wait.
    pub fn outcome_while(&mut self, token: Token, mut meanwhile: impl FnMut(&mut H)) -> Outcome {
        for _ in 0..TURNS_MAX {
            let place = self.arrived.iter().position(|completion| completion.token == token);
            if let Some(completion) = place.and_then(|place| self.arrived.remove(place)) {
                return completion.outcome;
            }
            assert!(self.is_in_flight(token), "{token:?} has ended already");
            meanwhile(&mut self.harness);
            self.turn();
        }
        panic!("nothing came of {token:?}");
    }

    /// A connection: the driver's end and the client's.
    pub fn connection(&mut self) -> (Socket, H::Client) {
        let accept = self.push(Op::Accept);
        let client = self.harness.connect();
        let (socket, peer) = self.accepted(accept);
        assert_eq!(peer, client.addr());
        (socket, client)
    }

    /// Whom an accept brought; one that found no descriptor is pushed again.
    pub fn accepted(&mut self, mut accept: Token) -> (Socket, SocketAddr) {
        loop {
            match self.outcome(accept) {
                Outcome::Accepted { socket, peer } => return (socket, peer),
                other => assert_eq!(errno(&other), Some(libc::EMFILE), "{other:?}"),
            }
            accept = self.push(Op::Accept);
        }
    }

    /// Receives until `len` bytes have come, pushing the receive again where it ends.
    pub fn receive(&mut self, socket: Socket, len: usize) -> Vec<u8> {
        let mut received = Vec::new();
        let mut recv = self.push(Op::Recv(socket));
        while received.len() < len {
            match self.outcome(recv) {
                Outcome::Received { bytes, more } => {
                    received.extend_from_slice(&bytes);
                    drop(bytes);
                    if !more {
                        recv = self.push(Op::Recv(socket));
                    }
                }
                Outcome::Failed { error, .. } if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    recv = self.push(Op::Recv(socket));
                }
                other => panic!("{other:?} after {} bytes", received.len()),
            }
        }
        if self.is_in_flight(recv) {
            self.harness.driver().cancel(recv);
            let end = self.outcome(recv);
            assert_eq!(errno(&end), Some(libc::ECANCELED), "{end:?}");
        }
        received
    }

    /// Ends a connection in the proper order; whatever is in flight on it ends first.
    pub fn close(&mut self, socket: Socket, in_flight: &[Token]) {
        let shutdown = self.push(Op::Shutdown(socket, Shutdown::Both));
        assert!(matches!(self.outcome(shutdown), Outcome::ShutDown));
        for token in in_flight {
            while self.is_in_flight(*token) {
                self.turn();
            }
            self.arrived.retain(|completion| completion.token != *token);
        }
        let close = self.push(Op::Close(socket));
        assert!(matches!(self.outcome(close), Outcome::Closed));
    }

    fn check(&mut self, completion: &Completion) {
        let Completion { token, outcome } = completion;
        let kind = self.in_flight.get(token).copied();
        let kind = kind.unwrap_or_else(|| panic!("{outcome:?} for {token:?}, not in flight"));
        let fits = match outcome {
            Outcome::Accepted { .. } => kind == Kind::Accept,
            Outcome::Received { .. } | Outcome::ReceivedEnd => kind == Kind::Recv,
            Outcome::Sent { count, .. } => kind == Kind::Send && *count > 0,
            Outcome::ShutDown => kind == Kind::Shutdown,
            Outcome::Closed => kind == Kind::Close,
            Outcome::Failed { buf, .. } => buf.is_some() == (kind == Kind::Send),
        };
        assert!(fits, "{outcome:?} for {token:?}");
        if !matches!(outcome, Outcome::Received { more: true, .. }) {
            self.in_flight.remove(token);
        }
    }
}

pub fn kind_of(op: &Op) -> Kind {
    match op {
        Op::Accept => Kind::Accept,
        Op::Recv(_) => Kind::Recv,
        Op::Send(..) => Kind::Send,
        Op::Shutdown(..) => Kind::Shutdown,
        Op::Close(_) => Kind::Close,
    }
}

/// The error number of a failure.
pub fn errno(outcome: &Outcome) -> Option<i32> {
    match outcome {
        Outcome::Failed { error, .. } => error.raw_os_error(),
        _ => None,
    }
}

/// Writes what the client has room for.
pub fn write_some(client: &mut impl Client, bytes: &[u8]) -> usize {
    match client.write(bytes) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("client writing: {error}"),
    }
}

/// Reads what is there, up to `max` bytes; `None` at the end.
pub fn read_some(client: &mut impl Client, max: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; max];
    match client.read(&mut buffer) {
        Ok(0) => None,
        Ok(count) => {
            buffer.truncate(count);
            Some(buffer)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Vec::new()),
        Err(error) => panic!("client reading: {error}"),
    }
}

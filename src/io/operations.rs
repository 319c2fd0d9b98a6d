#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;

use super::errno::os_error;
use super::table::Table;
use super::{Completion, Completions, DriverConfig, DriverStats, Kind, Op, Outcome, Socket, Token};

/// Operations staged and in flight, for drivers that do a completion kernel's part
/// themselves.
#[derive(Debug)]
pub(super) struct Operations {
    pub table: Table,
    accepts: VecDeque<Token>,
    accepts_max: usize,
    staged: VecDeque<Staged>,
    staged_max: usize,
    /// What has ended since the last wait returned.
    done: Completions,
    pub stats: DriverStats,
}

#[derive(Debug)]
enum Staged {
    Op(Token, Op),
    Cancel(Token),
}

impl Operations {
    pub fn new(config: &DriverConfig) -> Self {
        Self {
            table: Table::new(config.sockets_max),
            accepts: VecDeque::new(),
            accepts_max: config.accepts,
            staged: VecDeque::new(),
            staged_max: usize::try_from(config.sq_entries).unwrap_or(usize::MAX),
            done: Completions::new(),
            stats: DriverStats::default(),
        }
    }

    /// Whether it is time to submit before staging more.
    pub fn is_full(&self) -> bool {
        self.staged.len() >= self.staged_max
    }

    /// Gives back an accept beyond the configured number.
    pub fn stage(&mut self, token: Token, op: Op) -> Result<(), Op> {
        if matches!(op, Op::Accept) && self.accepts_in_flight() == self.accepts_max {
            return self.refuse(op);
        }
        self.staged.push_back(Staged::Op(token, op));
        Ok(())
    }

    pub fn refuse(&mut self, op: Op) -> Result<(), Op> {
        self.stats.pushes_refused += 1;
        Err(op)
    }

    pub fn stage_cancel(&mut self, token: Token) {
        self.staged.push_back(Staged::Cancel(token));
    }

    /// The next staged operation on a socket, which has begun now. Accepts and cancellations
    /// are dealt with on the way.
    pub fn begin_next(&mut self) -> Option<(Kind, Socket)> {
        loop {
            let (token, op) = match self.staged.pop_front()? {
                Staged::Op(token, op) => (token, op),
                Staged::Cancel(token) => {
                    self.cancel(token);
                    continue;
                }
            };
            self.stats.submissions += 1;
            let begun = match &op {
                Op::Accept => {
                    self.accepts.push_back(token);
                    continue;
                }
                Op::Recv(socket) => (Kind::Recv, *socket),
                Op::Send(socket, _) => (Kind::Send, *socket),
                Op::Shutdown(socket, _) => (Kind::Shutdown, *socket),
                Op::Close(socket) => (Kind::Close, *socket),
            };
            self.table.begin(token, op);
            return Some(begun);
        }
    }

    pub fn is_accepting(&self) -> bool {
        !self.accepts.is_empty()
    }

    /// Ends the oldest accept in flight.
    pub fn end_accept(&mut self, outcome: Outcome) {
        let token = self.accepts.pop_front().expect("an accept in flight");
        self.complete(token, outcome);
    }

    /// Ends an operation on a socket that is not a send.
    pub fn end(&mut self, kind: Kind, socket: Socket, outcome: Outcome) {
        let token = self.table.end(kind, socket);
        self.complete(token, outcome);
    }

    /// Ends the send on a socket; `result` is how many bytes were taken.
    pub fn end_send(&mut self, socket: Socket, result: io::Result<usize>) {
        let (token, mut buf) = self.table.end_send(socket);
        let outcome = match result {
            Ok(0) => Outcome::Failed { error: os_error(libc::EPIPE), buf: Some(buf) },
            Ok(count) => {
                buf.advance(count);
                Outcome::Sent { buf, count }
            }
            Err(error) => Outcome::Failed { error, buf: Some(buf) },
        };
        self.complete(token, outcome);
    }

    pub fn complete(&mut self, token: Token, outcome: Outcome) {
        self.stats.completions += 1;
        self.done.push(Completion { token, outcome });
    }

    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    pub fn take_done(&mut self, completions: &mut Completions) {
        completions.append(&mut self.done);
    }

    /// The counters, with the gauge of what is in flight, staged included.
    pub fn stats(&self) -> DriverStats {
        let staged = self.staged.iter().filter(|staged| matches!(staged, Staged::Op(..))).count();
        let in_flight = u64::from(self.table.in_flight()) + (self.accepts.len() + staged) as u64;
        DriverStats { in_flight, ..self.stats }
    }

    fn accepts_in_flight(&self) -> usize {
        let is_accept = |staged: &&Staged| matches!(staged, Staged::Op(_, Op::Accept));
        self.accepts.len() + self.staged.iter().filter(is_accept).count()
    }

    fn cancel(&mut self, token: Token) {
        let cancelled = os_error(libc::ECANCELED);
        if let Some(place) = self.accepts.iter().position(|accept| *accept == token) {
            self.accepts.remove(place);
            self.complete(token, failed(cancelled));
            return;
        }
        match self.table.find(token) {
            Some((Kind::Send, socket)) => self.end_send(socket, Err(cancelled)),
            Some((kind, socket)) => self.end(kind, socket, failed(cancelled)),
            None => {}
        }
    }
}

/// The failure of anything but a send.
pub(super) fn failed(error: io::Error) -> Outcome {
    Outcome::Failed { error, buf: None }
}

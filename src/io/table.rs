#![forbid(unsafe_code)]

use super::{Kind, Op, Shutdown, Socket, Token};
use crate::base::buffers::SendBuf;
use crate::base::dense;

/// What is in flight on each socket, indexed by the socket.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    /// By a token's slot: the socket that it was last used for. Only a hint.
    hints: Vec<u32>,
    sockets_max: u32,
    in_flight: u32,
    open: u32,
}

/// Operations on a socket.
const KINDS: [Kind; 4] = [Kind::Recv, Kind::Send, Kind::Shutdown, Kind::Close];

#[derive(Debug)]
struct Entry {
    recv: Tag,
    send: Tag,
    /// Of a shutdown or a close: they are never in flight together.
    ending: Tag,
    /// What the send in flight holds. The kernel reads it until the terminal completion.
    buf: Option<SendBuf>,
    /// The one in flight.
    shutdown: Shutdown,
    open: bool,
}

/// Idle connections have one each.
const _: () = assert!(size_of::<Entry>() <= 48);

/// A token, or none; 8 bytes, as a token is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    const NONE: Self = Self(0);

    fn is_some(self) -> bool {
        self != Self::NONE
    }

    fn is_of(self, kind: Kind) -> bool {
        Token::from_bits(self.0).kind() == kind
    }
}

impl Table {
    pub fn new(sockets_max: u32) -> Self {
        Self { entries: Vec::new(), hints: Vec::new(), sockets_max, in_flight: 0, open: 0 }
    }

    /// Operations on sockets whose terminal completion is still to come.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Sockets that were opened and not closed.
    pub fn open_count(&self) -> u32 {
        self.open
    }

    pub fn open(&mut self, socket: Socket) {
        assert!(socket.0 < self.sockets_max);
        let index = socket.0 as usize;
        dense::reach(&mut self.entries, index, Entry::vacant);
        let entry = &mut self.entries[index];
        assert!(!entry.open && entry.is_idle(), "{socket:?} is in use");
        entry.open = true;
        self.open += 1;
    }

    pub fn close(&mut self, socket: Socket) {
        let entry = &mut self.entries[socket.0 as usize];
        assert!(entry.open && entry.is_idle(), "{socket:?} is still in use");
        entry.open = false;
        self.open -= 1;
    }

    /// Notes that an operation on a socket begins; the buffer of a send stays here until
    /// [`Table::end_send`].
    ///
    /// # Panics
    /// If the socket is not open, an operation of its kind is in flight on it, or it is
    /// closed while anything is.
    pub fn begin(&mut self, token: Token, op: Op) {
        let (kind, socket, buf) = match op {
            Op::Shutdown(socket, shutdown) => {
                self.entries[socket.0 as usize].shutdown = shutdown;
                (Kind::Shutdown, socket, None)
            }
            Op::Recv(socket) => (Kind::Recv, socket, None),
            Op::Send(socket, buf) => (Kind::Send, socket, Some(buf)),
            Op::Close(socket) => (Kind::Close, socket, None),
            Op::Accept => unreachable!("an accept has no socket"),
        };
        assert!(token.kind() == kind, "{token:?} is not a token of {kind:?}");
        let entry = &mut self.entries[socket.0 as usize];
        assert!(entry.open, "{socket:?} is not open");
        assert!(kind != Kind::Close || entry.is_idle(), "{socket:?} is closed while in use");
        assert!(!entry.tag_of(Kind::Close).is_some(), "{socket:?} is used while being closed");
        let tag = entry.tag(kind);
        assert!(!tag.is_some(), "{kind:?} of {socket:?} is in flight already");
        *tag = Tag(token.to_bits());
        if let Some(buf) = buf {
            assert!(!buf.is_done(), "nothing to send");
            entry.buf = Some(buf);
        }
        self.in_flight += 1;
        self.remember(token, socket);
    }

    pub fn is_in_flight(&self, kind: Kind, socket: Socket) -> bool {
        self.token(kind, socket).is_some()
    }

    pub fn token(&self, kind: Kind, socket: Socket) -> Option<Token> {
        let entry = self.entries.get(socket.0 as usize)?;
        let tag = entry.tag_of(kind);
        tag.is_some().then(|| Token::from_bits(tag.0))
    }

    /// The terminal completion of an operation that is not a send.
    pub fn end(&mut self, kind: Kind, socket: Socket) -> Token {
        assert!(kind != Kind::Send);
        self.take(kind, socket)
    }

    /// The terminal completion of a send.
    pub fn end_send(&mut self, socket: Socket) -> (Token, SendBuf) {
        let token = self.take(Kind::Send, socket);
        let buf = self.entries[socket.0 as usize].buf.take();
        (token, buf.expect("a send in flight has its buffer"))
    }

    /// The buffer of the send in flight.
    pub fn send_buf(&self, socket: Socket) -> Option<&SendBuf> {
        self.entries.get(socket.0 as usize)?.buf.as_ref()
    }

    /// The shutdown in flight.
    pub fn shutdown(&self, socket: Socket) -> Shutdown {
        self.entries[socket.0 as usize].shutdown
    }

    /// The operation in flight that was pushed under `token`.
    pub fn find(&self, token: Token) -> Option<(Kind, Socket)> {
        let hint = self.hints.get(token.key().slot as usize).copied();
        let hinted = hint.and_then(|index| self.find_at(index, token));
        hinted
            .or_else(|| (0..self.entries.len() as u32).find_map(|index| self.find_at(index, token)))
    }

    /// Every operation in flight.
    pub fn all_in_flight(&self) -> Vec<(Kind, Socket)> {
        let mut all = Vec::with_capacity(self.in_flight as usize);
        for (index, entry) in self.entries.iter().enumerate() {
            let in_flight = KINDS.into_iter().filter(|kind| entry.tag_of(*kind).is_some());
            all.extend(in_flight.map(|kind| (kind, Socket(index as u32))));
        }
        all
    }

    /// # Panics
    /// If the counts are wrong.
    pub fn invariants(&self) {
        let count = |entry: &Entry| entry.tags().iter().filter(|tag| tag.is_some()).count();
        let in_flight: usize = self.entries.iter().map(count).sum();
        assert_eq!(in_flight, self.in_flight as usize);
        let open = self.entries.iter().filter(|entry| entry.open).count();
        assert_eq!(open, self.open as usize);
        for entry in &self.entries {
            assert_eq!(entry.buf.is_some(), entry.send.is_some());
            assert!(entry.open || entry.is_idle());
        }
    }

    fn find_at(&self, index: u32, token: Token) -> Option<(Kind, Socket)> {
        let entry = self.entries.get(index as usize)?;
        let kind = KINDS.into_iter().find(|kind| entry.tag_of(*kind) == Tag(token.to_bits()))?;
        Some((kind, Socket(index)))
    }

    fn remember(&mut self, token: Token, socket: Socket) {
        let slot = token.key().slot;
        if slot >= self.sockets_max {
            return; // Found by search.
        }
        dense::reach(&mut self.hints, slot as usize, || u32::MAX);
        self.hints[slot as usize] = socket.0;
    }

    fn take(&mut self, kind: Kind, socket: Socket) -> Token {
        let entry = &mut self.entries[socket.0 as usize];
        assert!(entry.tag_of(kind).is_some(), "{kind:?} of {socket:?} is not in flight");
        let tag = std::mem::replace(entry.tag(kind), Tag::NONE);
        self.in_flight -= 1;
        Token::from_bits(tag.0)
    }
}

impl Entry {
    fn vacant() -> Self {
        let none = Tag::NONE;
        Self {
            recv: none,
            send: none,
            ending: none,
            buf: None,
            shutdown: Shutdown::Both,
            open: false,
        }
    }

    fn tags(&self) -> [Tag; 3] {
        [self.recv, self.send, self.ending]
    }

    fn is_idle(&self) -> bool {
        self.tags().iter().all(|tag| !tag.is_some())
    }

    fn tag_of(&self, kind: Kind) -> Tag {
        match kind {
            Kind::Recv => self.recv,
            Kind::Send => self.send,
            Kind::Shutdown | Kind::Close if self.ending.is_of(kind) => self.ending,
            _ => Tag::NONE,
        }
    }

    fn tag(&mut self, kind: Kind) -> &mut Tag {
        match kind {
            Kind::Recv => &mut self.recv,
            Kind::Send => &mut self.send,
            Kind::Shutdown | Kind::Close => &mut self.ending,
            Kind::Accept | Kind::Internal => {
                unreachable!("{kind:?} is not an operation on a socket")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Key;

    fn token(kind: Kind, slot: u32) -> Token {
        Token::new(kind, Key { slot, generation: 1 })
    }

    #[test]
    fn an_operation_is_found_by_its_token_also_where_the_slot_was_used_for_another_socket() {
        let mut table = Table::new(4);
        table.open(Socket(2));
        table.open(Socket(3));
        let (recv, send) = (token(Kind::Recv, 1), token(Kind::Send, 1));
        let far = token(Kind::Recv, 4_000_000);
        table.begin(recv, Op::Recv(Socket(2)));
        table.begin(send, Op::Send(Socket(3), SendBuf::gathered(vec![1])));
        table.begin(far, Op::Recv(Socket(3)));
        assert_eq!(table.find(recv), Some((Kind::Recv, Socket(2))));
        assert_eq!(table.find(send), Some((Kind::Send, Socket(3))));
        assert_eq!(table.find(far), Some((Kind::Recv, Socket(3))));
        assert_eq!(table.in_flight(), 3);
        table.invariants();
        let (ended, buf) = table.end_send(Socket(3));
        assert_eq!((ended, buf.remaining()), (send, &[1][..]));
        assert_eq!(table.find(send), None);
        assert_eq!(table.end(Kind::Recv, Socket(3)), far);
        table.close(Socket(3));
        table.invariants();
    }

    #[test]
    #[should_panic(expected = "closed while in use")]
    fn a_socket_in_use_cannot_be_closed() {
        let mut table = Table::new(1);
        table.open(Socket(0));
        table.begin(token(Kind::Recv, 0), Op::Recv(Socket(0)));
        table.begin(token(Kind::Close, 0), Op::Close(Socket(0)));
    }
}

//! One subscriber on a blocking socket, which can read as slowly as it is told.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::Error;
use crate::slow::heard::Heard;
use crate::target::Target;
use crate::wire::frame::{self, Kind, Step};
use crate::wire::message::{self, EventFacts, Message};
use crate::wire::upgrade::{Answer, Upgrade};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits for something to come.
const READ_TIMEOUT: Duration = Duration::from_millis(50);
const INPUT_BYTES: usize = 256 * 1024;

/// A subscriber to everything, by the protocol's name.
#[derive(Debug)]
pub struct Reader<H> {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes at the start of `input` that belong to a frame which is not whole yet.
    kept: usize,
    /// Bytes of the stream so far, from its first.
    received: u64,
    pub heard: H,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Something,
    /// Nothing came in time.
    Nothing,
    Ended,
}

impl<H: Heard> Reader<H> {
    /// Connects, offering the subprotocol, and subscribes. `receive_buffer_bytes`: SO_RCVBUF, of
    /// which the kernel makes twice as much; else the kernel's own choice.
    ///
    /// # Errors
    /// When that fails, or the server answers otherwise than Alarmcast does.
    pub fn open(
        target: &Target,
        subprotocol: Option<&'static str>,
        receive_buffer_bytes: Option<usize>,
        heard: H,
    ) -> Result<Self, Error> {
        let stream = connect(target.addr, receive_buffer_bytes)
            .map_err(Error::io(format!("cannot connect to {}", target.addr)))?;
        let input = vec![0; INPUT_BYTES];
        let mut reader = Self { stream, input, kept: 0, received: 0, heard };
        reader.subscribe(target, subprotocol).map_err(Error::io("cannot subscribe"))?;
        Ok(reader)
    }

    /// Bytes that came, from the handshake's first on.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// # Errors
    /// Those of the kernel.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Reads `bytes_max` at most, or nothing, without waiting.
    ///
    /// # Errors
    /// When the connection broke, or what came is no message of Alarmcast's.
    pub fn take_at_once(&mut self, bytes_max: usize) -> io::Result<Taken> {
        self.stream.set_nonblocking(true)?;
        let taken = self.take(bytes_max);
        self.stream.set_nonblocking(false)?;
        taken
    }

    /// Reads what there is, `bytes_max` at most, and waits a little where nothing is there yet.
    ///
    /// # Errors
    /// As [`Self::take_at_once`].
    pub fn take(&mut self, bytes_max: usize) -> io::Result<Taken> {
        let end = self.input.len().min(self.kept.saturating_add(bytes_max));
        let count = match self.stream.read(&mut self.input[self.kept..end]) {
            Ok(0) => return Ok(Taken::Ended),
            Ok(count) => count,
            Err(error) if is_nothing(&error) => return Ok(Taken::Nothing),
            Err(error) => return Err(error),
        };
        self.received += count as u64;
        self.kept += count;
        self.handle_frames()?;
        Ok(Taken::Something)
    }

    /// Lets the kernel take more at once from now on.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enlarge_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes)
    }

    /// The connection alone, for who reads no more.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn subscribe(&mut self, target: &Target, subprotocol: Option<&'static str>) -> io::Result<()> {
        let (upgrade, request) = Upgrade::start(&target.host, &target.path, subprotocol);
        self.stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        self.stream.write_all(&request)?;
        loop {
            match upgrade.read_answer(&self.input[..self.kept]).map_err(io::Error::other)? {
                Answer::Incomplete => self.read_more()?,
                Answer::Accepted { head_bytes } => {
                    self.discard(head_bytes);
                    break;
                }
                Answer::Refused { status, .. } => {
                    return Err(io::Error::other(format!("refused with HTTP {status}")));
                }
            }
        }
        let Message::Welcome { .. } = self.next_message()? else {
            return Err(io::Error::other("the first message is not `welcome`"));
        };
        let subscribe = json!({"type": "subscribe", "subscription_id": "load", "filters": {}});
        self.write(Kind::Text, subscribe.to_string().as_bytes())?;
        match self.next_message()? {
            Message::Subscribed => self.stream.set_read_timeout(Some(READ_TIMEOUT)),
            other => Err(io::Error::other(format!("subscribing was answered by {other:?}"))),
        }
    }

    /// Of the handshake: the next message, without anything behind it.
    fn next_message(&mut self) -> io::Result<Message> {
        loop {
            match frame::read(&self.input[..self.kept]).map_err(io::Error::other)? {
                Step::Incomplete { .. } => self.read_more()?,
                Step::Frame { payload, bytes, .. } => {
                    let message = message::read(payload).map_err(io::Error::other);
                    self.discard(bytes);
                    return message;
                }
            }
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let count = self.stream.read(&mut self.input[self.kept..])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.received += count as u64;
        self.kept += count;
        Ok(())
    }

    fn discard(&mut self, bytes: usize) {
        self.input.copy_within(bytes..self.kept, 0);
        self.kept -= bytes;
    }

    fn handle_frames(&mut self) -> io::Result<()> {
        let mut at = 0;
        let mut answers = Vec::new();
        loop {
            match frame::read(&self.input[at..self.kept]).map_err(io::Error::other)? {
                Step::Incomplete { bytes } => {
                    let needed = bytes.saturating_add(1);
                    self.input.resize(self.input.len().max(needed), 0);
                    break;
                }
                Step::Frame { kind, payload, bytes } => {
                    let start = self.received - (self.kept - at) as u64;
                    let span = start..start + bytes as u64;
                    match kind {
                        Kind::Text | Kind::Binary => hear(&mut self.heard, payload, span)?,
                        Kind::Ping => answers.push(payload.to_vec()),
                        Kind::Pong => {}
                        Kind::Close => return Err(io::Error::other(closed_with(payload))),
                    }
                    at += bytes;
                }
            }
        }
        self.discard(at);
        answers.iter().try_for_each(|payload| self.write(Kind::Pong, payload))
    }

    fn write(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut output = Vec::new();
        frame::write(kind, payload, &mut output);
        // A few bytes: there is always room for them.
        self.stream.write_all(&output)
    }
}

fn hear<H: Heard>(heard: &mut H, payload: &[u8], span: std::ops::Range<u64>) -> io::Result<()> {
    if let Some((seq, priority)) = message::event_head(payload) {
        heard.event(seq, priority, span);
        return Ok(());
    }
    match message::read(payload).map_err(io::Error::other)? {
        Message::Event(EventFacts { seq: Some(seq), priority: Some(priority), .. }) => {
            heard.event(seq, priority, span);
        }
        Message::Dropped(dropped) => heard.dropped(dropped),
        Message::Error { code, message } => {
            return Err(io::Error::other(format!("{code}: {message}")));
        }
        _ => {}
    }
    Ok(())
}

fn closed_with(payload: &[u8]) -> String {
    let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
    format!("closed with {code}")
}

fn connect(target: SocketAddr, receive_buffer_bytes: Option<usize>) -> io::Result<TcpStream> {
    let socket =
        Socket::new(Domain::for_address(target), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer_bytes {
        // Before connecting: the window is agreed on then.
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(&SockAddr::from(target))?;
    Ok(socket.into())
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

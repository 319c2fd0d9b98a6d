//! A TCP connection that does only what its test says: it never answers by itself.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameSocket};

use super::wait::DEADLINE;

/// A request that is accepted.
pub const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[derive(Debug)]
pub struct Raw {
    frames: FrameSocket<TcpStream>,
}

/// What the server sent next.
#[derive(Debug)]
pub enum Sent {
    Message(Value),
    Ping,
    Pong,
    Close(u16),
    /// The server ended its direction.
    End,
}

impl Raw {
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).expect("the server listens"))
    }

    /// From this address, such as 127.0.0.2: all of 127.0.0.0/8 is this machine.
    #[track_caller]
    pub fn connect_from(address: [u8; 4], addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("an address of this machine");
        socket.connect(&addr.into()).expect("the server listens");
        Self::over(socket.into())
    }

    /// With a receive buffer as small as the kernel makes one, so that it is soon full.
    #[track_caller]
    pub fn connect_with_little_room(addr: SocketAddr) -> Self {
        Self::connect_with_room(addr, 1)
    }

    /// With a receive buffer of so many bytes, or as few as the kernel allows.
    #[track_caller]
    pub fn connect_with_room(addr: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket option");
        socket.connect(&addr.into()).expect("the server listens");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        Self { frames: FrameSocket::new(stream) }
    }

    pub fn stream(&self) -> &TcpStream {
        self.frames.get_ref()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.frames.get_mut().write_all(bytes).expect("the connection takes bytes");
    }

    /// Everything up to the server's end of the connection.
    #[track_caller]
    pub fn read_to_end(&mut self) -> String {
        let mut answer = Vec::new();
        self.frames.get_mut().read_to_end(&mut answer).expect("an orderly end");
        String::from_utf8(answer).expect("an answer in UTF-8")
    }

    /// The status of the answer to a handshake, and its head. After an upgrade the connection
    /// goes on, behind its welcome; after a refusal it is at its end.
    #[track_caller]
    pub fn answer(&mut self) -> (u16, String) {
        let head = self.read_head();
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{head}"));
        if status == 101 {
            assert_eq!(self.message()["type"], "welcome");
            return (status, head);
        }
        (status, head + &self.read_to_end())
    }

    /// Shakes hands and reads the welcome.
    #[track_caller]
    pub fn upgrade(mut self) -> Self {
        self.write(UPGRADE.as_bytes());
        self.read_upgrade();
        self
    }

    /// Shakes hands as a client that names the protocol, and so hears of losses.
    #[track_caller]
    pub fn upgrade_by_name(mut self) -> Self {
        self.write(UPGRADE.replacen("/ws", "/ws?encoding=json", 1).as_bytes());
        self.read_upgrade();
        self
    }

    /// Reads the answer to the upgrade, and the welcome.
    #[track_caller]
    pub fn read_upgrade(&mut self) {
        let head = self.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let welcome = self.message();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
    }

    /// Reads the head of an HTTP answer.
    #[track_caller]
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.frames.get_mut().read_exact(&mut byte).expect("an answer to the upgrade");
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head in ASCII")
    }

    /// Subscribes, and reads the confirmation.
    #[track_caller]
    pub fn subscribe(&mut self, filters: &Value) {
        self.send(&json!({"type": "subscribe", "subscription_id": "s", "filters": filters}));
        let subscribed = self.message();
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    }

    /// The cable is cut: the kernel throws away all that comes, and so acknowledges nothing. The
    /// server hears nothing either as long as nothing is written.
    pub fn cut_cable(&self) {
        /// BPF's `ret #0` (socket(7), `SO_ATTACH_FILTER`).
        const NOTHING: SockFilter = SockFilter::new(6, 0, 0, 0);
        SockRef::from(self.stream()).attach_filter(&[NOTHING]).expect("a filter of a socket");
    }

    pub fn send(&mut self, message: &Value) {
        self.write(&text_frame(message));
    }

    pub fn pong(&mut self) {
        self.write(&masked(Frame::pong(Vec::new())));
    }

    /// The next frame; none of the server's is fragmented.
    #[track_caller]
    pub fn next(&mut self) -> Sent {
        self.try_next().expect("a frame, or an orderly end")
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the connection was lost.
    #[track_caller]
    pub fn try_next(&mut self) -> tungstenite::Result<Sent> {
        let Some(frame) = self.frames.read(None)? else { return Ok(Sent::End) };
        Ok(match frame.header().opcode {
            OpCode::Data(Data::Text) => {
                Sent::Message(serde_json::from_slice(frame.payload()).expect("JSON"))
            }
            OpCode::Control(Control::Ping) => Sent::Ping,
            OpCode::Control(Control::Pong) => Sent::Pong,
            OpCode::Control(Control::Close) => {
                let code = frame.payload().first_chunk().expect("a code");
                Sent::Close(u16::from_be_bytes(*code))
            }
            other => panic!("not a frame of this server: {other:?}"),
        })
    }

    /// The next message, past pings.
    #[track_caller]
    pub fn message(&mut self) -> Value {
        loop {
            match self.next() {
                Sent::Message(message) => return message,
                Sent::Ping => {}
                other => panic!("not a message: {other:?}"),
            }
        }
    }

    /// Ends our direction; the server's stays open.
    pub fn end_sending(&self) {
        self.stream().shutdown(Shutdown::Write).expect("connected");
    }

    /// Ends the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        let (stream, _) = self.frames.into_inner();
        let socket = Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
}

/// The bytes of a message as clients send it.
pub fn text_frame(message: &Value) -> Vec<u8> {
    masked(Frame::message(message.to_string(), OpCode::Data(Data::Text), true))
}

fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("a buffer takes all");
    bytes
}

//! A subscriber, on tungstenite: it answers pings and closes as RFC 6455 wants.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::wait::DEADLINE;

/// Every wait for a message ends at the deadline, as a failure.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<TcpStream>,
    /// Messages are MessagePack in binary frames.
    is_packed: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub struct Closed {
    /// From the close frame.
    pub code: u16,
    /// What came before it.
    pub messages: Vec<Value>,
}

impl Client {
    /// Connects without offering a subprotocol, as existing clients do.
    #[track_caller]
    pub fn connect(url: &str) -> Self {
        let addr = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let stream = TcpStream::connect(addr.expect("a ws URL")).expect("the server listens");
        Self::on(url, stream)
    }

    /// Shakes hands on a connection.
    #[track_caller]
    pub fn on(url: &str, stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        let request = url.into_client_request().expect("a URL");
        let (socket, response) =
            tungstenite::client(request, stream).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers().get("sec-websocket-protocol"), None, "none was offered");
        Self { socket, is_packed: url.ends_with("encoding=msgpack") }
    }

    /// Connects and offers MessagePack by its subprotocol, which must be agreed to.
    #[track_caller]
    pub fn connect_packed(url: &str) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        let subprotocol = HeaderValue::from_static("alarmcast.v1.msgpack");
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let authority = request.uri().authority().expect("a host").as_str();
        let stream = TcpStream::connect(authority).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        // The library ends the handshake unless what it offered comes back.
        let (socket, _) =
            tungstenite::client(request, stream).unwrap_or_else(|error| panic!("{error}"));
        Self { socket, is_packed: true }
    }

    /// No read ends at a deadline any more: for one that waits on a thread of its own.
    pub fn wait_for_ever(&self) {
        self.socket.get_ref().set_read_timeout(None).expect("a socket option");
    }

    pub fn send(&mut self, message: &Value) {
        if self.is_packed {
            self.send_binary(&rmp_serde::to_vec_named(message).expect("MessagePack"));
        } else {
            self.send_text(&message.to_string());
        }
    }

    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the connection takes a message");
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.socket.send(message).expect("the connection takes a message");
    }

    /// The next message, or the code with which the server closed.
    #[track_caller]
    fn next(&mut self) -> Result<Value, u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) if self.is_packed => {
                    let message = rmp_serde::from_slice(&bytes);
                    return Ok(message.unwrap_or_else(|error| panic!("{error}: {bytes:x?}")));
                }
                Ok(Message::Text(text)) if !self.is_packed => {
                    let message = serde_json::from_str(&text);
                    return Ok(message.unwrap_or_else(|error| panic!("not JSON ({error}): {text}")));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Ok(other) => panic!("not a frame of this encoding: {other:?}"),
                Err(error) => panic!("no further message: {error}"),
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        self.next().unwrap_or_else(|code| panic!("the server closed with {code}"))
    }

    /// The next message, which must be of this type.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Value {
        let message = self.receive();
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next `event` message.
    #[track_caller]
    pub fn expect_event(&mut self) -> Value {
        self.expect("event")
    }

    /// The next message, which must be an error of this code.
    #[track_caller]
    pub fn expect_error(&mut self, code: &str) -> Value {
        let error = self.expect("error");
        assert_eq!(error["code"], code, "{error}");
        error
    }

    /// Adds or replaces a subscription, and waits for the confirmation.
    #[track_caller]
    pub fn subscribe(&mut self, id: &str, filters: &Value) -> Value {
        self.send(&json!({"type": "subscribe", "subscription_id": id, "filters": filters}));
        let subscribed = self.expect("subscribed");
        assert_eq!(subscribed["subscription_id"], id, "{subscribed}");
        subscribed
    }

    #[track_caller]
    pub fn unsubscribe(&mut self, id: &str) {
        self.send(&json!({"type": "unsubscribe", "subscription_id": id}));
        self.expect("unsubscribed");
    }

    /// Nothing waits for this client: the next message is the answer to its ping.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.send(&json!({"type": "ping", "timestamp": "nothing else waits"}));
        let pong = self.expect("pong");
        assert_eq!(pong["timestamp"], "nothing else waits");
    }

    /// Reads on to the server's close, and answers it.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Closed {
        let mut messages = Vec::new();
        let code = loop {
            match self.next() {
                Ok(message) => messages.push(message),
                Err(code) => break code,
            }
        };
        self.finish_close();
        Closed { code, messages }
    }

    /// Closes with 1000, and waits for the server's answer.
    #[track_caller]
    pub fn close(mut self) {
        use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(normal)).expect("a close frame can be sent");
        let code = loop {
            if let Err(code) = self.next() {
                break code;
            }
        };
        assert_eq!(code, 1000, "the server answers with the same code");
        self.finish_close();
    }

    /// The server ends the TCP connection first (RFC 6455 section 7.1.1).
    #[track_caller]
    fn finish_close(&mut self) {
        match self.socket.read() {
            Err(Error::ConnectionClosed) => {}
            other => panic!("after the close: {other:?}"),
        }
    }
}

impl Closed {
    /// The messages before the last, which must be `closing`.
    #[track_caller]
    pub fn assert_announced(&self) -> &[Value] {
        let (last, rest) = self.messages.split_last().expect("a last message");
        assert_eq!(last["type"], "closing", "{last}");
        assert!(last["reason"].is_string(), "{last}");
        assert_eq!(last["code"], self.code, "{last}");
        rest
    }
}

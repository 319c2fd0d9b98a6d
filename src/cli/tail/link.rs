//! One WebSocket connection to the stream, as seen by a blocking client.

use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderValue, Uri, header};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::base::clock::{Clock, Instant};
use crate::base::limits::NESTING_DEPTH_MAX;
use crate::base::logged::Logged;
use crate::protocol::{Encoding, msgpack};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits before the caller may look at other things.
const TICK: Duration = Duration::from_millis(250);
/// Until the server says how often it sends heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// For the network to carry a heartbeat.
const HEARTBEAT_GRACE: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Why there is no connection any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing listens there, or the network does not reach it.
    Unreachable(String),
    /// Worth another attempt, after a time that the server may name.
    Again { why: String, after: Option<Duration> },
    /// Coming back is of no use.
    Final(String),
}

/// What a wait for the server came to.
#[derive(Debug)]
pub enum Heard {
    /// No message within a tick.
    Nothing,
    /// A message as JSON, whatever it came as.
    Text(String),
    Lost(Lost),
}

/// An open connection.
#[derive(Debug)]
pub struct Link {
    socket: WebSocket<TcpStream>,
    encoding: Encoding,
    clock: Clock,
    heartbeat: Duration,
    heard_at: Instant,
    /// From the server's `closing` message.
    retry_after: Option<Duration>,
}

impl Link {
    /// Connects and completes the handshake.
    ///
    /// # Errors
    /// Says whether another attempt makes sense.
    pub fn open(url: &str, encoding: Encoding, clock: Clock) -> Result<Self, Lost> {
        let url = endpoint(url)?;
        let stream = connect(&url).map_err(|error| Lost::Unreachable(error.to_string()))?;
        let prepare = |timeout| stream.set_read_timeout(Some(timeout));
        let broken = |error: io::Error| again(format!("the connection failed: {error}"));
        stream.set_nodelay(true).and_then(|()| prepare(HANDSHAKE_TIMEOUT)).map_err(broken)?;
        stream.set_write_timeout(Some(HANDSHAKE_TIMEOUT)).map_err(broken)?;
        let mut request = by_name(&url.to_string(), encoding)
            .into_client_request()
            .map_err(|error| Lost::Final(format!("cannot use the URL {url}: {error}")))?;
        // A server that knows nothing but JSON would not answer with a subprotocol.
        if encoding != Encoding::Json {
            let subprotocol = HeaderValue::from_static(encoding.subprotocol());
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        let (socket, _) = client_with_config(request, stream, Some(WebSocketConfig::default()))
            .map_err(|error| match error {
                HandshakeError::Interrupted(_) => {
                    again("the server did not answer the handshake".into())
                }
                HandshakeError::Failure(error) => refused(&url, error),
            })?;
        socket.get_ref().set_read_timeout(Some(TICK)).map_err(broken)?;
        let heard_at = clock.now();
        Ok(Self { socket, encoding, clock, heartbeat: HEARTBEAT, heard_at, retry_after: None })
    }

    /// Waits for a message, one tick at most. Pings are answered on the way.
    pub fn hear(&mut self) -> Heard {
        match self.socket.read() {
            Ok(message) => {
                self.heard_at = self.clock.now();
                match message {
                    Message::Text(text) => Heard::Text(text.as_str().to_owned()),
                    Message::Binary(bytes) if self.encoding == Encoding::MessagePack => {
                        unpacked(&bytes)
                    }
                    Message::Close(frame) => Heard::Lost(self.closed(frame.as_ref())),
                    _ => Heard::Nothing,
                }
            }
            Err(Error::Io(error))
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                self.silence()
            }
            Err(error) => Heard::Lost(again(format!("the connection was lost: {error}"))),
        }
    }

    /// Sends a message of the protocol.
    pub fn send(&mut self, message: &Value) -> Option<Lost> {
        let sent = self.socket.send(match self.encoding {
            Encoding::Json => Message::text(message.to_string()),
            Encoding::MessagePack => Message::binary(msgpack::to_vec(message)),
        });
        sent.err().map(|error| again(format!("the connection was lost: {error}")))
    }

    /// Learns how often the server is to be heard from.
    pub fn expect_heartbeats(&mut self, seconds: Option<u64>) {
        self.heartbeat = seconds.map_or(HEARTBEAT, Duration::from_secs);
    }

    /// Remembers what a `closing` message says about coming back.
    pub fn announce_close(&mut self, closing: &Value) {
        let after = closing["retry_after_ms"].as_u64().map(Duration::from_millis);
        self.retry_after = after.map(|after| after.min(RETRY_AFTER_MAX));
    }

    /// Says goodbye, and waits a moment for the answer.
    pub fn close(mut self) {
        let until = self.clock.now() + CLOSE_TIMEOUT;
        if self.socket.close(None).is_err() {
            return;
        }
        while self.clock.now() < until {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    fn silence(&self) -> Heard {
        let patience = self.heartbeat.saturating_mul(2).saturating_add(HEARTBEAT_GRACE);
        if self.clock.now().since(self.heard_at) < patience {
            return Heard::Nothing;
        }
        let seconds = patience.as_secs();
        Heard::Lost(again(format!("nothing was heard from the server for {seconds} s")))
    }

    fn closed(&mut self, frame: Option<&CloseFrame>) -> Lost {
        // The answer to the close frame; a server that is gone does not need it.
        let _ = self.socket.flush();
        let Some(frame) = frame else {
            return Lost::Again { why: "the server closed".into(), after: self.retry_after };
        };
        let code = u16::from(frame.code);
        let reason = Logged(frame.reason.as_str());
        let separator = if frame.reason.is_empty() { "" } else { ": " };
        let why = format!("the server closed with {code}{separator}{reason}");
        match code {
            4500..=4999 => Lost::Final(why),
            _ => Lost::Again { why, after: self.retry_after },
        }
    }
}

fn unpacked(bytes: &[u8]) -> Heard {
    /// Deeper than what a server passes on.
    const DEPTH_MAX: usize = 2 * NESTING_DEPTH_MAX;
    match msgpack::to_json(bytes, DEPTH_MAX) {
        Ok(text) => Heard::Text(text),
        Err(error) => {
            let why = format!("the server sent something that is not MessagePack: {error}");
            Heard::Lost(Lost::Final(why))
        }
    }
}

fn again(why: String) -> Lost {
    Lost::Again { why, after: None }
}

/// The URL, with the usual path where it names none.
fn endpoint(url: &str) -> Result<Uri, Lost> {
    let wrong = |why: &str| {
        let shown = Logged(url);
        Lost::Final(format!("--url takes a URL such as {}, {why}: {shown}", super::DEFAULT_URL))
    };
    let uri: Uri = url.parse().map_err(|_| wrong("and this is none"))?;
    if uri.host().is_none() {
        return Err(wrong("and this names no host"));
    }
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => {
            return Err(wrong("and TLS is not spoken here yet, so put a proxy before it"));
        }
        _ => return Err(wrong("and this has another scheme")),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Ok(uri);
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("ws://{authority}/ws").parse().map_err(|_| wrong("and this is none"))
}

fn connect(url: &Uri) -> io::Result<TcpStream> {
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, url.port_u16().unwrap_or(80)).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn refused(url: &Uri, error: Error) -> Lost {
    let Error::Http(response) = error else {
        return match error {
            Error::Io(error) => again(format!("the connection was lost in the handshake: {error}")),
            error => Lost::Final(format!("{url} does not speak WebSocket: {error}")),
        };
    };
    let status = response.status();
    match status.as_u16() {
        404 => Lost::Final(format!("{url} is not the path of the stream: {status}")),
        408 | 429 | 500.. => {
            let why = format!("the server refused the handshake: {status}");
            Lost::Again { why, after: retry_after(&response) }
        }
        _ => Lost::Final(format!("{url} refused the handshake: {status}")),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?).min(RETRY_AFTER_MAX))
}

/// The URL with the encoding in its query: who asks for it by name is told of losses, and a
/// server that does not know the parameter ignores it.
fn by_name(url: &str, encoding: Encoding) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    if encoding != Encoding::Json || query.split('&').any(|field| field.starts_with("encoding=")) {
        return url.to_owned();
    }
    let separator = if query.is_empty() { "" } else { "&" };
    format!("{base}?{query}{separator}encoding=json")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use tungstenite::handshake::derive_accept_key;
    use tungstenite::protocol::Role;
    use tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    #[test]
    fn json_is_asked_for_by_name_unless_the_url_does() {
        for (url, asked) in [
            ("ws://h/ws", "ws://h/ws?encoding=json"),
            ("ws://h/ws?a=1", "ws://h/ws?a=1&encoding=json"),
            ("ws://h/ws?encoding=json", "ws://h/ws?encoding=json"),
        ] {
            assert_eq!(by_name(url, Encoding::Json), asked);
            assert_eq!(by_name(url, Encoding::MessagePack), url);
        }
    }

    #[test]
    fn a_url_without_a_path_gets_the_usual_one() {
        let path = |url| endpoint(url).expect("usable").to_string();
        assert_eq!(path("ws://example.test:1"), "ws://example.test:1/ws");
        assert_eq!(path("ws://example.test/"), "ws://example.test/ws");
        assert_eq!(path("ws://[::1]:8080/other"), "ws://[::1]:8080/other");
        for url in ["http://a/ws", "wss://a/ws", "a b", "/ws", "localhost:8080"] {
            assert!(matches!(endpoint(url), Err(Lost::Final(_))), "{url}");
        }
    }

    fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("read") == 1 {
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("ASCII")
    }

    /// Serves one connection, which ends as `with` says.
    fn closed_by(with: Option<CloseFrame>, before: &'static str) -> Lost {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut socket = tungstenite::accept(stream).expect("a handshake");
            socket.send(Message::text(before)).expect("sent");
            socket.close(with).expect("sent");
            while socket.read().is_ok() {}
        });
        let mut link = Link::open(&url, Encoding::Json, Clock::System).expect("connected");
        let lost = loop {
            match link.hear() {
                Heard::Nothing => {}
                Heard::Text(text) => {
                    link.announce_close(&serde_json::from_str(&text).expect("JSON"));
                }
                Heard::Lost(lost) => break lost,
            }
        };
        drop(link);
        server.join().expect("no panic");
        lost
    }

    #[test]
    fn a_drain_names_the_time_of_return() {
        let frame = CloseFrame { code: CloseCode::Away, reason: "drain".into() };
        let lost = closed_by(Some(frame), "{\"type\":\"closing\",\"retry_after_ms\":1500}");
        let why = "the server closed with 1001: drain".to_owned();
        assert_eq!(lost, Lost::Again { why, after: Some(Duration::from_millis(1_500)) });
    }

    #[test]
    fn codes_from_4500_are_final_and_those_below_are_not() {
        for (code, is_final) in [(4009, false), (4499, false), (4500, true), (4503, true)] {
            let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
            let lost = closed_by(Some(frame), "{}");
            assert_eq!(matches!(lost, Lost::Final(_)), is_final, "{code}: {lost:?}");
        }
    }

    #[test]
    fn messagepack_is_asked_for_and_read_as_json() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let head = read_head(&mut stream);
            let field = |name: &str| {
                let fields = head.lines().filter_map(|line| line.split_once(": "));
                fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|it| it.1).next()
            };
            assert_eq!(field("sec-websocket-protocol"), Some("alarmcast.v1.msgpack"));
            let accept = derive_accept_key(field("sec-websocket-key").expect("a key").as_bytes());
            let text = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Protocol: alarmcast.v1.msgpack\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(text.as_bytes()).expect("sent");
            let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
            socket.send(Message::binary(b"\x82\xa1z\x01\xa1a\x91\xc0".as_slice())).expect("sent");
            assert_eq!(socket.read().expect("a message"), Message::binary(b"\x80".as_slice()));
            socket.send(Message::binary(b"\x82".as_slice())).expect("sent");
            while socket.read().is_ok() {}
        });
        let mut link = Link::open(&url, Encoding::MessagePack, Clock::System).expect("connected");
        let hear = |link: &mut Link| loop {
            match link.hear() {
                Heard::Nothing => {}
                Heard::Text(text) => break text,
                Heard::Lost(Lost::Final(why)) => break why,
                Heard::Lost(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(hear(&mut link), r#"{"z":1,"a":[null]}"#);
        assert!(link.send(&serde_json::json!({})).is_none());
        assert!(hear(&mut link).contains("not MessagePack"));
        drop(link);
        server.join().expect("no panic");
    }

    #[test]
    fn nobody_there_is_told_apart_from_a_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("ws://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let lost = Link::open(&url, Encoding::Json, Clock::System).expect_err("nobody");
        assert!(matches!(lost, Lost::Unreachable(_)), "{lost:?}");
    }

    #[test]
    fn http_refusals_say_whether_to_come_back() {
        for (answer, expected) in [
            ("404 Not Found\r\n", None),
            ("401 Unauthorized\r\n", None),
            ("503 Service Unavailable\r\nRetry-After: 7\r\n", Some(Some(7))),
            ("429 Too Many Requests\r\n", Some(None)),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("ws://{}", listener.local_addr().expect("bound"));
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a client");
                read_head(&mut stream);
                let text = format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n");
                stream.write_all(text.as_bytes()).expect("sent");
            });
            let lost = Link::open(&url, Encoding::Json, Clock::System).expect_err("refused");
            match (&lost, expected) {
                (Lost::Final(_), None) => {}
                (Lost::Again { after, .. }, Some(seconds)) => {
                    assert_eq!(*after, seconds.map(Duration::from_secs), "{answer}");
                }
                _ => panic!("{answer}: {lost:?}"),
            }
            server.join().expect("no panic");
        }
    }
}

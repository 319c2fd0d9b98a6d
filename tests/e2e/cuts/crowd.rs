//! Clients that are cut off again and again, and come back.

use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alarmcast::base::clock::Clock;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::proxy::{is_timeout, wait};
use crate::resuming::{Fault, Interest, Published, Random, Reader, Start, Tamper};
use crate::support::{DEADLINE, Server};

/// What the clients of a run have in common.
pub struct Crowd<'a> {
    pub server: &'a Server,
    pub addr: SocketAddr,
    pub seed: u64,
    pub fault: Option<Fault>,
    /// Connections so far on which something was resumed, all clients together.
    pub resumes: &'a AtomicU64,
    /// Nothing is published any more, and nothing goes wrong any more.
    pub is_over: &'a AtomicBool,
    pub published: &'a Mutex<Published>,
}

/// Which words of the protocol a client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// JSON, and never said so: it is closed instead of being told of losses.
    Base,
    Json,
    Packed,
}

impl Crowd<'_> {
    /// One client's life, until it has caught up with everything at the end.
    pub fn follow(&self, number: u64) -> Reader {
        let mut random = Random::new(self.seed.wrapping_add(number * 7_919));
        let speech = random.pick(&[Speech::Base, Speech::Json, Speech::Packed, Speech::Packed]);
        let name = format!("client {number} ({speech:?})");
        let mut reader = Reader::new(name, self.subscriptions(&mut random));
        let mut tamper = Tamper::new(self.fault);
        let mut progress = (0, Clock::System.now());
        loop {
            if let Some(socket) = self.connect(speech) {
                self.serve(socket, speech, (&mut reader, &mut tamper), &mut random);
            }
            if self.is_over.load(Ordering::Relaxed) {
                let newest = self.newest();
                if reader.has_reached(newest) {
                    return reader;
                }
                // It may be slow, but it has to go on.
                let (events, now) = (reader.totals.events, Clock::System.now());
                if events > progress.0 {
                    progress = (events, now);
                }
                let waited = now.since(progress.1);
                assert!(waited < DEADLINE * 2, "not at {newest}: {}", reader.standing());
            } else {
                progress.1 = Clock::System.now();
            }
            wait(Duration::from_millis(random.below(60) as u64));
        }
    }

    fn subscriptions(&self, random: &mut Random) -> Vec<(Interest, Start)> {
        let interests = match random.below(4) {
            0 | 1 => Interest::disjoint(1 + random.below(3), random),
            2 => Interest::disjoint(1, random),
            _ => (0..2 + random.below(2)).map(|_| Interest::any(random)).collect(),
        };
        let now = Clock::System.wall().as_millisecond() as u64;
        let mut start = || match random.below(5) {
            0 => Start::Live,
            1 => Start::Since(now - random.below(300) as u64),
            2 => Start::Oldest,
            _ => Start::Newest,
        };
        interests.into_iter().map(|interest| (interest, start())).collect()
    }

    /// The newest event, whether its publisher knows it already or not.
    fn sequenced(&self) -> u64 {
        self.server.get("/health").json()["seq"].as_u64().expect("a seq")
    }

    fn newest(&self) -> u64 {
        let published = self.published.lock().expect("no panic");
        published.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    fn connect(&self, speech: Speech) -> Option<WebSocket<TcpStream>> {
        const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
        let query = if speech == Speech::Json { "?encoding=json" } else { "" };
        let mut request =
            format!("ws://{}/ws{query}", self.addr).into_client_request().expect("a URL");
        if speech == Speech::Packed {
            let subprotocol = HeaderValue::from_static("alarmcast.v1.msgpack");
            request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        }
        let stream = TcpStream::connect(self.addr).ok()?;
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Some(socket),
            // Refusals tell when to come back, which is soon enough here.
            Err(HandshakeError::Failure(Error::Http(answer))) => {
                assert!(matches!(answer.status().as_u16(), 429 | 503), "{answer:?}");
                None
            }
            Err(_) => None,
        }
    }

    /// Until the connection ends, or all is done.
    fn serve(
        &self,
        mut socket: WebSocket<TcpStream>,
        speech: Speech,
        (reader, tamper): (&mut Reader, &mut Tamper),
        random: &mut Random,
    ) {
        const TICK: Duration = Duration::from_millis(50);
        socket.get_ref().set_read_timeout(Some(TICK)).expect("a socket option");
        reader.connected();
        let resumes = reader.totals.resumes;
        let (is_fickle, mut heard_at) = (random.chance(20), Clock::System.now());
        loop {
            match socket.read() {
                Ok(Message::Close(_)) => {}
                Ok(message) => {
                    heard_at = Clock::System.now();
                    for message in
                        decode(&message, speech).into_iter().flat_map(|it| tamper.pass(it))
                    {
                        reader.handle(&message);
                        if reader.wants_newest() {
                            reader.newest_is(self.sequenced());
                        }
                    }
                }
                Err(Error::Io(error)) if is_timeout(error.kind()) => {}
                Err(_) => break,
            }
            if is_fickle && random.chance(2) && !self.is_over.load(Ordering::Relaxed) {
                reader.change(random);
            }
            while let Some(message) = reader.poll() {
                if socket.send(encode(&message, speech)).is_err() {
                    break;
                }
            }
            if self.is_over.load(Ordering::Relaxed) && reader.has_reached(self.newest()) {
                let _ = socket.close(None);
                break;
            }
            let is_over = self.is_over.load(Ordering::Relaxed);
            if is_over && Clock::System.now().since(heard_at) > DEADLINE {
                break;
            }
            if !is_over && random.below(3_000) == 0 {
                let _ = socket.close(None);
            }
        }
        self.resumes.fetch_add(reader.totals.resumes - resumes, Ordering::Relaxed);
    }
}

fn decode(message: &Message, speech: Speech) -> Option<Value> {
    match (message, speech) {
        (Message::Binary(bytes), Speech::Packed) => {
            Some(rmp_serde::from_slice(bytes).expect("MessagePack"))
        }
        (Message::Text(text), Speech::Base | Speech::Json) => {
            Some(serde_json::from_str(text).expect("JSON"))
        }
        (Message::Ping(_) | Message::Pong(_), _) => None,
        other => panic!("not a frame of this encoding: {other:?}"),
    }
}

fn encode(message: &Value, speech: Speech) -> Message {
    match speech {
        Speech::Packed => {
            Message::Binary(rmp_serde::to_vec_named(message).expect("MessagePack").into())
        }
        Speech::Base | Speech::Json => Message::text(message.to_string()),
    }
}

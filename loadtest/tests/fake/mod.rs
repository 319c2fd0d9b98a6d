//! A tiny server that does what a test wants, right or wrong: a thread for each connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    None,
    AnswersWrongKey,
    /// With 503, to come back at once.
    Refuses,
    SkipsSecondEvent,
    SkipsLastEvent,
    RepeatsSecondEvent,
    CutsOffAtSecondEvent,
    /// With 4009.
    ClosesAfterLastEvent,
    EndsUntold,
    EndsWithNormal,
    NeverEnds,
}

#[derive(Clone)]
enum Order {
    Send { seq: usize, text: String, is_last: bool },
    Drain,
}

type Subscribers = Arc<Mutex<Vec<Sender<Order>>>>;

pub struct Fake {
    pub stream: String,
    pub control: String,
    subscribers: Subscribers,
}

impl Fake {
    /// Connections come with these misdeeds, in this order; then no more are taken.
    pub fn start(misdeeds: Vec<Misdeed>) -> Self {
        let subscribers = Subscribers::default();
        let (stream, control) = (listen(), listen());
        let fake = Self {
            stream: format!("ws://{}/ws", stream.local_addr().expect("it is bound")),
            control: format!("http://{}", control.local_addr().expect("it is bound")),
            subscribers: Arc::clone(&subscribers),
        };
        let publishing = Arc::clone(&subscribers);
        thread::spawn(move || {
            for (misdeed, socket) in misdeeds.into_iter().zip(stream.incoming()) {
                let (sender, orders) = channel();
                subscribers.lock().expect("nobody panicked").push(sender);
                let socket = socket.expect("a connection");
                thread::spawn(move || serve(socket, misdeed, &orders));
            }
        });
        thread::spawn(move || {
            let mut seq = 0;
            for socket in control.incoming() {
                take_events(socket.expect("a connection"), &publishing, &mut seq);
            }
        });
        fake
    }

    pub fn drain(&self) {
        tell_all(&self.subscribers, &Order::Drain);
    }
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports")
}

fn tell_all(subscribers: &Subscribers, order: &Order) {
    for subscriber in subscribers.lock().expect("nobody panicked").iter() {
        // A connection that was cut off does not listen.
        let _ = subscriber.send(order.clone());
    }
}

fn serve(mut socket: TcpStream, misdeed: Misdeed, orders: &Receiver<Order>) {
    let Some(key) = read_key(&socket) else { return };
    if misdeed == Misdeed::Refuses {
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\n\r\n";
        return socket.write_all(refusal).expect("the load tester listens");
    }
    let mut accept = derive_accept_key(key.as_bytes());
    if misdeed == Misdeed::AnswersWrongKey {
        accept = derive_accept_key(accept.as_bytes());
    }
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).expect("the load tester listens");
    let mut socket = WebSocket::from_raw_socket(socket, Role::Server, None);
    send(&mut socket, json!({"type": "welcome", "seq": 0}));
    let Ok(subscribe) = socket.read() else { return };
    assert!(subscribe.to_text().is_ok_and(|text| text.contains("subscribe")));
    send(&mut socket, json!({"type": "subscribed", "subscription_id": "load"}));
    for order in orders {
        match order {
            Order::Send { seq, text, is_last } => {
                let copies = match misdeed {
                    Misdeed::SkipsSecondEvent if seq == 2 => 0,
                    Misdeed::SkipsLastEvent if is_last => 0,
                    Misdeed::RepeatsSecondEvent if seq == 2 => 2,
                    Misdeed::CutsOffAtSecondEvent if seq == 2 => return,
                    _ => 1,
                };
                for _ in 0..copies {
                    socket.send(Message::text(text.clone())).expect("the load tester listens");
                }
                if misdeed == Misdeed::ClosesAfterLastEvent && is_last {
                    return end(socket, misdeed, orders);
                }
            }
            Order::Drain => return end(socket, misdeed, orders),
        }
    }
}

/// The key of an upgrade request; the client sends nothing behind it yet.
fn read_key(socket: &TcpStream) -> Option<String> {
    let lines = BufReader::new(socket).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    head.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).map(str::to_owned)
}

fn end(mut socket: WebSocket<TcpStream>, misdeed: Misdeed, orders: &Receiver<Order>) {
    if misdeed == Misdeed::NeverEnds {
        // Until the test is over.
        return orders.iter().for_each(drop);
    }
    if misdeed != Misdeed::EndsUntold {
        send(&mut socket, json!({"type": "closing", "reason": "going_away", "code": 1001}));
    }
    let code = match misdeed {
        Misdeed::EndsWithNormal => CloseCode::Normal,
        Misdeed::ClosesAfterLastEvent => CloseCode::from(4009),
        _ => CloseCode::Away,
    };
    let frame = CloseFrame { code, reason: "".into() };
    socket.close(Some(frame)).expect("the load tester listens");
    while socket.read().is_ok() {}
}

fn send(socket: &mut WebSocket<TcpStream>, message: Value) {
    socket.send(Message::text(message.to_string())).expect("the load tester listens");
}

/// Answers requests to publish until the connection ends.
fn take_events(socket: TcpStream, subscribers: &Subscribers, seq: &mut usize) {
    let mut input = BufReader::new(socket.try_clone().expect("descriptors are left"));
    let mut output = socket;
    while let Some(body) = read_body(&mut input) {
        let items: Vec<Value> =
            body.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
        let mut results = Vec::new();
        for (index, event) in items.into_iter().enumerate() {
            *seq += 1;
            let is_last = event["metadata"]["load_index"] == "3";
            let text = json!({"type": "event", "seq": *seq, "event": event}).to_string();
            tell_all(subscribers, &Order::Send { seq: *seq, text, is_last });
            results.push(json!({"index": index, "message_id": "m", "seq": *seq}));
        }
        let answer = json!({"results": results}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        output.write_all((head + &answer).as_bytes()).expect("the publisher listens");
    }
}

fn read_body(input: &mut impl BufRead) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

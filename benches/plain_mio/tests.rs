//! Of every plain server.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::*;

fn read(socket: &mut WebSocket<std::net::TcpStream>) -> Value {
    let message = socket.read().expect("a message");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

#[test]
fn a_subscriber_is_sent_what_is_published() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let arguments = Arguments { stream_listen: any, control_listen: any, shards: 2 };
    let server = start(&arguments).expect("it starts");
    let stream = std::net::TcpStream::connect(server.stream).expect("it listens");
    let url = format!("ws://{}/ws", server.stream);
    let (mut socket, _) = tungstenite::client(url, stream).expect("an upgrade");
    assert_eq!(read(&mut socket)["type"], "welcome");
    let subscribe = json!({"type": "subscribe", "subscription_id": "a", "filters": {}});
    socket.send(Message::text(subscribe.to_string())).expect("it is taken");
    assert_eq!(read(&mut socket)["type"], "subscribed");
    let url = format!("http://{}/api/v1/events", server.control);
    for seq in 1..=2 {
        let event = json!({"event_type": "system_event", "idempotency_key": "k"}).to_string();
        let mut answer = ureq::post(&url).send(event).expect("an answer");
        let answer: Value = answer.body_mut().read_json().expect("JSON");
        assert_eq!(answer["results"][0]["seq"], seq);
        let event = read(&mut socket);
        assert_eq!((&event["seq"], &event["type"]), (&json!(seq), &json!("event")));
        assert_eq!(event["event"], json!({"event_type": "system_event"}));
    }
}

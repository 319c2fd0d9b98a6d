//! One connection's three tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::{Hub, ServerEvent};

const HEARTBEAT: Duration = Duration::from_secs(30);
const REPLIES_MAX: usize = 100;

pub async fn serve(socket: WebSocket, hub: Arc<Hub>) {
    let (sink, stream) = socket.split();
    let (replies, to_write) = mpsc::channel(REPLIES_MAX);
    let is_subscribed = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(stream, replies.clone(), Arc::clone(&is_subscribed)));
    let heartbeat = tokio::spawn(beat(replies));
    let writer = tokio::spawn(write(sink, to_write, hub.events.subscribe(), is_subscribed));
    tokio::select! {
        _ = reader => {}
        _ = writer => {}
    }
    // The writer ends with the last that could send to it.
    heartbeat.abort();
}

async fn read(
    mut stream: SplitStream<WebSocket>,
    replies: mpsc::Sender<Message>,
    is_subscribed: Arc<AtomicBool>,
) {
    let welcome = json!({"type": "welcome", "protocol": "plain"});
    let mut is_open = replies.send(text(&welcome)).await.is_ok();
    while is_open && let Some(Ok(message)) = stream.next().await {
        let Message::Text(message) = message else { continue };
        let Ok(message) = serde_json::from_str::<Value>(&message) else { return };
        let reply = match message["type"].as_str() {
            Some("subscribe") => {
                is_subscribed.store(true, Ordering::Relaxed);
                json!({"type": "subscribed", "subscription_id": message["subscription_id"]})
            }
            Some("ping") => json!({"type": "pong"}),
            _ => continue,
        };
        is_open = replies.send(text(&reply)).await.is_ok();
    }
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut replies: mpsc::Receiver<Message>,
    mut events: broadcast::Receiver<Arc<ServerEvent>>,
    is_subscribed: Arc<AtomicBool>,
) {
    loop {
        let message = tokio::select! {
            reply = replies.recv() => match reply {
                Some(message) => message,
                None => return,
            },
            event = events.recv() => match event {
                Ok(event) if is_subscribed.load(Ordering::Relaxed) => text(&*event),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

async fn beat(replies: mpsc::Sender<Message>) {
    let mut beats = interval(HEARTBEAT);
    // The first one is at once.
    beats.tick().await;
    loop {
        beats.tick().await;
        if replies.send(Message::Ping("".into())).await.is_err() {
            return;
        }
    }
}

/// Strings as keys, and nothing that could fail: what is serialised here always is.
fn text(message: &impl serde::Serialize) -> Message {
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

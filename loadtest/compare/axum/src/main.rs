//! A fan-out on axum and tokio, built as services often are: what is published goes through a
//! broadcast channel to three tasks for each connection (reader, writer, heartbeat), and is
//! serialised for each delivery. It speaks as much of Alarmcast's protocol as
//! `alarmcast-loadtest fanout` listens to.
//!
//! `cargo xtask compare` runs it: `alarmcast-compare-axum THREADS`.

#![forbid(unsafe_code)]

mod connection;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;

const EVENTS_MAX: usize = 10_000;

fn main() -> io::Result<()> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse());
    runtime(threads.map_err(io::Error::other)?)?.block_on(serve())
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    match threads {
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

async fn serve() -> io::Result<()> {
    let hub = Arc::new(Hub { events: broadcast::channel(EVENTS_MAX).0, seq: Mutex::new(0) });
    let routes = Router::new()
        .route("/ws", get(subscribe))
        .route("/api/v1/events", post(publish))
        .with_state(hub);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("ws://{address}/ws http://{address}");
    axum::serve(listener, routes).await
}

/// What all connections share.
pub struct Hub {
    pub events: broadcast::Sender<Arc<ServerEvent>>,
    /// The newest event's.
    seq: Mutex<u64>,
}

/// An event as it is sent.
#[derive(Serialize)]
#[serde(tag = "type", rename = "event")]
pub struct ServerEvent {
    message_id: String,
    seq: u64,
    priority: &'static str,
    event: Value,
}

impl Hub {
    fn publish(&self, event: Value) -> u64 {
        // Held until all channels have it, so that all see one order.
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        let message_id = format!("event-{seq}");
        let event = ServerEvent { message_id, seq: *seq, priority: "normal", event };
        // Fails when nobody is connected.
        let _ = self.events.send(Arc::new(event));
        *seq
    }
}

async fn subscribe(upgrade: WebSocketUpgrade, State(hub): State<Arc<Hub>>) -> Response {
    upgrade.on_upgrade(move |socket| connection::serve(socket, hub))
}

/// One event a line.
async fn publish(State(hub): State<Arc<Hub>>, body: String) -> Response {
    let events: Result<Vec<Value>, _> = body.lines().map(serde_json::from_str).collect();
    let events = match events {
        Ok(events) => events,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let result = |(index, event)| json!({"index": index, "seq": hub.publish(event)});
    let results: Vec<Value> = events.into_iter().enumerate().map(result).collect();
    Json(json!({"results": results})).into_response()
}

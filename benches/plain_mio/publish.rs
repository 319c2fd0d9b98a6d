//! `POST /api/v1/events`, one event a line, with a thread for each publisher.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use alarmcast::base::clock::Clock;
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;

use crate::Inbox;
use crate::wire::frame;

const BODY_BYTES_MAX: usize = 16 << 20;

pub struct Publisher {
    inboxes: Vec<Arc<Inbox>>,
    /// The newest event's.
    seq: Mutex<u64>,
}

impl Publisher {
    pub fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self { inboxes, seq: Mutex::new(0) }
    }

    /// Frames the event once and hands it to every thread.
    fn publish(&self, mut event: Value) -> io::Result<(String, u64)> {
        let key = event.as_object_mut().and_then(|event| event.remove("idempotency_key"));
        drop(key);
        let message_id = Uuid::now_v7().to_string();
        let timestamp = Clock::System.wall().to_string();
        // Held until every thread has it, so that all see one order.
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        let message = json!({
            "type": "event",
            "message_id": message_id,
            "timestamp": timestamp,
            "seq": *seq,
            "priority": "normal",
            "event": event,
        });
        let frame = frame(OpCode::Data(Data::Text), message.to_string().as_bytes());
        let frame: Arc<[u8]> = frame.into();
        self.inboxes.iter().try_for_each(|inbox| inbox.push(Arc::clone(&frame)))?;
        Ok((message_id, *seq))
    }
}

pub fn serve(listener: &TcpListener, publisher: &Arc<Publisher>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let publisher = Arc::clone(publisher);
        thread::spawn(move || {
            if let Err(error) = answer_all(&stream, &publisher) {
                eprintln!("a publisher: {error}");
            }
        });
    }
}

fn answer_all(mut stream: &TcpStream, publisher: &Publisher) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    while let Some(body) = read_body(&mut input)? {
        let mut results = Vec::new();
        for (index, line) in body.lines().enumerate() {
            let (message_id, seq) = publisher.publish(serde_json::from_str(line)?)?;
            results.push(json!({"index": index, "message_id": message_id, "seq": seq}));
        }
        let answer = json!({"results": results}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes())?;
    }
    Ok(())
}

/// The next request's body; none at the end.
fn read_body(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    String::from_utf8(body).map(Some).map_err(io::Error::other)
}

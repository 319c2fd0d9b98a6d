//! One WebSocket connection.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_uring::net::TcpStream;

use crate::fanout::Subscribers;
use crate::wire::Session;

const READ_BYTES: usize = 4096;
const WAITING_BYTES_MAX: usize = 4 << 20;

/// What waits to be written.
#[derive(Default)]
pub struct Outbox {
    waiting: RefCell<Vec<Bytes>>,
    waiting_bytes: Cell<usize>,
    is_closed: Cell<bool>,
    changed: Notify,
}

impl Outbox {
    /// False when the connection is over.
    pub fn push(&self, bytes: &Bytes) -> bool {
        let waiting_bytes = self.waiting_bytes.get() + bytes.len();
        if self.is_closed.get() || waiting_bytes > WAITING_BYTES_MAX {
            self.close();
            return false;
        }
        self.waiting_bytes.set(waiting_bytes);
        self.waiting.borrow_mut().push(bytes.clone());
        self.changed.notify_one();
        true
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.changed.notify_one();
    }

    /// Everything that waits, in one piece; none once the connection is over.
    async fn take(&self) -> Option<Bytes> {
        loop {
            let mut waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            self.waiting_bytes.set(0);
            match waiting.len() {
                0 if self.is_closed.get() => return None,
                0 => self.changed.notified().await,
                1 => return waiting.pop(),
                _ => return Some(waiting.concat().into()),
            }
        }
    }
}

pub async fn serve(stream: TcpStream, subscribers: Subscribers) {
    let (stream, outbox) = (Rc::new(stream), Rc::new(Outbox::default()));
    tokio_uring::spawn(write(Rc::clone(&stream), Rc::clone(&outbox)));
    // However it ends: the writer sends what is left and then lets go of the socket.
    let _ = read(&stream, &outbox, &subscribers).await;
    outbox.close();
}

async fn read(
    stream: &TcpStream,
    outbox: &Rc<Outbox>,
    subscribers: &Subscribers,
) -> io::Result<()> {
    let mut session = Session::new();
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut input = Vec::new();
    while !session.is_closed() {
        buffer.clear();
        let (count, read) = stream.read(buffer).await;
        buffer = read;
        if count? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(&buffer);
        let (mut answers, was_subscribed) = (Vec::new(), session.is_subscribed());
        let taken = session.take(&mut input, &mut answers)?;
        input.drain(..taken);
        if input.is_empty() {
            input = Vec::new();
        }
        if !answers.is_empty() {
            outbox.push(&answers.into());
        }
        if session.is_subscribed() && !was_subscribed {
            subscribers.borrow_mut().push(Rc::clone(outbox));
        }
    }
    Ok(())
}

async fn write(stream: Rc<TcpStream>, outbox: Rc<Outbox>) {
    while let Some(bytes) = outbox.take().await {
        if stream.write_all(bytes).await.0.is_err() {
            outbox.close();
            break;
        }
    }
    // Ends the reader too. It fails when the client was faster.
    let _ = stream.shutdown(Shutdown::Both);
}

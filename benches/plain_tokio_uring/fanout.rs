//! One thread's connections: accepts them, and hands what is published to each.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_uring::net::TcpListener;

use crate::connection::{self, Outbox};

/// Frames on their way to a thread's connections.
pub struct Inbox(pub Sender<Arc<[u8]>>);

impl Inbox {
    /// Waits while it is full.
    pub fn push(&self, frame: Arc<[u8]>) -> io::Result<()> {
        self.0.blocking_send(frame).map_err(io::Error::other)
    }
}

/// Whom to send to.
pub type Subscribers = Rc<RefCell<Vec<Rc<Outbox>>>>;

pub async fn run(listener: std::net::TcpListener, frames: Receiver<Arc<[u8]>>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener);
    let subscribers = Subscribers::default();
    tokio_uring::spawn(fan_out(frames, Rc::clone(&subscribers)));
    loop {
        let (stream, _) = listener.accept().await?;
        tokio_uring::spawn(connection::serve(stream, Rc::clone(&subscribers)));
    }
}

/// Hands over everything that was published since the last time, in one piece.
async fn fan_out(mut inbox: Receiver<Arc<[u8]>>, subscribers: Subscribers) {
    const FRAMES_MAX: usize = 1024;
    let mut frames = Vec::new();
    while inbox.recv_many(&mut frames, FRAMES_MAX).await > 0 {
        let bytes = match &frames[..] {
            [frame] => Bytes::from_owner(Arc::clone(frame)),
            frames => frames.concat().into(),
        };
        frames.clear();
        subscribers.borrow_mut().retain(|outbox| outbox.push(&bytes));
    }
}

//! Handlers other than the stream's: one that panics, one that closes.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::protocol::{CloseCode, Encoded, Encoding};
use alarmcast::shard::{Close, Handler, Message, Replies};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use uuid::Uuid;

use crate::client::{TEXT, frame};
use crate::world::Plan;

/// Panics, closes or echoes, as it is told.
struct Moody;

impl Handler for Moody {
    fn admit(&mut self, _key: Key, _request: &Request) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    fn opened(&mut self, _key: Key, _id: Uuid, _now: Instant, _replies: &mut Replies) {}

    fn message(&mut self, _key: Key, message: Message<'_>, _now: Instant, replies: &mut Replies) {
        let Message::Text(text) = message else { return };
        let echo = alarmcast::ws::frame::frame(TEXT.into(), format!("\"{text}\"").as_bytes());
        replies.send(Bytes::from(echo));
        match text {
            "panic" => panic!("as it was told"),
            "close" => {
                replies.close(Close { code: CloseCode::PolicyViolation, reason: "as it was told" })
            }
            _ => {}
        }
    }

    fn closed(&mut self, _key: Key) {}

    fn closing(&mut self, _key: Key, _close: &Close, _after: Option<u64>) -> Option<Bytes> {
        None
    }

    fn matching(&mut self, _event: &Arc<Encoded>, _slots: &mut Vec<u32>) {}

    fn encoding(&self, _slot: u32) -> Encoding {
        Encoding::default()
    }

    fn interested(&self) -> usize {
        0
    }
}

#[test]
fn a_panic_in_a_handler_costs_one_connection_and_no_other() {
    let mut world = Plan::new(1).build_with(|_, _, _| Moody);
    let (mut unlucky, mut other) = (world.knock(), world.knock());
    world.settle(&mut [&mut unlucky, &mut other]);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    unlucky.send_raw(&[frame(TEXT, b"panic"), frame(TEXT, b"too late")].concat());
    world.settle(&mut [&mut unlucky, &mut other]);
    panic::set_hook(hook);
    assert_eq!(unlucky.close_code(), Some(1011));
    assert_eq!(world.stats.handler_panics.get(), 1);
    other.send_raw(&frame(TEXT, b"still there"));
    world.settle(&mut [&mut unlucky, &mut other]);
    assert_eq!(other.messages().collect::<Vec<_>>(), ["still there"]);
    assert!(unlucky.messages().all(|message| message != "too late"));
    other.close(1000);
    world.end(Duration::from_secs(3), &mut [&mut unlucky, &mut other]);
}

#[test]
fn a_handler_closes_after_what_it_said() {
    let mut world = Plan::new(2).build_with(|_, _, _| Moody);
    let mut client = world.knock();
    world.settle(&mut [&mut client]);
    client.send_raw(&[frame(TEXT, b"close"), frame(TEXT, b"too late")].concat());
    world.settle(&mut [&mut client]);
    assert_eq!(client.messages().collect::<Vec<_>>(), ["close"]);
    assert_eq!(client.close_code(), Some(1008));
    world.end(Duration::from_secs(2), &mut [&mut client]);
}

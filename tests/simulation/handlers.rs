//! Handlers other than the stream's: one that panics, one that closes, one to which an event comes
//! while it is busy.

use std::cell::{Cell, RefCell};
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use alarmcast::base::clock::Instant;
use alarmcast::base::slab::Key;
use alarmcast::event::Priority;
use alarmcast::protocol::{CloseCode, Encoded, Encoding};
use alarmcast::shard::{Close, Handle, Handler, Message, Replies};
use alarmcast::ws::{Refusal, Request};
use bytes::Bytes;
use uuid::Uuid;

use crate::client::{TEXT, frame};
use crate::events;
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

/// The hub's end of an inbox, and what it is about to queue there.
type Meanwhile = (Handle, Arc<Encoded>);

/// Nobody is there. As it is asked who wants an event, the hub queues the next one.
#[derive(Clone, Default)]
struct Overtaken {
    meanwhile: Rc<RefCell<Option<Meanwhile>>>,
    seen: Rc<Cell<u64>>,
}

impl Handler for Overtaken {
    fn admit(&mut self, _key: Key, _request: &Request) -> Result<Option<&'static str>, Refusal> {
        Ok(None)
    }

    fn opened(&mut self, _key: Key, _id: Uuid, _now: Instant, _replies: &mut Replies) {}

    fn message(&mut self, _key: Key, _message: Message<'_>, _now: Instant, _replies: &mut Replies) {
    }

    fn closed(&mut self, _key: Key) {}

    fn closing(&mut self, _key: Key, _close: &Close, _after: Option<u64>) -> Option<Bytes> {
        None
    }

    fn seen(&mut self, seq: u64) {
        self.seen.set(seq);
    }

    fn matching(&mut self, _event: &Arc<Encoded>, _slots: &mut Vec<u32>) {
        if let Some((hub, event)) = self.meanwhile.take() {
            let seq = event.event.seq;
            assert!(hub.push_event(event).is_ok());
            hub.set_complete_to(seq);
        }
    }

    fn encoding(&self, _slot: u32) -> Encoding {
        Encoding::default()
    }

    fn interested(&self) -> usize {
        0
    }
}

#[test]
fn the_position_includes_an_event_that_came_while_others_were_delivered() {
    let handler = Overtaken::default();
    let mut world = Plan::new(3).build_with(|_, _, _| handler.clone());
    world.publish(events::of(Priority::Low, "api"));
    let second = world.sequence(events::of(Priority::Low, "api"));
    handler.meanwhile.replace(Some((world.handle.clone(), second)));
    world.turn();
    assert_eq!(world.handle.inbox_usage().0, 0, "both were taken");
    assert_eq!(handler.seen.get(), 2);
}

//! Reading and writing messages, for each of them.

use std::hint::black_box;

use alarmcast::base::limits::NESTING_DEPTH_MAX;
use alarmcast::protocol::{
    Encoded, Encoding, decode, json as text, msgpack, parse_bytes, parse_msgpack,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Work;
use crate::sample;

const TIMES: u64 = 200;

/// Work that is done so many times on each call.
fn repeated(mut once: impl FnMut() -> bool + 'static) -> Work {
    Box::new(move || {
        (0..TIMES).for_each(|_| assert!(once()));
        TIMES
    })
}

fn packed_item() -> Vec<u8> {
    let value: Value = serde_json::from_str(&sample::item()).expect("JSON");
    msgpack::to_vec(&value)
}

/// Copying the event is part of it.
pub fn encode_json() -> Work {
    let event = sample::event();
    repeated(move || !Encoded::new(event.clone()).frame(Encoding::Json).is_empty())
}

pub fn encode_msgpack() -> Work {
    let event = sample::event();
    repeated(move || !Encoded::new(event.clone()).frame(Encoding::MessagePack).is_empty())
}

pub fn publish_json() -> Work {
    let item = sample::item();
    repeated(move || parse_bytes(black_box(item.as_bytes()), Timestamp::UNIX_EPOCH).is_ok())
}

pub fn publish_msgpack() -> Work {
    let item = packed_item();
    repeated(move || parse_msgpack(black_box(&item), Timestamp::UNIX_EPOCH).is_ok())
}

pub fn transcode_to_msgpack() -> Work {
    let item = sample::item();
    repeated(move || {
        let value = text::parse(black_box(item.as_bytes()), NESTING_DEPTH_MAX);
        value.is_ok_and(|value| !msgpack::to_vec(&value).is_empty())
    })
}

pub fn transcode_to_json() -> Work {
    let item = packed_item();
    repeated(move || msgpack::to_json(black_box(&item), NESTING_DEPTH_MAX).is_ok())
}

pub fn subscribe_message() -> Work {
    let message = json!({"type": "subscribe", "subscription_id": "mine", "filters": {
        "event_types": ["incident_created", "incident_updated"],
        "severities": ["P0", "P1"],
        "labels": {"team": "core", "env": "prod"},
    }})
    .to_string();
    repeated(move || decode(black_box(&message)).is_ok())
}

//! Finding an event's connections, and queueing it for one of them.

use std::hint::black_box;
use std::rc::Rc;

use alarmcast::event::{Priorities, Priority};
use alarmcast::queue::{Arena, Frame, FrameId, Lane, Limits, Outbox};
use bytes::Bytes;
use serde_json::Value;

use crate::Work;
use crate::distinct;
use crate::sample;

const GROUPS: u32 = 2_000;
const EVENTS: u64 = 20;

/// For each connection that is found.
pub fn match_one_percent() -> Work {
    matching(distinct::one_percent)
}

/// For each event, which none of the patterns matches.
pub fn match_patterns() -> Work {
    matching(distinct::patterns)
}

fn matching(filters: fn(u32) -> Value) -> Work {
    let event = sample::event();
    let mut index = distinct::index(GROUPS, filters);
    let mut found = Vec::new();
    Box::new(move || {
        let mut units = 0;
        for _ in 0..EVENTS {
            found.clear();
            index.matching(black_box(&event.attributes()), &mut found);
            units += found.len().max(1) as u64;
        }
        units
    })
}

const LANES: [Lane; 5] = [Lane::Control, Lane::Critical, Lane::High, Lane::Normal, Lane::Low];
const FRAMES: u64 = 500;
const FRAME_BYTES: usize = 1000;
const LIMITS: Limits = Limits { messages_max: 1000, bytes_max: 4 << 20 };

fn frame() -> FrameId {
    Arena::new().insert(Frame { bytes: Rc::new(Bytes::new()), event: None })
}

/// For each frame: in, and out again.
pub fn lanes() -> Work {
    let (id, mut outbox) = (frame(), Outbox::new());
    Box::new(move || {
        for lane in LANES.iter().cycle().take(FRAMES as usize) {
            let _ = black_box(outbox.push(*lane, id, FRAME_BYTES, LIMITS));
        }
        let mut frames = 0;
        while let Some(id) = outbox.pop() {
            black_box(id);
            frames += 1;
        }
        assert_eq!(frames, FRAMES);
        frames
    })
}

/// For each low frame that takes the place of the oldest.
pub fn lanes_that_shed() -> Work {
    const KEPT: Priorities = Priorities::only(Priority::Critical);
    let (id, mut outbox) = (frame(), Outbox::new());
    let mut shed = Vec::new();
    Box::new(move || {
        shed.clear();
        for _ in 0..FRAMES {
            let bytes = black_box(FRAME_BYTES);
            let _ = black_box(outbox.push_shedding(Lane::Low, id, bytes, LIMITS, KEPT, &mut shed));
        }
        FRAMES
    })
}

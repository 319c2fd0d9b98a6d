//! One connection's lanes: queueing, taking, and shedding at a watermark.

use std::hint::black_box;
use std::rc::Rc;

use alarmcast::event::{Priorities, Priority};
use alarmcast::queue::{Arena, Frame, FrameId, Lane, Limits, Outbox, Pushed};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LANES: [Lane; 5] = [Lane::Control, Lane::Critical, Lane::High, Lane::Normal, Lane::Low];
const FRAMES: usize = 100;
const FRAME_BYTES: usize = 1000;
const LIMITS: Limits = Limits { messages_max: 1000, bytes_max: 4 << 20 };
const KEPT: Priorities = Priorities::only(Priority::Critical);

fn frame() -> FrameId {
    Arena::new().insert(Frame { bytes: Rc::new(Bytes::new()), event: None })
}

/// So many frames over all lanes, and out again.
fn push_and_pop(criterion: &mut Criterion) {
    let (id, mut outbox) = (frame(), Outbox::new());
    let mut group = criterion.benchmark_group("lanes");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("push_and_pop", |bencher| {
        bencher.iter(|| {
            for number in 0..FRAMES {
                let _ = black_box(outbox.push(LANES[number % 5], id, FRAME_BYTES, LIMITS));
            }
            while let Some(id) = outbox.pop() {
                black_box(id);
            }
        });
    });
    group.finish();
}

/// At the watermark of low events: each one more takes the place of the oldest.
fn shed(criterion: &mut Criterion) {
    let (id, mut outbox) = (frame(), Outbox::new());
    let mut shed = Vec::new();
    for _ in 0..LIMITS.messages_max / 2 {
        let pushed = outbox.push_shedding(Lane::Low, id, FRAME_BYTES, LIMITS, KEPT, &mut shed);
        assert_eq!(pushed, Pushed::Queued);
    }
    assert!(shed.is_empty());
    let mut group = criterion.benchmark_group("lanes");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("shed", |bencher| {
        bencher.iter(|| {
            for _ in 0..FRAMES {
                let bytes = black_box(FRAME_BYTES);
                let _ =
                    black_box(outbox.push_shedding(Lane::Low, id, bytes, LIMITS, KEPT, &mut shed));
            }
            assert_eq!(shed.len(), FRAMES);
            shed.clear();
        });
    });
    group.finish();
}

criterion_group!(benches, push_and_pop, shed);
criterion_main!(benches);

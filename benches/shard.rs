//! What one event costs a shard on the way to its subscribers: delivery into the lanes, the
//! flush, and the completions. On a driver that takes everything at once.

mod null_shard;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use null_shard::{event, shard};

/// Two turns: the first delivers and sends, the second sees the completions.
fn deliver(c: &mut Criterion) {
    let mut group = c.benchmark_group("shard_deliver_and_flush");
    for subscribers in [1, 100, 1000] {
        let (mut shard, handle) = shard(subscribers);
        let event = event();
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter(|| {
                assert!(handle.push_event(Arc::clone(&event)).is_ok());
                let turns = (shard.turn(), shard.turn());
                assert!(matches!(black_box(turns), (Ok(true), Ok(true))));
            });
        });
        assert_eq!(handle.stats().connections_active.get(), u64::from(subscribers));
        assert_eq!(handle.stats().outbox_bytes.get(), 0);
    }
    group.finish();
}

criterion_group!(benches, deliver);
criterion_main!(benches);

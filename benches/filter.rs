//! What one event costs before it is queued: finding its connections among
//! distinct filters, and encoding it.

use std::hint::black_box;

use alarmcast::base::clock::Instant;
use alarmcast::event::{Event, Publish};
use alarmcast::filter::{FilterSpec, Index};
use alarmcast::protocol::{Encoded, Encoding, msgpack, parse_bytes, parse_msgpack};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

/// A usual incident, about 1 KB on the wire.
fn item() -> String {
    json!({"event_type": "incident_created", "incident": {
        "id": "019ca8e1-9f40-7000-8000-0000000000aa", "severity": "P1", "source": "prometheus",
        "title": "Checkout is slow", "description": "p99 above 2 s for 5 minutes. ".repeat(12),
        "affected_resources": ["checkout", "db-1"],
        "labels": {"team": "team-7", "env": "prod", "region": "eu-1", "service": "checkout"},
    }})
    .to_string()
}

fn publish() -> Publish {
    match parse_bytes(item().as_bytes(), jiff::Timestamp::UNIX_EPOCH) {
        Ok(publish) => publish,
        Err(error) => panic!("{error}"),
    }
}

fn event() -> Event {
    let Publish { payload, .. } = publish();
    Event {
        seq: 1,
        message_id: uuid::Uuid::from_u128(1),
        timestamp: jiff::Timestamp::UNIX_EPOCH,
        priority: payload.priority(),
        context: payload.own_context(),
        payload,
        accepted_at: Instant::default(),
    }
}

/// `groups` distinct filters, one in ten of which wants the event's severity
/// and one of them all its team.
fn index(groups: u32) -> Index {
    let mut index = Index::new();
    for group in 0..groups {
        let severity = if group % 10 == 7 { "P1" } else { "P3" };
        let filters = json!({
            "severities": [severity, "P0"],
            "labels": {"team": format!("team-{group}"), "env": "prod"},
        });
        let filter = serde_json::from_value::<FilterSpec>(filters).map(|spec| spec.compile());
        match filter {
            Ok(Ok(filter)) => drop(index.subscribe(group, filter)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(index.groups(), groups as usize);
    index
}

fn matching(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("matching");
    let event = event();
    for groups in [1, 100, 10_000] {
        let mut index = index(groups);
        let mut found = Vec::new();
        bench.throughput(Throughput::Elements(u64::from(groups)));
        bench.bench_function(BenchmarkId::from_parameter(groups), |bencher| {
            bencher.iter(|| {
                found.clear();
                index.matching(black_box(&event.attributes()), &mut found);
                found.len()
            });
        });
    }
    bench.finish();
}

fn encoding(criterion: &mut Criterion) {
    let event = event();
    let mut bench = criterion.benchmark_group("event");
    for encoding in Encoding::ALL {
        let bytes = Encoded::new(event.clone()).frame(encoding).len() as u64;
        bench.throughput(Throughput::Bytes(bytes));
        bench.bench_function(BenchmarkId::new("encode", encoding), |bencher| {
            bencher.iter_batched_ref(
                || Encoded::new(event.clone()),
                |encoded| encoded.frame(encoding).len(),
                BatchSize::SmallInput,
            );
        });
    }
    let item = item();
    bench.throughput(Throughput::Bytes(item.len() as u64));
    bench.bench_function(BenchmarkId::new("parse", Encoding::Json), |bencher| {
        bencher
            .iter(|| parse_bytes(black_box(item.as_bytes()), jiff::Timestamp::UNIX_EPOCH).is_ok());
    });
    let value: Value = serde_json::from_str(&item).unwrap_or_default();
    let item = msgpack::to_vec(&value);
    bench.throughput(Throughput::Bytes(item.len() as u64));
    bench.bench_function(BenchmarkId::new("parse", Encoding::MessagePack), |bencher| {
        bencher.iter(|| parse_msgpack(black_box(&item), jiff::Timestamp::UNIX_EPOCH).is_ok());
    });
    bench.finish();
}

criterion_group!(benches, matching, encoding);
criterion_main!(benches);

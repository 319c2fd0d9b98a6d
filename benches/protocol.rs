//! What messages cost: encoding and reading events, from one encoding to the other, and what
//! clients say.

mod sample;

use std::hint::black_box;

use alarmcast::base::limits::NESTING_DEPTH_MAX;
use alarmcast::protocol::{
    Encoded, Encoding, decode, decode_msgpack, json, msgpack, parse_bytes, parse_msgpack,
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;

fn encoding(criterion: &mut Criterion) {
    let event = sample::event();
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
    let item = sample::item();
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

/// An event as JSON rewritten as MessagePack, and back.
fn transcoding(criterion: &mut Criterion) {
    let text = sample::item();
    let value = json::parse(text.as_bytes(), NESTING_DEPTH_MAX).expect("JSON");
    let packed = msgpack::to_vec(&value);
    let mut bench = criterion.benchmark_group("transcode");
    bench.throughput(Throughput::Bytes(text.len() as u64));
    bench.bench_function("JSON to MessagePack", |bencher| {
        bencher.iter(|| {
            let value = json::parse(black_box(text.as_bytes()), NESTING_DEPTH_MAX);
            value.map(|value| msgpack::to_vec(&value).len()).is_ok()
        });
    });
    bench.throughput(Throughput::Bytes(packed.len() as u64));
    bench.bench_function("MessagePack to JSON", |bencher| {
        bencher.iter(|| msgpack::to_json(black_box(&packed), NESTING_DEPTH_MAX).is_ok());
    });
    bench.finish();
}

/// What clients say, read and, for a subscription, compiled.
fn decoding(criterion: &mut Criterion) {
    let messages = [
        ("ping", serde_json::json!({"type": "ping", "timestamp": "2026-01-01T00:00:00Z"})),
        (
            "subscribe",
            serde_json::json!({"type": "subscribe", "subscription_id": "mine", "filters": {
                "event_types": ["incident_created", "incident_updated"],
                "severities": ["P0", "P1"],
                "labels": {"team": "core", "env": "prod"},
            }}),
        ),
    ];
    let mut bench = criterion.benchmark_group("decode");
    for (name, message) in messages {
        let text = message.to_string();
        let packed = msgpack::to_vec(&message);
        assert!(decode(&text).is_ok() && decode_msgpack(&packed).is_ok());
        bench.throughput(Throughput::Bytes(text.len() as u64));
        bench.bench_function(BenchmarkId::new(name, Encoding::Json), |bencher| {
            bencher.iter(|| decode(black_box(&text)).is_ok());
        });
        bench.throughput(Throughput::Bytes(packed.len() as u64));
        bench.bench_function(BenchmarkId::new(name, Encoding::MessagePack), |bencher| {
            bencher.iter(|| decode_msgpack(black_box(&packed)).is_ok());
        });
    }
    bench.finish();
}

criterion_group!(benches, encoding, transcoding, decoding);
criterion_main!(benches);

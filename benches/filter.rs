//! What one event costs before it is queued: finding its connections among distinct filters.

mod distinct;
mod sample;

use std::hint::black_box;

use alarmcast::filter::FilterSpec;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

use distinct::{filter, index, one_percent, patterns};

const GROUPS: [u32; 4] = [1, 100, 10_000, 100_000];

fn matching(criterion: &mut Criterion) {
    let event = sample::event();
    type Filters = fn(u32) -> Value;
    let kinds: [(&str, Filters); 3] = [
        ("matching one percent", one_percent),
        ("matching ten", ten),
        ("matching patterns", patterns),
    ];
    for (name, filters) in kinds {
        let mut bench = criterion.benchmark_group(name);
        for groups in GROUPS {
            let mut index = index(groups, filters);
            let mut found = Vec::new();
            index.matching(&event.attributes(), &mut found);
            bench.throughput(Throughput::Elements(found.len().max(1) as u64));
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
}

/// Ten of all, however many they are.
fn ten(group: u32) -> Value {
    let team = if group < 10 { 7 } else { group };
    json!({
        "severities": ["P1", "P0"],
        "labels": {"team": format!("team-{team}"), "env": "prod"},
        "none_of": [{"sources": [format!("muted-{group}")]}],
    })
}

/// One subscription more and away again, among many distinct ones.
fn subscribing(criterion: &mut Criterion) {
    const GROUPS: u32 = 10_000;
    let mut bench = criterion.benchmark_group("subscribing among 10000");
    let mut index = index(GROUPS, ten);
    let (new, known) = (filter(ten(GROUPS)), filter(ten(GROUPS / 2)));
    for (name, filter) in [("a new filter", new), ("a known filter", known)] {
        bench.bench_function(name, |bencher| {
            bencher.iter_batched(
                || filter.clone(),
                |filter| {
                    let key = index.subscribe(GROUPS, filter);
                    index.unsubscribe(key);
                },
                BatchSize::SmallInput,
            );
        });
    }
    bench.bench_function("compile", |bencher| {
        let spec: Result<FilterSpec, _> = serde_json::from_value(ten(GROUPS));
        bencher.iter(|| spec.as_ref().map(|spec| spec.compile().is_ok()).is_ok());
    });
    bench.bench_function("compile an expression", |bencher| {
        let filters = json!({"sources": [{"regex": r"^api-\d+$"}]});
        let spec: Result<FilterSpec, _> = serde_json::from_value(filters);
        bencher.iter(|| spec.as_ref().map(|spec| spec.compile().is_ok()).is_ok());
    });
    bench.finish();
}

criterion_group!(benches, matching, subscribing);
criterion_main!(benches);

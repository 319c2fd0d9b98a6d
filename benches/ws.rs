//! The way in: unmasking, and decoding text messages that lie whole in the input
//! or are cut by its end.

use std::hint::black_box;

use alarmcast::ws::mask::unmask;
use alarmcast::ws::{Decoder, Incoming, Limits};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGES: usize = 64;

fn client_text(payload_bytes: usize) -> Vec<u8> {
    let opcode = OpCode::Data(Data::Text);
    let header = FrameHeader { opcode, mask: Some(MASK), ..FrameHeader::default() };
    let mut frame = Vec::new();
    header.format(payload_bytes as u64, &mut frame).expect("a vector takes every write");
    let header_bytes = frame.len();
    frame.resize(header_bytes + payload_bytes, b'x');
    unmask(&mut frame[header_bytes..], MASK, 0);
    frame
}

fn count_messages(decoder: &mut Decoder, mut input: &mut [u8]) -> usize {
    let mut count = 0;
    while let Some(incoming) = decoder.next(&mut input).expect("valid frames") {
        assert!(matches!(black_box(incoming), Incoming::Text(_)));
        count += 1;
    }
    count
}

fn bench_unmask(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for bytes in [128, 4096] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let mut payload = vec![0x5a; bytes];
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| unmask(black_box(&mut payload), black_box(MASK), black_box(1)));
        });
    }
    group.finish();
}

/// Pieces of `piece_bytes`: larger than the frame means that most are not cut.
fn bench_decode(c: &mut Criterion, name: &str, piece_bytes: usize) {
    let mut group = c.benchmark_group(name);
    for bytes in [128, 4096] {
        let input = client_text(bytes).repeat(MESSAGES);
        group.throughput(Throughput::Elements(MESSAGES as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            let mut decoder = Decoder::new(Limits::default());
            b.iter_batched_ref(
                || input.clone(),
                |input| {
                    let pieces = input.chunks_mut(piece_bytes);
                    let count: usize =
                        pieces.map(|piece| count_messages(&mut decoder, piece)).sum();
                    assert_eq!(count, MESSAGES);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn benches(c: &mut Criterion) {
    bench_unmask(c);
    bench_decode(c, "decode_whole", usize::MAX);
    bench_decode(c, "decode_cut", 100);
}

criterion_group!(ws, benches);
criterion_main!(ws);

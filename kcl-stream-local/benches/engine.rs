//! What the engine alone does with 100-byte records on one thread: hashing, putting, reading.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kcl_core::{Bytes, PartitionKey, ReadFrom, SystemClock};
use kcl_stream_local::limits::{PUT_RECORDS, READ_RECORDS};
use kcl_stream_local::{Engine, NewRecord, ShardFilter, Stream, StreamOptions, hash_key};

const SHARDS: u32 = 8;
const KEYS: usize = 10_000;
const RECORDS: usize = 50_000;
const RECORD_BYTES: usize = 100;

fn empty() -> Stream {
    let engine = Engine::new(Arc::new(SystemClock));
    engine.create_stream("bench", SHARDS, StreamOptions::unlimited()).expect("a stream")
}

fn fill(stream: &Stream, keys: &[PartitionKey]) {
    let data = Bytes::from(vec![7; RECORD_BYTES]);
    for first in (0..RECORDS).step_by(PUT_RECORDS) {
        let record = |n: usize| NewRecord::new(keys[n % KEYS].clone(), data.clone());
        let records = (first..first + PUT_RECORDS).map(record).collect();
        black_box(stream.put_many(records).expect("a put"));
    }
}

fn read(stream: &Stream) -> usize {
    let shards = stream.list_shards(&ShardFilter::AtLatest).expect("shards");
    let read = |shard: &kcl_stream_local::ShardInfo| {
        let from = stream.shard_iterator(&shard.number.id(), ReadFrom::TrimHorizon);
        let got = stream.get_records(&from.expect("an iterator"), READ_RECORDS);
        black_box(got.expect("records").records).len()
    };
    shards.iter().map(read).sum()
}

fn engine(criterion: &mut Criterion) {
    let keys: Vec<_> =
        (0..KEYS).map(|number| PartitionKey::from(format!("key-{number}"))).collect();
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.sample_size(30);
    group.bench_function("hash the keys", |bencher| {
        bencher.iter(|| {
            (0..RECORDS).fold(0, |sum, n| sum ^ hash_key(black_box(keys[n % KEYS].as_str())))
        });
    });
    group.bench_function("put, 500 at a time", |bencher| {
        let filled = |stream: Stream| {
            fill(&stream, &keys);
            stream
        };
        bencher.iter_batched(empty, filled, BatchSize::PerIteration);
    });
    let stream = empty();
    fill(&stream, &keys);
    assert_eq!(read(&stream), RECORDS, "one read a shard is enough");
    group.bench_function("read, a shard at a time", |bencher| bencher.iter(|| read(&stream)));
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);

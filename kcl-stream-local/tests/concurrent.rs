//! Many threads on one stream.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{ALL, drain, ids};
use kcl_core::{ReadFrom, ReadOutcome, StreamSource, SystemClock};
use kcl_stream_local::{Engine, NewRecord, ShardFilter, ShardNumber, StreamOptions};

/// What one key's records say, in the order of reading parents before children.
fn check_keys(texts: impl Iterator<Item = String>, keys: usize, each: usize) {
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for text in texts {
        let (key, n) = text.split_once(' ').unwrap();
        seen.entry(key.to_owned()).or_default().push(n.parse().unwrap());
    }
    assert_eq!(seen.len(), keys);
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..each).collect::<Vec<_>>(), "key {key}");
    }
}

#[test]
fn concurrent_putters_lose_and_reorder_nothing_while_shards_split_and_merge() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 4, StreamOptions::unlimited()).unwrap();
    let (threads, each) = (4, 3000);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let stream = &stream;
            scope.spawn(move || {
                for batch in 0..each / 50 {
                    // Two keys a thread, interleaved.
                    let records = (0..100).map(|n| {
                        let key = format!("{thread}-{}", n % 2);
                        let text = format!("{key} {}", batch * 50 + n / 2);
                        NewRecord::new(key, text)
                    });
                    let put = stream.put_many(records.collect()).unwrap();
                    assert_eq!(put.failed_count(), 0);
                    let of_even = put.results.iter().step_by(2).map(|r| r.unwrap().sequence);
                    assert!(of_even.is_sorted_by(|a, b| a < b));
                }
            });
        }
        for count in [7, 3, 8, 1, 5, 2, 4] {
            stream.update_shard_count(count).unwrap();
            std::thread::yield_now();
        }
    });
    let texts = ids(&stream).into_iter().flat_map(|id| drain(&stream, id));
    check_keys(texts, threads * 2, each);
}

#[test]
fn a_listing_never_shows_a_closed_shard_without_its_children() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    std::thread::scope(|scope| {
        let resharding = scope.spawn(|| {
            for round in 0..300 {
                stream.update_shard_count(2 - round % 2).unwrap();
            }
        });
        while !resharding.is_finished() {
            let mut listed = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
            listed.retain(|info| info.is_open());
            listed.sort_by_key(|info| info.range.start);
            let ends = (listed.first().unwrap().range.start, listed.last().unwrap().range.end);
            assert_eq!(ends, (0, u128::MAX));
            assert!(listed.windows(2).all(|pair| pair[0].range.is_followed_by(&pair[1].range)));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_wait_miss_no_record_of_concurrent_putters() {
    let engine = Engine::new(Arc::new(SystemClock));
    let stream = engine.create_stream("s", 2, StreamOptions::unlimited()).unwrap();
    let (putters, each) = (3, 1500);
    let mut readers = Vec::new();
    // Two readers a shard: a fenced owner may have its own still open when a taker opens another.
    for shard in [0, 1, 0, 1] {
        let id = ShardNumber(shard).id();
        let mut reader = stream.source().open(&id, ReadFrom::TrimHorizon).await.unwrap();
        readers.push(tokio::spawn(async move {
            let mut texts = Vec::new();
            loop {
                match reader.next(ALL).await.unwrap() {
                    ReadOutcome::Records { records, .. } => texts.extend(
                        records.iter().map(|r| String::from_utf8_lossy(&r.data).into_owned()),
                    ),
                    ReadOutcome::CaughtUp => {}
                    ReadOutcome::ShardEnd { .. } => return texts,
                }
            }
        }));
    }
    let mut putting = Vec::new();
    for putter in 0..putters {
        let stream = stream.clone();
        putting.push(tokio::task::spawn_blocking(move || {
            for n in 0..each {
                let key = format!("key{putter}");
                stream.put(NewRecord::new(key.clone(), format!("{key} {n}"))).unwrap();
            }
        }));
    }
    for put in putting {
        put.await.unwrap();
    }
    stream.merge_shards(&ShardNumber(0).id(), &ShardNumber(1).id()).unwrap();
    let mut texts = Vec::new();
    for reader in readers {
        texts.push(reader.await.unwrap());
    }
    assert_eq!((&texts[0], &texts[1]), (&texts[2], &texts[3]), "each reader sees all");
    check_keys(texts[0].iter().chain(&texts[1]).cloned(), putters, each);
    assert_eq!(stream.list_shards(&ShardFilter::AtLatest).unwrap().len(), 1);
}

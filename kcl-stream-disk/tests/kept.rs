//! What is there again when a folder is opened again.

mod common;

use common::{Hand, create, numbered, open, open_with, put, segments, texts};
use kcl_core::ReadFrom;
use kcl_core::protocol::HashKeyRange;
use kcl_stream_disk::limits::FIRST_RESERVE_BYTES;
use kcl_stream_disk::{DiskOptions, DiskStore};
use kcl_stream_local::{
    NewRecord, ShardFilter, ShardNumber, ShardRow, Store, StreamOptions, StreamRow, Throughput,
};

#[test]
fn records_and_numbers_go_on_where_they_were() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let mut expected = Vec::new();
    for round in 0..4 {
        let engine = open(folder.path(), &clock);
        let stream = match round {
            0 => create(&engine, 1),
            _ => engine.stream("orders").unwrap(),
        };
        assert_eq!(numbered(&stream, 0), expected);
        for at in 0..3 {
            let text = format!("{round} {at}");
            let number = put(&stream, &text);
            assert!(expected.last().is_none_or(|(last, _)| *last < number));
            expected.push((number, text));
        }
    }
}

#[test]
fn settings_creation_and_order_of_many_shards_are_kept() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let (before, put) = {
        let engine = open(folder.path(), &clock);
        let stream = create(&engine, 8);
        let records = (0..400).map(|n| NewRecord::new(format!("k{n}"), n.to_string()));
        let put = stream.put_many(records.collect()).unwrap();
        stream.set_retention_hours(48).unwrap();
        stream.set_max_record_bytes(5 << 20).unwrap();
        stream.set_throughput(Throughput::Provisioned).unwrap();
        (stream.describe().unwrap(), put)
    };
    let engine = open(folder.path(), &clock);
    let stream = engine.stream("orders").unwrap();
    assert_eq!(stream.describe().unwrap(), before);
    stream.set_throughput(Throughput::Unlimited).unwrap();
    let all: Vec<_> = (0..8).flat_map(|shard| numbered(&stream, shard)).collect();
    assert_eq!(all.len(), 400);
    for (n, receipt) in put.results.into_iter().enumerate() {
        assert!(all.contains(&(receipt.unwrap().sequence, n.to_string())));
    }
}

#[test]
fn closed_shards_their_ends_and_children_are_kept() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let (listed, iterator) = {
        let engine = open(folder.path(), &clock);
        let stream = create(&engine, 2);
        put(&stream, "before");
        stream.split_shard(&ShardNumber(0).id(), 1 << 100).unwrap();
        stream.merge_shards(&ShardNumber(1).id(), &ShardNumber(3).id()).unwrap();
        put(&stream, "after");
        stream.update_shard_count(4).unwrap();
        put(&stream, "later");
        let iterator = stream.shard_iterator(&ShardNumber(0).id(), ReadFrom::TrimHorizon).unwrap();
        (stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap(), iterator)
    };
    let engine = open(folder.path(), &clock);
    let stream = engine.stream("orders").unwrap();
    assert_eq!(stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap(), listed);
    let mut all = Vec::new();
    for shard in &listed {
        all.extend(texts(&stream, shard.number.0));
    }
    all.sort();
    assert_eq!(all, ["after", "before", "later"]);
    // An iterator given out before is as good as ever, and the end names the children.
    let got = stream.get_records(&iterator, 10).unwrap();
    assert_eq!(got.next, None);
    let children: Vec<_> = got.children.iter().map(|child| child.id.clone()).collect();
    assert_eq!(children, [ShardNumber(2).id(), ShardNumber(3).id()]);
}

#[test]
fn a_deleted_stream_stays_deleted_and_a_new_one_has_higher_numbers() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let old = {
        let engine = open(folder.path(), &clock);
        let old = put(&create(&engine, 1), "old");
        engine.delete_stream("orders").unwrap();
        old
    };
    let engine = open(folder.path(), &clock);
    assert!(engine.list_streams().is_empty());
    let stream = create(&engine, 1);
    assert!(put(&stream, "new") > old);
    assert_eq!(texts(&stream, 0), ["new"]);
}

/// A stream of one shard.
fn row(created_at_millis: u64) -> StreamRow {
    let shard = ShardRow {
        number: ShardNumber(0),
        range: HashKeyRange { start: 0, end: u128::MAX },
        parents: Vec::new(),
        created_at_millis,
        closed: None,
    };
    StreamRow {
        name: "orders".into(),
        created_at_millis,
        options: StreamOptions::unlimited(),
        floor_millis: 0,
        shards: vec![shard],
    }
}

#[test]
fn a_row_saved_after_its_stream_was_deleted_does_not_bring_it_back() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    {
        let store = DiskStore::open(folder.path(), DiskOptions::default()).unwrap();
        let _journal = store.create(&row(1)).unwrap();
        store.save(&row(1)).unwrap();
        store.delete(&"orders".into(), 1).unwrap();
        let refused = store.save(&row(1)).unwrap_err().to_string();
        assert!(refused.contains("was deleted"), "{refused}");
        let _journal = store.create(&row(2)).unwrap();
        assert!(store.save(&row(1)).is_err());
        store.delete(&"orders".into(), 2).unwrap();
    }
    assert!(open(folder.path(), &clock).list_streams().is_empty());
}

#[test]
fn a_deletion_takes_no_stream_of_another_creation() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    {
        let store = DiskStore::open(folder.path(), DiskOptions::default()).unwrap();
        let _journals = [store.create(&row(1)).unwrap(), store.create(&row(2)).unwrap()];
        store.delete(&"orders".into(), 1).unwrap();
    }
    let engine = open(folder.path(), &clock);
    let stream = engine.stream("orders").unwrap();
    assert_eq!(stream.describe().unwrap().created_at_millis, 2);
    put(&stream, "kept");
}

#[test]
fn a_file_has_its_length_before_it_has_its_records() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let engine = open(folder.path(), &clock);
    let stream = create(&engine, 1);
    let length = || segments(folder.path()).last().unwrap().metadata().unwrap().len();
    let before = length();
    assert!(before >= FIRST_RESERVE_BYTES, "{before}");
    for n in 0..100 {
        put(&stream, n);
    }
    assert_eq!(length(), before, "a sync of each would have had to write a length too");
}

#[test]
fn retention_deletes_whole_segments_and_numbers_still_rise() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let options = || DiskOptions { segment_bytes: 4096, ..DiskOptions::default() };
    let (last, closed) = {
        let engine = open_with(folder.path(), &clock, options()).unwrap();
        let stream = create(&engine, 1);
        put(&stream, "of the parent");
        stream.split_shard(&ShardNumber(0).id(), 1 << 127).unwrap();
        let last = (0..100).map(|_| put(&stream, "x".repeat(400))).max().unwrap();
        assert!(segments(folder.path()).len() > 5);
        clock.advance_hours(25);
        engine.sweep();
        (last, stream.describe().unwrap().memory_used_bytes)
    };
    assert_eq!(closed, 0);
    let files = segments(folder.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let engine = open_with(folder.path(), &clock, options()).unwrap();
    let stream = engine.stream("orders").unwrap();
    assert!(put(&stream, "after") > last);
    let ids: Vec<_> = stream.list_shards(&ShardFilter::FromTrimHorizon).unwrap();
    assert_eq!(ids.len(), 2, "the parent is gone by age");
}

#[test]
fn a_longer_retention_brings_nothing_back() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    {
        let engine = open(folder.path(), &clock);
        let stream = create(&engine, 1);
        put(&stream, "old");
        clock.advance_hours(25);
        stream.set_retention_hours(100).unwrap();
        put(&stream, "new");
    }
    let stream = open(folder.path(), &clock).stream("orders").unwrap();
    assert_eq!(texts(&stream, 0), ["new"]);
}

#[test]
fn a_second_opening_is_refused_by_name() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let engine = open(folder.path(), &clock);
    let stream = create(&engine, 1);
    let refused = DiskStore::open(folder.path(), DiskOptions::default()).unwrap_err().to_string();
    let name = folder.path().display().to_string();
    let process = format!("in use by process {}", std::process::id());
    assert!(refused.contains(&name) && refused.contains(&process), "{refused}");
    // A stream alone holds the folder too.
    drop(engine);
    assert!(DiskStore::open(folder.path(), DiskOptions::default()).is_err());
    drop(stream);
    assert!(DiskStore::open(folder.path(), DiskOptions::default()).is_ok());
}

#[test]
fn puts_of_many_threads_share_syncs_and_all_are_kept() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hand::new());
    let syncs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&syncs);
    let options = DiskOptions {
        before_sync: Some(std::sync::Arc::new(move |_: &std::path::Path| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // A slow disk: the other threads gather meanwhile.
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ok(())
        })),
        ..DiskOptions::default()
    };
    let mut kept = Vec::new();
    {
        let engine = open_with(folder.path(), &clock, options).unwrap();
        let stream = engine.create_stream("orders", 4, StreamOptions::unlimited()).unwrap();
        let before = syncs.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let stream = stream.clone();
                    scope.spawn(move || {
                        let put = |n: u32| {
                            let key = format!("{thread} {n}");
                            let put = stream.put(NewRecord::new(key.as_str(), key.clone()));
                            (put.unwrap().sequence, key)
                        };
                        (0..25).map(put).collect::<Vec<_>>()
                    })
                })
                .collect();
            kept.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        });
        let used = syncs.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert!(used < 150, "{used} syncs for 200 puts of 8 threads");
    }
    let stream = open(folder.path(), &clock).stream("orders").unwrap();
    let all: Vec<_> = (0..4).flat_map(|shard| numbered(&stream, shard)).collect();
    assert_eq!(all.len(), kept.len());
    assert!(kept.iter().all(|record| all.contains(record)));
}

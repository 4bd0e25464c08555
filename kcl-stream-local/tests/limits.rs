//! Rates, sizes, memory and retention.

mod common;

use std::time::Duration;

use common::{START, drain, engine, ids, key_for};
use kcl_core::{ReadFrom, protocol::ShardId};
use kcl_stream_local::{
    EngineError, NewRecord, PutError, ShardFilter, ShardNumber, Stream, StreamOptions, Throughput,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn zero() -> ShardId {
    ShardNumber(0).id()
}

fn records(count: usize, bytes: usize) -> Vec<NewRecord> {
    (0..count).map(|n| NewRecord::new("k", n.to_string().repeat(bytes))).collect()
}

fn throttled(stream: &Stream, record: NewRecord) -> bool {
    stream.put(record).is_err_and(|error| error.is_throttle())
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_thousand_records_a_second_and_a_put_of_many_partly() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    assert_eq!(stream.put_many(records(500, 1)).unwrap().failed_count(), 0);
    assert_eq!(stream.put_many(records(400, 1)).unwrap().failed_count(), 0);
    let put = stream.put_many(records(150, 1)).unwrap();
    assert_eq!(put.failed_count(), 50);
    assert!(put.results[..100].iter().all(Result::is_ok), "the first ones, in order");
    let Err(PutError::Throttled { shard, retry_after }) = put.results[100] else {
        panic!("{:?}", put.results[100])
    };
    assert_eq!((shard, retry_after), (ShardNumber(0), Duration::from_millis(1)));
    tokio::time::advance(Duration::from_millis(50)).await;
    assert_eq!(stream.put_many(records(51, 1)).unwrap().failed_count(), 1);
    stream.set_throughput(Throughput::Unlimited).unwrap();
    assert_eq!(stream.put_many(records(500, 1)).unwrap().failed_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_mebibyte_a_second_and_the_others_are_not_affected() {
    let stream = engine().create_stream("s", 2, StreamOptions::default()).unwrap();
    let big = |shard| NewRecord { data: vec![0; 600 << 10].into(), ..key_for(&stream, shard) };
    assert!(stream.put(big(0)).is_ok());
    let error = stream.put(big(0)).unwrap_err();
    assert_eq!(error.kinesis_name(), "ProvisionedThroughputExceededException");
    assert!(error.to_string().contains("shardId-000000000000 in stream s"), "{error}");
    assert!(stream.put(big(1)).is_ok());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(stream.put(big(0)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn once_a_record_is_refused_so_are_the_later_ones_of_its_shard() {
    let stream = engine().create_stream("s", 2, StreamOptions::default()).unwrap();
    let of = |shard, bytes| NewRecord { data: vec![0; bytes].into(), ..key_for(&stream, shard) };
    let records = vec![of(0, 600 << 10), of(0, 600 << 10), of(1, 1), of(0, 1)];
    let results = stream.put_many(records).unwrap().results;
    let is_ok: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(is_ok, [true, false, true, false], "the small one must not pass the large one");
}

#[tokio::test(start_paused = true)]
async fn a_large_record_goes_in_once_and_is_made_up_for() {
    let options = StreamOptions { max_record_bytes: 10 << 20, ..StreamOptions::default() };
    let stream = engine().create_stream("s", 1, options).unwrap();
    stream.put(NewRecord::new("k", vec![0; 5 << 20])).unwrap();
    tokio::time::advance(Duration::from_millis(4000)).await;
    assert!(throttled(&stream, NewRecord::new("k", "x")));
    tokio::time::advance(Duration::from_millis(10)).await;
    assert!(!throttled(&stream, NewRecord::new("k", "x")));
}

#[tokio::test(start_paused = true)]
async fn pulls_share_five_calls_and_two_mebibytes_a_second() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    for _ in 0..11 {
        stream.put(NewRecord::new("k", vec![0; 1_048_575])).unwrap();
    }
    stream.set_throughput(Throughput::Provisioned).unwrap();
    let start = stream.shard_iterator(&zero(), ReadFrom::TrimHorizon).unwrap();
    let tip = stream.shard_iterator(&zero(), ReadFrom::Latest).unwrap();
    for _ in 0..5 {
        assert!(stream.get_records(&tip, 1).is_ok());
    }
    assert!(stream.get_records(&tip, 1).unwrap_err().is_throttle(), "the sixth call");
    tokio::time::advance(Duration::from_secs(1)).await;
    let got = stream.get_records(&start, 10_000).unwrap();
    assert_eq!(got.records.len(), 10, "10 MiB at once");
    tokio::time::advance(Duration::from_millis(4900)).await;
    let Err(EngineError::ProvisionedThroughputExceeded { retry_after, .. }) =
        stream.get_records(&tip, 1)
    else {
        panic!("five seconds are not over")
    };
    tokio::time::advance(retry_after).await;
    assert!(stream.get_records(&tip, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn wrong_puts_are_refused_whole() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let invalid =
        |records| matches!(stream.put_many(records), Err(EngineError::InvalidArgument(_)));
    assert!(invalid(records(0, 1)) && invalid(records(501, 1)));
    assert!(invalid(vec![NewRecord::new("k", "ok"), NewRecord::new("", "no key")]));
    assert!(invalid(vec![NewRecord::new("k", "ok"), NewRecord::new("k", vec![0; 1 << 20])]));
    assert!(invalid((0..11).map(|_| NewRecord::new("k", vec![0; 1_000_000])).collect()));
    assert!(drain(&stream, 0).is_empty());
    stream.set_max_record_bytes(10 << 20).unwrap();
    assert!(stream.put(NewRecord::new("k", vec![0; (10 << 20) - 1])).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_refuses_puts_until_records_expire_and_forgets_none() {
    let options = StreamOptions { memory_bytes: 10_000, ..StreamOptions::unlimited() };
    let stream = engine().create_stream("s", 2, options).unwrap();
    let mut taken = 0;
    while stream.put(key_for(&stream, 0)).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 10_000 / (16 + 4));
    let error = stream.put(key_for(&stream, 1)).unwrap_err();
    assert!(matches!(error, EngineError::StreamFull { memory_bytes: 10_000, .. }), "{error}");
    let many = stream.put_many(vec![key_for(&stream, 0), key_for(&stream, 1)]).unwrap();
    let full = Err(PutError::StreamFull { memory_bytes: 10_000 });
    assert_eq!(many.results, [full, full]);
    assert_eq!(drain(&stream, 0).len(), taken);
    tokio::time::advance(DAY).await;
    assert!(stream.put(key_for(&stream, 1)).is_ok(), "room made in another shard");
    assert_eq!(stream.describe().unwrap().memory_used_bytes, 20);
}

#[tokio::test(start_paused = true)]
async fn records_are_kept_for_the_retention_and_no_longer() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    for n in 0..3 {
        stream.put(NewRecord::new("k", n.to_string())).unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
    }
    tokio::time::advance(DAY - Duration::from_millis(3 * 3_600_000 + 1)).await;
    assert_eq!(drain(&stream, 0), ["0", "1", "2"]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(drain(&stream, 0), ["1", "2"]);
    stream.set_retention_hours(48).unwrap();
    tokio::time::advance(DAY - Duration::from_secs(1)).await;
    assert_eq!(drain(&stream, 0), ["1", "2"], "longer keeps them, and brings none back");
    stream.set_retention_hours(24).unwrap();
    assert!(drain(&stream, 0).is_empty(), "shorter hides at once");
    assert_eq!(stream.describe().unwrap().memory_used_bytes, 0);
    for hours in [0, 23, 8761] {
        assert!(stream.set_retention_hours(hours).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_listed_until_its_records_expired() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    stream.put(NewRecord::new("k", "x")).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    stream.split_shard(&zero(), 1 << 127).unwrap();
    tokio::time::advance(DAY - Duration::from_millis(1)).await;
    assert_eq!(ids(&stream), [0, 1, 2]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(ids(&stream), [1, 2]);
    assert!(matches!(
        stream.subscribe(&zero(), ReadFrom::TrimHorizon),
        Err(EngineError::ShardNotFound { .. })
    ));
    let listed = stream.list_shards(&ShardFilter::default()).unwrap();
    assert!(listed.iter().all(|info| info.parents == [zero()]), "children still name it");
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_that_a_reshard_forgets_gives_its_memory_back() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    stream.put(NewRecord::new("k", "x")).unwrap();
    stream.split_shard(&zero(), 1 << 127).unwrap();
    assert!(stream.describe().unwrap().memory_used_bytes > 0);
    tokio::time::advance(DAY).await;
    stream.update_shard_count(1).unwrap();
    assert_eq!(stream.describe().unwrap().memory_used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn shard_filters_tell_what_was_open_when() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    stream.split_shard(&zero(), 1 << 127).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    stream.merge_shards(&ShardNumber(1).id(), &ShardNumber(2).id()).unwrap();
    let listed = |filter| {
        let infos = stream.list_shards(&filter).unwrap();
        infos.iter().map(|info| info.number.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(ShardFilter::FromTrimHorizon), [0, 1, 2, 3]);
    assert_eq!(listed(ShardFilter::AtTrimHorizon), [0]);
    assert_eq!(listed(ShardFilter::AtLatest), [3]);
    assert_eq!(listed(ShardFilter::AtTimestamp(START + 9_999)), [0]);
    assert_eq!(listed(ShardFilter::AtTimestamp(START + 10_000)), [1, 2]);
    assert_eq!(listed(ShardFilter::AtTimestamp(START + 20_000)), [3]);
    assert_eq!(listed(ShardFilter::FromTimestamp(START + 10_000)), [1, 2, 3]);
    assert_eq!(listed(ShardFilter::AfterShard(ShardNumber(1).id())), [2, 3]);
    assert!(stream.list_shards(&ShardFilter::AfterShard("no".into())).is_err());
}

#[tokio::test(start_paused = true)]
async fn streams_are_named_created_once_and_deleted() {
    let engine = engine();
    for bad in ["", "a b", "a/b", &"x".repeat(129)] {
        assert!(engine.create_stream(bad, 1, StreamOptions::default()).is_err(), "{bad}");
    }
    for shards in [0, 10_001] {
        assert!(engine.create_stream("s", shards, StreamOptions::default()).is_err());
    }
    let first = engine.create_stream("s", 1, StreamOptions::default()).unwrap();
    let again = engine.create_stream("s", 1, StreamOptions::default());
    assert_eq!(again.unwrap_err().kinesis_name(), "ResourceInUseException");
    engine.create_stream("r", 1, StreamOptions::default()).unwrap();
    assert_eq!(engine.list_streams(), ["r".into(), "s".into()]);
    let created = first.describe().unwrap().created_at_millis;
    engine.delete_stream("s").unwrap();
    assert_eq!(first.describe().unwrap_err().kinesis_name(), "ResourceNotFoundException");
    assert!(engine.stream("s").is_err() && engine.delete_stream("s").is_err());
    let anew = engine.create_stream("s", 1, StreamOptions::default()).unwrap();
    assert!(anew.describe().unwrap().created_at_millis > created);
}

//! Pushed and pulled reads, through the public interface.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ALL, drain, engine, ids, key_for};
use kcl_core::protocol::{Position, SequenceNumber, ShardId};
use kcl_core::{
    Clock, ReadFrom, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, StreamSource,
    TokioClock,
};
use kcl_stream_local::{EngineError, NewRecord, Pushed, ShardNumber, StreamOptions};

fn text(record: &Record) -> String {
    String::from_utf8_lossy(&record.data).into_owned()
}

async fn texts(reader: &mut Box<dyn ShardReader>) -> Vec<String> {
    match reader.next(ALL).await {
        Ok(ReadOutcome::Records { records, .. }) => records.iter().map(text).collect(),
        other => panic!("no records but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_says_once_that_it_caught_up_and_then_waits_for_a_record() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let shard = ShardNumber(0).id();
    let mut reader = stream.source().open(&shard, ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(reader.next(ALL).await, Ok(ReadOutcome::CaughtUp));
    let waiting = tokio::time::timeout(Duration::from_secs(3600), reader.next(ALL)).await;
    assert!(waiting.is_err(), "it waits, and dropping the wait is harmless");
    stream.put(NewRecord::new("k", "one")).unwrap();
    assert_eq!(texts(&mut reader).await, ["one"]);
    assert_eq!(reader.next(ALL).await, Ok(ReadOutcome::CaughtUp));
    let task = tokio::spawn(async move { texts(&mut reader).await });
    tokio::task::yield_now().await;
    stream.put(NewRecord::new("k", "two")).unwrap();
    assert_eq!(task.await.unwrap(), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_start_finds_its_record() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let shard = ShardNumber(0).id();
    let mut receipts = Vec::new();
    let mut times = Vec::new();
    let start = stream.describe().unwrap().created_at_millis;
    for text in ["0", "1", "2", "3"] {
        receipts.push(stream.put(NewRecord::new("k", text)).unwrap().sequence);
        times.push(start + 100 * times.len() as u64);
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let source = stream.source();
    let from = |from| {
        let (source, shard) = (source.clone(), shard.clone());
        async move { texts(&mut source.open(&shard, from).await.unwrap()).await }
    };
    assert_eq!(from(ReadFrom::TrimHorizon).await, ["0", "1", "2", "3"]);
    assert_eq!(from(ReadFrom::At(receipts[2])).await, ["2", "3"]);
    assert_eq!(from(ReadFrom::After(Position::from(receipts[2]))).await, ["3"]);
    assert_eq!(from(ReadFrom::AtTimestamp(times[1])).await, ["1", "2", "3"]);
    assert_eq!(from(ReadFrom::AtTimestamp(times[1] + 1)).await, ["2", "3"]);
    assert_eq!(from(ReadFrom::AtTimestamp(0)).await, ["0", "1", "2", "3"]);
    let before = source.list_shards().await.unwrap()[0].tip;
    assert_eq!(before, Some(receipts[3]));
    let mut latest = source.open(&shard, ReadFrom::Latest).await.unwrap();
    assert_eq!(latest.next(ALL).await, Ok(ReadOutcome::CaughtUp));
    stream.put(NewRecord::new("k", "4")).unwrap();
    assert_eq!(texts(&mut latest).await, ["4"]);
    assert_eq!(from(ReadFrom::After(Position::from(receipts[3]))).await, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_to_come_passes_over_earlier_records() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let shard = ShardNumber(0).id();
    let later = stream.describe().unwrap().created_at_millis + 1000;
    let mut reader = stream.source().open(&shard, ReadFrom::AtTimestamp(later)).await.unwrap();
    assert_eq!(reader.next(ALL).await, Ok(ReadOutcome::CaughtUp));
    stream.put(NewRecord::new("k", "early")).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(2), reader.next(ALL)).await.is_err());
    stream.put(NewRecord::new("k", "late")).unwrap();
    assert_eq!(texts(&mut reader).await, ["late"]);
    let refused = stream.shard_iterator(&shard, ReadFrom::AtTimestamp(later + 1_000_000));
    assert!(matches!(refused, Err(EngineError::InvalidArgument(_))));
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_of_elsewhere_or_to_come_are_refused() {
    let stream = engine().create_stream("s", 2, StreamOptions::default()).unwrap();
    let source = stream.source();
    let receipt = stream.put(key_for(&stream, 0)).unwrap();
    let other = ShardNumber(1).id();
    let next = receipt.sequence.checked_add(1).unwrap();
    for (shard, sequence) in [
        (other, receipt.sequence),
        (receipt.shard.id(), next),
        (receipt.shard.id(), SequenceNumber::ZERO),
        (receipt.shard.id(), SequenceNumber::MAX),
    ] {
        for from in [ReadFrom::At(sequence), ReadFrom::After(sequence.into())] {
            let error = source.open(&shard, from).await.err();
            assert!(matches!(error, Some(SourceError::Refused(_))), "{error:?}");
        }
    }
    for shard in ["shardId-000000000002", "shardId-2", "x", ""] {
        let error = source.open(&ShardId::new(shard), ReadFrom::Latest).await.err();
        assert!(matches!(error, Some(SourceError::NotFound(_))), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_ends_with_its_children_for_ever() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let parent = ShardNumber(0).id();
    stream.put(NewRecord::new("k", "x")).unwrap();
    let mut open_before = stream.source().open(&parent, ReadFrom::Latest).await.unwrap();
    assert_eq!(open_before.next(ALL).await, Ok(ReadOutcome::CaughtUp));
    let waiting = tokio::spawn(async move { open_before.next(ALL).await });
    tokio::task::yield_now().await;
    let children = stream.split_shard(&parent, 1 << 127).unwrap();
    let mut reader = stream.source().open(&parent, ReadFrom::TrimHorizon).await.unwrap();
    assert_eq!(texts(&mut reader).await, ["x"]);
    for _ in 0..3 {
        let Ok(ReadOutcome::ShardEnd { children: told }) = reader.next(ALL).await else {
            panic!("not the end")
        };
        let told_ids: Vec<_> = told.iter().map(|child| child.id.clone()).collect();
        assert_eq!(told_ids, children.map(ShardNumber::id));
        assert!(told.iter().all(|child| child.parents == [parent.clone()].into()));
        assert!(told[0].range.is_followed_by(&told[1].range));
    }
    assert!(matches!(waiting.await.unwrap(), Ok(ReadOutcome::ShardEnd { .. })));
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_deleted_stream_wake_and_find_it_gone() {
    let engine = engine();
    let stream = engine.create_stream("s", 1, StreamOptions::default()).unwrap();
    let shard = ShardNumber(0).id();
    let mut subscription = stream.subscribe(&shard, ReadFrom::Latest).unwrap();
    let waiting = tokio::spawn(async move { subscription.next(ALL).await });
    tokio::task::yield_now().await;
    engine.delete_stream("s").unwrap();
    assert_eq!(waiting.await.unwrap(), Err(EngineError::StreamNotFound("s".into())));
    let again = engine.create_stream("s", 1, StreamOptions::default()).unwrap();
    assert!(stream.put(NewRecord::new("k", "x")).is_err(), "the old handle stays dead");
    assert!(again.put(NewRecord::new("k", "x")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_paced_to_two_mebibytes_a_second() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    for _ in 0..10 {
        stream.put(NewRecord::new("k", vec![0; (1 << 20) - 1])).unwrap();
    }
    let shard = ShardNumber(0).id();
    let pace = |limited: bool| {
        let stream = stream.clone();
        let throughput =
            if limited { Default::default() } else { StreamOptions::unlimited().throughput };
        stream.set_throughput(throughput).unwrap();
        let mut subscription = stream.subscribe(&shard, ReadFrom::TrimHorizon).unwrap();
        async move {
            let clock = TokioClock::starting_at(0);
            let mut seen = 0;
            while seen < 10 {
                let one = kcl_core::ReadLimit { records: 1, bytes: usize::MAX };
                match subscription.next(one).await.unwrap() {
                    Pushed::Records { records, .. } => seen += records.len(),
                    end => panic!("{end:?}"),
                }
            }
            clock.wall_millis()
        }
    };
    assert_eq!(pace(false).await, 0);
    let taken = pace(true).await;
    assert!((3500..4500).contains(&taken), "{taken} ms");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_tells_how_old_the_record_is_that_comes_next() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let mut subscription = stream.subscribe(&ShardNumber(0).id(), ReadFrom::TrimHorizon).unwrap();
    assert_eq!(subscription.behind_millis(), 0, "there is none");
    for text in ["0", "1"] {
        stream.put(NewRecord::new("k", text)).unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    assert_eq!(subscription.behind_millis(), 20_000);
    let one = ReadLimit { records: 1, ..ALL };
    let pushed = subscription.next(one).await.unwrap();
    assert!(matches!(pushed, Pushed::Records { behind_millis: 20_000, .. }), "{pushed:?}");
    assert_eq!(subscription.behind_millis(), 10_000);
    let pushed = subscription.next(one).await.unwrap();
    assert!(matches!(pushed, Pushed::Records { behind_millis: 0, .. }), "{pushed:?}");
    assert_eq!(subscription.behind_millis(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_dropped_at_any_point_loses_and_repeats_nothing() {
    let engine = kcl_stream_local::Engine::new(Arc::new(kcl_core::SystemClock));
    let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    let putter = stream.clone();
    let putting = tokio::spawn(async move {
        for n in 0..2000 {
            putter.put(NewRecord::new("k", n.to_string())).unwrap();
            if n % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let source = stream.source();
    let mut reader = source.open(&ShardNumber(0).id(), ReadFrom::TrimHorizon).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2000 {
        tokio::select! {
            biased;
            outcome = reader.next(kcl_core::ReadLimit { records: 3, bytes: 1000 }) => {
                if let Ok(ReadOutcome::Records { records, .. }) = outcome {
                    seen.extend(records.iter().map(text));
                }
            }
            () = tokio::task::yield_now() => {}
        }
    }
    putting.await.unwrap();
    assert_eq!(seen, (0..2000).map(|n: u32| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn pulling_reads_a_closed_shard_to_its_children() {
    let stream = engine().create_stream("s", 1, StreamOptions::unlimited()).unwrap();
    for n in 0..5 {
        stream.put(NewRecord::new("k", n.to_string())).unwrap();
    }
    let shard = ShardNumber(0).id();
    let first = stream.shard_iterator(&shard, ReadFrom::TrimHorizon).unwrap();
    let got = stream.get_records(&first, 3).unwrap();
    assert_eq!(got.records.len(), 3);
    assert!(got.behind_millis > 0 && got.children.is_empty());
    let children = stream.split_shard(&shard, 7).unwrap();
    let got = stream.get_records(&got.next.unwrap(), 10).unwrap();
    assert_eq!((got.records.len(), got.next, got.behind_millis), (2, None, 0));
    let told: Vec<_> = got.children.into_iter().map(|child| child.id).collect();
    assert_eq!(told, children.map(ShardNumber::id));
    assert_eq!(drain(&stream, 0).len(), 5, "the parent stays readable");
    assert_eq!(ids(&stream).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_iterator_expires_after_five_minutes_and_only_then() {
    let stream = engine().create_stream("s", 1, StreamOptions::default()).unwrap();
    let iterator = stream.shard_iterator(&ShardNumber(0).id(), ReadFrom::Latest).unwrap();
    tokio::time::advance(Duration::from_secs(300)).await;
    assert!(stream.get_records(&iterator, 1).is_ok());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(stream.get_records(&iterator, 1), Err(EngineError::ExpiredIterator(1)));
}

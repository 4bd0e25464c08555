//! Each kind of fault, alone in a request, does to readers what its name says. The seeds are
//! searched: what strikes them is drawn as in any run.

use kcl_core::TokioClock;
use kcl_core::protocol::Position;
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions};

use super::*;
use crate::history::What;

/// In one of so many seeds every kind strikes the first request alone.
const SEEDS: u64 = 20_000;
const RECORDS: usize = 20;
const ALL: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };

/// A stream of one shard with records in it, seen on a bad day.
struct Bad {
    stream: Stream,
    seen: FaultySource,
}

impl Bad {
    fn of(seed: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(0));
        let engine = Engine::new(clock.clone());
        let stream = engine.create_stream("s", 1, StreamOptions::unlimited()).unwrap();
        for number in 0..RECORDS {
            stream.put(NewRecord::new("k", number.to_string())).unwrap();
        }
        let until = clock.monotonic() + Duration::from_secs(600);
        let seen = FaultySource {
            inner: Arc::new(stream.source()),
            clock: clock.clone(),
            faults: Faults::new(Draws::new(seed), clock.clone(), until),
            actor: "w0.1".to_owned(),
            gate: Gate::new(),
            calls: Calls::default(),
            seen: Arc::default(),
            recorder: Recorder::new(clock),
        };
        Self { stream, seen }
    }
    fn shard(&self) -> ShardId {
        kcl_stream_local::ShardNumber(0).id()
    }
    async fn open(&self) -> Result<Box<dyn ShardReader>, SourceError> {
        self.seen.open(&self.shard(), ReadFrom::TrimHorizon).await
    }
    fn is_struck_by(&self, kind: Kind) -> bool {
        self.seen.faults.by_kind().into_iter().eq([(kind, 1)])
    }
    /// Everything that a reader past the faults finds.
    async fn positions(&self) -> Vec<Position> {
        let (source, shard) = (self.stream.source(), self.shard());
        read(&mut *source.open(&shard, ReadFrom::TrimHorizon).await.unwrap()).await
    }
}

/// The next records; faults that strike these reads are passed over.
async fn read(reader: &mut dyn ShardReader) -> Vec<Position> {
    for _ in 0..100 {
        // At the tip a read waits for records, and here come none.
        let outcome = tokio::time::timeout(Duration::from_secs(60), reader.next(ALL)).await;
        if let Ok(Ok(ReadOutcome::Records { records, .. })) = outcome {
            return records.iter().map(|record| record.position).collect();
        }
    }
    panic!("a hundred reads brought nothing")
}

/// A reader whose first read this kind alone struck, what that read came to, and how long it took.
async fn first_read(
    kind: Kind,
) -> (Box<dyn ShardReader>, Result<ReadOutcome, SourceError>, Duration, Bad) {
    for seed in 0..SEEDS {
        let bad = Bad::of(seed);
        let Ok(mut reader) = bad.open().await else { continue };
        let start = bad.seen.clock.monotonic();
        let outcome = reader.next(ALL).await;
        if bad.is_struck_by(kind) {
            let took = bad.seen.clock.monotonic().since(start);
            return (reader, outcome, took, bad);
        }
    }
    panic!("{kind:?} never struck a read")
}

#[tokio::test(start_paused = true)]
async fn a_throttled_or_expired_read_and_an_empty_page_lose_nothing() {
    for kind in [Kind::SourceThrottled, Kind::ReaderExpired, Kind::EmptyPage] {
        let (mut reader, outcome, _, bad) = first_read(kind).await;
        let is_told = match kind {
            Kind::SourceThrottled => matches!(outcome, Err(SourceError::Throttled { .. })),
            Kind::ReaderExpired => outcome == Err(SourceError::Expired),
            _ => outcome == Ok(ReadOutcome::CaughtUp),
        };
        assert!(is_told, "{kind:?}: {outcome:?}");
        assert_eq!(read(&mut *reader).await, bad.positions().await, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_takes_long_and_brings_all() {
    let (_, outcome, took, _) = first_read(Kind::SlowRead).await;
    let Ok(ReadOutcome::Records { records, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(records.len(), RECORDS);
    assert!(took > Duration::ZERO, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn retention_that_passes_a_reader_takes_what_it_would_have_read_next_and_it_is_noted() {
    for seed in 0..SEEDS {
        let bad = Bad::of(seed);
        let Ok(mut reader) = bad.open().await else { continue };
        if !bad.is_struck_by(Kind::Trim) {
            continue;
        }
        let mut gone = Vec::new();
        for entry in bad.seen.recorder.take() {
            if let What::Trimmed { positions, .. } = entry.what {
                gone.extend(positions);
            }
        }
        assert!((1..=8).contains(&gone.len()), "{gone:?}");
        let (all, rest) = (bad.positions().await, read(&mut *reader).await);
        assert_eq!([gone, rest].concat(), all);
        return;
    }
    panic!("nothing was trimmed")
}

#[tokio::test(start_paused = true)]
async fn retention_that_finds_nothing_to_take_does_not_count() {
    for seed in 0..SEEDS {
        let bad = Bad::of(seed);
        let is_open = bad.open().await.is_ok();
        if !is_open || !bad.is_struck_by(Kind::Trim) {
            continue;
        }
        // The same is drawn for a reader that has everything behind it.
        let bad = Bad::of(seed);
        let last = *bad.positions().await.last().unwrap();
        assert!(bad.seen.open(&bad.shard(), ReadFrom::After(last)).await.is_ok());
        assert_eq!(bad.seen.faults.struck(), []);
        return;
    }
    panic!("nothing was trimmed")
}

#[tokio::test(start_paused = true)]
async fn listings_are_throttled_lag_behind_the_newest_shard_and_show_children_late() {
    let mut shown = BTreeSet::new();
    for seed in 0..SEEDS {
        let bad = Bad::of(seed);
        bad.stream.split_shard(&bad.shard(), 1 << 127).unwrap();
        let listed = bad.seen.list_shards().await;
        let struck: Vec<_> = bad.seen.faults.by_kind().into_keys().collect();
        match (struck.as_slice(), listed) {
            ([Kind::SourceThrottled], listed) => {
                assert!(matches!(listed, Err(SourceError::Throttled { .. })), "{listed:?}");
            }
            ([Kind::StaleListing], listed) => assert_eq!(listed.unwrap().len(), 2),
            ([Kind::LateChildren], Ok(listed)) => {
                assert!(listed.len() < 3 && listed[0].id == bad.shard(), "{listed:?}");
                tokio::time::sleep(LATE).await;
                let later = bad.seen.list_shards().await;
                if bad.seen.faults.by_kind().len() > 1 {
                    continue;
                }
                assert_eq!(later.unwrap().len(), 3);
            }
            ([], listed) => {
                assert_eq!(listed.unwrap().len(), 3);
                continue;
            }
            _ => continue,
        }
        shown.extend(struck);
        if shown.len() == 3 {
            return;
        }
    }
    panic!("only {shown:?} struck a listing alone")
}

/// What strikes readers of one shard, after so many listings and readers of another.
async fn struck_after(others: usize, seed: u64) -> Vec<u64> {
    let bad = Bad::of(seed);
    bad.stream.split_shard(&bad.shard(), 1 << 127).unwrap();
    for _ in 0..others {
        let _ = bad.seen.list_shards().await;
        let child = kcl_stream_local::ShardNumber(1).id();
        if let Ok(mut reader) = bad.seen.open(&child, ReadFrom::TrimHorizon).await {
            let _ = tokio::time::timeout(Duration::from_secs(1), reader.next(ALL)).await;
        }
    }
    let before = bad.seen.faults.struck().len();
    for _ in 0..50 {
        let Ok(mut reader) = bad.open().await else { continue };
        for _ in 0..4 {
            let _ = reader.next(ALL).await;
        }
    }
    bad.seen.faults.struck()[before..].iter().map(|struck| struck.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listing_or_reader_more_moves_no_fault_of_another_shard() {
    for seed in 0..5 {
        let usual = struck_after(0, seed).await;
        assert_eq!(struck_after(3, seed).await, usual, "seed {seed}");
    }
    assert!(!struck_after(0, 0).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_read_is_not_answered_to_a_worker_that_stands_still_nor_at_all_to_one_that_sleeps() {
    for sleeps in [false, true] {
        let mut bad = Bad::of(0);
        bad.seen.faults = Faults::new(Draws::new(0), bad.seen.clock.clone(), Moment::default());
        let mut reader = bad.open().await.unwrap();
        assert_eq!(read(&mut *reader).await.len(), RECORDS);
        let _ = reader.next(ALL).await;
        let next = tokio::spawn(async move { reader.next(ALL).await });
        tokio::task::yield_now().await;
        bad.seen.gate.set_open(false);
        if sleeps {
            bad.seen.gate.cut();
        }
        bad.stream.put(NewRecord::new("k", "late")).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!next.is_finished(), "it stands still");
        bad.seen.gate.set_open(true);
        match next.await.unwrap() {
            Ok(ReadOutcome::Records { records, .. }) => assert!(records.len() == 1 && !sleeps),
            outcome => assert!(outcome == Err(SourceError::Expired) && sleeps, "{outcome:?}"),
        }
    }
}

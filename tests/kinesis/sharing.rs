//! Several applications poll one shard within its limits, and are not told how many they are.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::ShardId;
use kcl_core::{Clock, ReadFrom, ReadLimit, ReadOutcome, SourceError, StreamSource, TokioClock};
use kcl_stream_kinesis::{KinesisSource, SourceCounters};
use kcl_stream_local::{Engine, NewRecord, Stream, StreamOptions, Throughput};
use tokio::task::JoinHandle;

use crate::on_engine::{OnEngine, Rolls};

const LIMIT: ReadLimit = ReadLimit { records: 10_000, bytes: 16 << 20 };

/// An application that reads the shard over and over, as a worker would.
struct Application {
    source: KinesisSource,
    reading: JoinHandle<()>,
}

fn start(stream: &Stream, clock: TokioClock, seed: u64) -> Application {
    let api = OnEngine::new(stream.clone(), clock, Arc::new(Rolls::default()));
    let source = KinesisSource::builder_over(api).clock(Arc::new(clock)).seed(seed).build();
    let reading = tokio::spawn(read(source.clone(), clock));
    Application { source, reading }
}

async fn read(source: KinesisSource, clock: TokioClock) {
    let shard = ShardId::new("shardId-000000000000");
    let mut reader = source.open(&shard, ReadFrom::TrimHorizon).await.unwrap();
    loop {
        match reader.next(LIMIT).await {
            Ok(ReadOutcome::Records { .. } | ReadOutcome::CaughtUp) => {}
            Ok(ReadOutcome::ShardEnd { .. }) => return,
            Err(SourceError::Throttled { retry_after }) => clock.sleep(retry_after).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What each did in so many seconds.
async fn done(
    applications: &[Application],
    seconds: u64,
    of: fn(SourceCounters) -> u64,
) -> Vec<f64> {
    let counts = || applications.iter().map(|it| of(it.source.counters())).collect::<Vec<_>>();
    let before = counts();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    counts().iter().zip(before).map(|(now, then)| (now - then) as f64).collect()
}

fn stream(clock: TokioClock) -> Stream {
    let engine = Engine::new(Arc::new(clock));
    engine.create_stream("s", 1, StreamOptions::default()).unwrap()
}

/// Nobody has much less than an even share or much more, and together they use the most of the
/// limit.
fn assert_shared(done: &[f64], limit: f64) {
    let (sum, even) = (done.iter().sum::<f64>(), limit / done.len() as f64);
    assert!(sum >= 0.8 * limit && sum <= 1.05 * limit, "{done:?} of {limit}");
    for one in done {
        assert!((0.7 * even..=1.3 * even).contains(one), "{done:?} of {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_applications_share_the_reads_of_a_shard_evenly_and_use_them_up() {
    let clock = TokioClock::starting_at(0);
    let stream = stream(clock);
    let mut applications: Vec<_> = (0..3).map(|seed| start(&stream, clock, seed)).collect();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_shared(&done(&applications, 600, |it| it.reads).await, 600.0 * 5.0);
    // Two leave: the one that is left takes up to what its idling at the tip needs.
    for gone in applications.drain(1..) {
        gone.reading.abort();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let alone = done(&applications, 60, |it| it.reads).await[0];
    assert!((230.0..=240.0).contains(&alone), "every 250 ms: {alone}");
    // One joins, and finds its share beside one that had it all.
    applications.push(start(&stream, clock, 9));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_shared(&done(&applications, 600, |it| it.reads).await, 600.0 * 5.0);
}

#[tokio::test(start_paused = true)]
async fn three_applications_that_catch_up_share_the_bytes_of_a_shard_evenly() {
    let clock = TokioClock::starting_at(0);
    let stream = stream(clock);
    stream.set_throughput(Throughput::Unlimited).unwrap();
    let data = kcl_core::Bytes::from(vec![0; 50_000]);
    for number in 0..9_500 {
        stream.put(NewRecord::new(format!("{number}"), data.clone())).unwrap();
    }
    stream.set_throughput(Throughput::Provisioned).unwrap();
    let applications: Vec<_> = (0..3).map(|seed| start(&stream, clock, seed)).collect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let limit = 600.0 * f64::from(2 << 20);
    assert_shared(&done(&applications, 600, |it| it.bytes).await, limit);
}

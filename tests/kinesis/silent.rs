//! A connection whose packets vanish: neither side hears of it. Over HTTP/2 all requests of a
//! client go by the one connection, so what comes next has to take another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_http_client::tls::TrustStore;
use kcl_core::{Clock, ReadFrom, ReadOutcome, Shard, ShardReader, SourceError, StreamSource};
use kcl_endpoint::{Bounds, Endpoint, EndpointConfig};
use kcl_stream_kinesis::{FanOut, KinesisSource};
use kcl_stream_local::Throughput;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::put;
use crate::local::Forward;
use crate::pushed::{LIMIT, first_shard, take};
use crate::tls;

/// Forwards to the endpoint.
struct Line {
    url: String,
    opened: Arc<AtomicUsize>,
    silenced: watch::Sender<()>,
}

impl Line {
    async fn to(endpoint: &Endpoint) -> Self {
        let there = endpoint.url().strip_prefix("https://").unwrap().to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (opened, (silenced, _)) = (Arc::<AtomicUsize>::default(), watch::channel(()));
        let (count, silence) = (Arc::clone(&opened), silenced.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut silenced = silence.subscribe();
                let mut server = TcpStream::connect(&there).await.unwrap();
                tokio::spawn(async move {
                    tokio::select! { biased;
                        // Both sides stay open, and nobody reads.
                        _ = silenced.changed() => std::future::pending().await,
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                    }
                });
            }
        });
        Self { url, opened, silenced }
    }

    /// The connections so far forward nothing from now on.
    fn fall_silent(&self) {
        self.silenced.send(()).unwrap();
    }
    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// The time of a client's timeouts.
#[derive(Debug)]
struct ByClock(Forward);

impl AsyncSleep for ByClock {
    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = self.0.clone();
        let until = clock.monotonic() + duration;
        Sleep::new(async move {
            while clock.monotonic() < until {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }
}

struct World {
    /// The time of the endpoint and of sources.
    clock: Forward,
    /// The time of timeouts.
    patience: Forward,
    line: Line,
    /// By the line.
    client: Client,
    /// By connections of its own.
    putter: Client,
    _endpoint: Endpoint,
}

impl World {
    /// With a stream of so many shards, and so many requests at once on a connection.
    async fn new(shards: u32, requests: u32) -> Self {
        let (clock, patience) = (Forward::default(), Forward::default());
        let (endpoint, pem) = tls::with_tls(EndpointConfig {
            streams: vec![("s".to_owned(), shards)],
            bounds: Bounds { requests, ..Bounds::default() },
            throughput: Throughput::Unlimited,
            clock: Arc::new(clock.clone()),
            ..EndpointConfig::default()
        })
        .await;
        let line = Line::to(&endpoint).await;
        let trusted = TrustStore::empty().with_pem_certificate(pem.into_bytes());
        let by_clock = SharedAsyncSleep::new(ByClock(patience.clone()));
        let client = tls::config(&line.url, trusted.clone(), "any").sleep_impl(by_clock);
        let putter = tls::config(&endpoint.url(), trusted, "any");
        let [client, putter] = [client, putter].map(|config| Client::from_conf(config.build()));
        Self { clock, patience, line, client, putter, _endpoint: endpoint }
    }

    /// Has read one record by one connection, which then falls silent.
    async fn reader(&self, source: &KinesisSource) -> Box<dyn ShardReader> {
        put(&self.putter, 0, b"a").await;
        let mut reader = source.open(&first_shard(), ReadFrom::TrimHorizon).await.unwrap();
        assert_eq!(take(&mut *reader, 1).await, b"a");
        assert_eq!(self.line.opened(), 1);
        self.line.fall_silent();
        reader
    }
}

/// What comes while this clock goes, and how long that was.
async fn while_passing<T>(clock: &Forward, coming: impl Future<Output = T>) -> (T, Duration) {
    let begun = clock.monotonic();
    let passing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            clock.by(Duration::from_millis(250));
        }
    };
    let came = tokio::select! { biased;
        came = coming => came,
        () = passing => unreachable!("it never ends"),
    };
    (came, clock.monotonic().since(begun))
}

/// The failure of a reader that waits in vain while this clock goes, and how long that was.
async fn failure(reader: &mut dyn ShardReader, clock: &Forward) -> (SourceError, Duration) {
    let failing = async {
        loop {
            match reader.next(LIMIT).await {
                Ok(ReadOutcome::CaughtUp) => {}
                Ok(outcome) => panic!("{outcome:?}"),
                Err(error) => break error,
            }
        }
    };
    while_passing(clock, failing).await
}

/// The next record, while the clocks of the world stand still.
async fn reads_on(world: &World, reader: &mut dyn ShardReader) {
    put(&world.putter, 0, b"b").await;
    let read = tokio::time::timeout(Duration::from_secs(20), take(reader, 1)).await;
    assert_eq!(read.expect("by another connection"), b"b");
    assert_eq!(world.line.opened(), 2, "one more");
}

#[tokio::test]
async fn a_polled_shard_is_read_on_by_another_connection_once_a_request_has_timed_out() {
    let world = World::new(1, 10).await;
    let brief = Duration::from_millis(5);
    let source = KinesisSource::builder(world.client.clone(), "s").idle(brief).read_interval(brief);
    let mut reader = world.reader(&source.build()).await;
    let (error, time) = failure(&mut *reader, &world.patience).await;
    assert!(matches!(error, SourceError::Unavailable(_)), "{error:?}");
    assert!((10..12).contains(&time.as_secs()), "{time:?}");
    reads_on(&world, &mut *reader).await;
}

#[tokio::test]
async fn a_pushed_shard_is_read_on_by_another_connection_once_its_subscription_was_silent() {
    let world = World::new(1, 10).await;
    let source =
        KinesisSource::builder(world.client.clone(), "s").clock(Arc::new(world.clock.clone()));
    let source = source.fan_out(FanOut::register("app")).build();
    let mut reader = world.reader(&source).await;
    let (error, time) = failure(&mut *reader, &world.clock).await;
    assert!(matches!(error, SourceError::Unavailable(_)), "{error:?}");
    assert!((25..32).contains(&time.as_secs()), "{time:?}");
    reads_on(&world, &mut *reader).await;
}

#[tokio::test]
async fn a_subscription_above_a_servers_limit_goes_by_another_connection_after_one_timeout() {
    let world = World::new(3, 2).await;
    let source = KinesisSource::builder(world.client.clone(), "s").fan_out(FanOut::register("app"));
    let source = source.build();
    let shards = source.list_shards().await.unwrap();
    let mut readers = Vec::new();
    for shard in &shards[..2] {
        readers.push(source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap());
    }
    let third = || source.open(&shards[2].id, ReadFrom::TrimHorizon);
    let (opened, time) = while_passing(&world.patience, third()).await;
    assert!(matches!(opened.err(), Some(SourceError::Unavailable(_))));
    assert!((10..12).contains(&time.as_secs()), "{time:?}");
    assert_eq!(world.line.opened(), 1);
    readers.push(third().await.unwrap());
    assert_eq!(world.line.opened(), 2);
    for (shard, reader) in shards.iter().zip(&mut readers) {
        put(&world.putter, shard.range.start, b"a").await;
        assert_eq!(take(&mut **reader, 1).await, b"a", "also by the first connection");
    }
}

/// Fills the window of the client's connection, which whoever reads nothing leaves full: headers
/// still come by it, and nothing else does.
async fn fill_window(world: &World, shards: &[Shard]) -> Vec<Box<dyn ShardReader>> {
    // On a clock of its own that stands still, so that it gives nothing up.
    let source = KinesisSource::builder(world.client.clone(), "s");
    let source = source.clock(Arc::new(Forward::default())).fan_out(FanOut::register("stuck"));
    let source = source.build();
    let mut readers = Vec::new();
    for shard in shards {
        readers.push(source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap());
        for _ in 0..12 {
            put(&world.putter, shard.range.start, &[b'x'; 300_000]).await;
        }
    }
    let describe = || world.client.describe_stream_summary().stream_name("s").send();
    while tokio::time::timeout(Duration::from_secs(1), describe()).await.is_ok() {}
    readers
}

#[tokio::test]
async fn a_subscription_of_which_only_the_headers_come_is_tried_again_by_another_connection() {
    let world = World::new(4, 100).await;
    let clock = Forward::default();
    let source = KinesisSource::builder(world.client.clone(), "s").clock(Arc::new(clock.clone()));
    let source = source.fan_out(FanOut::register("app")).build();
    // Its consumer is known before.
    source.describe().await.unwrap();
    let shards = source.list_shards().await.unwrap();
    let _stuck = fill_window(&world, &shards[..3]).await;
    assert_eq!(world.line.opened(), 1);
    let open = || source.open(&shards[3].id, ReadFrom::TrimHorizon);
    let in_time = tokio::time::timeout(Duration::from_secs(20), while_passing(&clock, open()));
    let (opened, time) = in_time.await.expect("it does not wait for ever");
    assert!(matches!(opened.err(), Some(SourceError::Unavailable(_))));
    assert!((10..12).contains(&time.as_secs()), "{time:?}");
    // To the endpoint the first one stands, and may be replaced after 5 s.
    world.clock.by(Duration::from_secs(6));
    let mut reader = open().await.unwrap();
    put(&world.putter, shards[3].range.start, b"a").await;
    assert_eq!(take(&mut *reader, 1).await, b"a");
    assert_eq!(world.line.opened(), 2, "one more");
}

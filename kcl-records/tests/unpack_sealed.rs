//! A source that unpacks and opens: payloads sealed first and then aggregated.
#![cfg(feature = "encryption")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use kcl_core::{
    PartitionKey, ReadFrom, ReadLimit, ReadOutcome, Record, Shard, ShardReader, SourceError,
    StreamDescription, StreamSource, SystemClock,
};
use kcl_protocol::{HashKeyRange, SequenceNumber, ShardId};
use kcl_records::envelope::{DataKey, KeyRing, KeyRingError, LocalKeyRing, NewKey};
use kcl_records::{AggregateBuilder, Opener, Sealer, UnpackedSource};

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20 };

/// Pages of one shard, each given once.
struct Pages(Arc<Mutex<VecDeque<Vec<Record>>>>);

#[async_trait]
impl StreamSource for Pages {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        Err(SourceError::Refused("not used".into()))
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let (parents, range) = (BTreeSet::new(), HashKeyRange::FULL);
        Ok(vec![Shard { id: shard(), parents, range, is_open: true, tip: None }])
    }
    async fn open(&self, _: &ShardId, _: ReadFrom) -> Result<Box<dyn ShardReader>, SourceError> {
        Ok(Box::new(Pages(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl ShardReader for Pages {
    async fn next(&mut self, _: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let page = self.0.lock().unwrap().pop_front();
        Ok(page.map_or(ReadOutcome::CaughtUp, |records| ReadOutcome::Records {
            records,
            behind_millis: 0,
        }))
    }
}

fn shard() -> ShardId {
    ShardId::new("shardId-000000000000")
}

/// A ring that can be away.
struct Ring {
    inner: LocalKeyRing,
    is_away: AtomicBool,
}

impl Ring {
    fn new() -> Arc<Self> {
        let text = "{\"primary\": \"k\", \
                    \"keys\": {\"k\": \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}}";
        let inner = LocalKeyRing::from_text(text).unwrap();
        Arc::new(Self { inner, is_away: AtomicBool::new(false) })
    }
    fn sealer(self: &Arc<Self>) -> Sealer {
        Sealer::new(self.clone(), "s", Arc::new(SystemClock))
    }
}

#[async_trait]
impl KeyRing for Ring {
    async fn generate(&self, stream: &str) -> Result<NewKey, KeyRingError> {
        self.inner.generate(stream).await
    }
    async fn unwrap(
        &self,
        key_id: &str,
        wrapped: &[u8],
        stream: &str,
    ) -> Result<DataKey, KeyRingError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(KeyRingError::Unavailable("away".into())),
            false => self.inner.unwrap(key_id, wrapped, stream).await,
        }
    }
}

fn record(number: u128, key: &str, data: Bytes) -> Record {
    Record {
        position: SequenceNumber::from_parts(0, number).into(),
        partition_key: key.into(),
        data,
        arrival_millis: 0,
        unreadable: None,
    }
}

fn aggregate(payloads: &[(&PartitionKey, &Bytes)]) -> Bytes {
    let mut builder = AggregateBuilder::new();
    payloads.iter().for_each(|(key, data)| builder.push(key, None, data));
    builder.finish()
}

async fn reader(ring: &Arc<Ring>, records: Vec<Record>) -> Box<dyn ShardReader> {
    let pages = Pages(Arc::new(Mutex::new([records].into())));
    let opener = Opener::new(ring.clone(), "s", Arc::new(SystemClock));
    let source = UnpackedSource::new(pages).opened_by(Arc::new(opener));
    source.open(&shard(), ReadFrom::TrimHorizon).await.unwrap()
}

async fn records(reader: &mut dyn ShardReader) -> Vec<Record> {
    match reader.next(LIMIT).await.unwrap() {
        ReadOutcome::Records { records, .. } => records,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_payload_that_does_not_open_leaves_the_others_of_its_aggregate_alone() {
    let ring = Ring::new();
    let (sealer, one, two) = (ring.sealer(), "one".into(), "two".into());
    let first = sealer.seal(&one, b"first").await.unwrap();
    let moved = sealer.seal(&one, b"of another key").await.unwrap();
    let plain = Bytes::from_static(b"not sealed");
    let inside = aggregate(&[(&one, &first), (&two, &moved), (&one, &plain), (&one, &first)]);
    let alone = record(2, "one", first.clone());
    let mut reader = reader(&ring, vec![record(1, "x", inside), alone]).await;
    let read = records(&mut *reader).await;
    let why = |at: usize| read[at].unreadable.as_ref().map(|why| why.reason.as_str());
    assert_eq!(read.len(), 5);
    for at in [0, 3, 4] {
        assert_eq!((why(at), &read[at].data[..]), (None, &b"first"[..]));
    }
    assert!(why(1).unwrap().contains("another stream or partition key"), "{:?}", why(1));
    assert_eq!(read[1].data, moved, "as the stream has it");
    assert!(why(2).unwrap().contains("not sealed"), "{:?}", why(2));
}

#[tokio::test]
async fn a_ring_that_is_away_for_a_while_costs_no_record() {
    let ring = Ring::new();
    let key = "k".into();
    let one = ring.sealer().seal(&key, b"one").await.unwrap();
    let two = ring.sealer().seal(&key, b"two").await.unwrap();
    let page = vec![record(1, "x", aggregate(&[(&key, &one), (&key, &two)]))];
    let mut reader = reader(&ring, page).await;
    ring.is_away.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let away = reader.next(LIMIT).await.unwrap_err();
        assert!(away.is_transient(), "{away}");
    }
    ring.is_away.store(false, Ordering::SeqCst);
    let read = records(&mut *reader).await;
    let data: Vec<_> = read.iter().map(|record| &record.data[..]).collect();
    assert_eq!(data, [&b"one"[..], b"two"]);
    assert_eq!(reader.next(LIMIT).await.unwrap(), ReadOutcome::CaughtUp);
}

#[tokio::test]
async fn what_is_opened_before_the_ring_goes_away_is_given_first() {
    let ring = Ring::new();
    let key = "k".into();
    let one = ring.sealer().seal(&key, b"one").await.unwrap();
    let two = ring.sealer().seal(&key, b"two").await.unwrap();
    let page = vec![record(1, "x", aggregate(&[(&key, &one), (&key, &one), (&key, &two)]))];
    let mut reader = reader(&ring, page).await;
    let limit = ReadLimit { records: 1, bytes: 1 << 20 };
    let first = reader.next(limit).await.unwrap();
    assert!(matches!(first, ReadOutcome::Records { behind_millis: 1, .. }), "{first:?}");
    ring.is_away.store(true, Ordering::SeqCst);
    assert_eq!(records(&mut *reader).await[0].position.subsequence, 1);
    assert!(reader.next(LIMIT).await.unwrap_err().is_transient());
    ring.is_away.store(false, Ordering::SeqCst);
    assert_eq!(records(&mut *reader).await[0].position.subsequence, 2);
}

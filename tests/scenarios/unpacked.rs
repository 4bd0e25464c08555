//! Aggregates of sealed records, through a worker and its successor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::protocol::{Checkpoint, Position};
use kcl_core::{
    Action, Attempt, Checkpointer, MemoryDeadLetters, ProcessorError, ReadFrom, ReadLimit,
    ReadOutcome, RecordBatch, RecordProcessor, ShardStart, StreamSource, async_trait,
};
use kcl_producer::{Aggregation, Producer, ProducerOptions};
use kcl_records::aggregate::{Decoded, decode};
use kcl_records::{AggregateBuilder, LocalKeyRing, Opener, Sealer, UnpackedSource};
use kcl_stream_local::{LocalSource, NewRecord};
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{D, Fleet, Note};

const SETTLED: Duration = Duration::from_secs(10);
/// Records in each aggregate.
const INSIDE: u64 = 10;

fn ring(key: &str) -> Arc<LocalKeyRing> {
    let text = format!("primary = \"k\"\n[keys]\nk = \"{key}\"");
    Arc::new(LocalKeyRing::from_text(&text).unwrap())
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "//////////////////////////////////////////8=";

fn source(fleet: &Fleet, key: &str) -> Arc<UnpackedSource<LocalSource>> {
    let opener = Arc::new(Opener::new(ring(key), "s", fleet.clock.clone()));
    Arc::new(UnpackedSource::new(fleet.stream.source()).opened_by(opener))
}

/// Puts so many aggregates of sealed records.
async fn put(fleet: &Fleet, count: u32) {
    let sealer = Sealer::new(ring(KEY), "s", fleet.clock.clone());
    for number in 0..count {
        let mut aggregate = AggregateBuilder::new();
        let key = format!("k{number}").into();
        for inside in 0..INSIDE {
            let sealed = sealer.seal(&key, format!("number {inside}").as_bytes()).await.unwrap();
            aggregate.push(&key, None, &sealed);
        }
        let receipt = fleet.stream.put(NewRecord::new(key, aggregate.finish())).unwrap();
        let position = |subsequence| Position { sequence: receipt.sequence, subsequence };
        fleet.recorder.put(&receipt.shard.id(), (0..INSIDE).map(position));
    }
}

/// Fails in the middle of every aggregate but notes what stands before.
struct Halfway(Note);

#[async_trait]
impl RecordProcessor for Halfway {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let middle = batch.records.iter().position(|record| record.position.subsequence == 5);
        let done = &batch.records[..middle.unwrap_or(batch.records.len())];
        assert!(done.iter().all(|record| record.data.starts_with(b"number ")));
        self.0.given(done);
        self.0.acked(done);
        match middle {
            Some(middle) => Err(ProcessorError::at(batch.records[middle].position, "halfway")),
            None => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_inside_an_aggregate_loses_and_repeats_nothing() {
    let mut fleet = Fleet::new(2);
    put(&fleet, 20).await;
    let notes = fleet.notes();
    let config = fleet.config().error_policy(|_: &ProcessorError, _: Attempt| Action::StopShard);
    let one = fleet
        .start_on(config, source(&fleet, KEY), move |start: &ShardStart| Halfway(notes.of(start)));
    fleet.pass(SETTLED).await;
    for lease in fleet.leases().await {
        let Checkpoint::At(position) = lease.checkpoint else { panic!("{}", lease.checkpoint) };
        assert_eq!(position.subsequence, 4);
    }
    one.kill();
    let (config, note) = (fleet.config(), fleet.note());
    let _other = fleet.start_on(config, source(&fleet, KEY), note);
    fleet.pass(D * 3 + SETTLED).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
    let mut times = BTreeMap::new();
    for entry in history {
        if let What::Given { positions, .. } = entry.what {
            positions.into_iter().for_each(|position| *times.entry(position).or_insert(0) += 1);
        }
    }
    assert!(times.values().all(|times| *times == 1), "each came once");
}

#[tokio::test(start_paused = true)]
async fn records_of_a_key_that_is_missing_wait_parked_for_a_worker_that_has_it() {
    let mut fleet = Fleet::new(1);
    put(&fleet, 3).await;
    let (config, note) = (fleet.config(), fleet.note());
    let one = fleet.start_on(config, source(&fleet, OTHER_KEY), note);
    fleet.pass(Duration::from_secs(120)).await;
    let parked = fleet.leases().await[0].parked.clone().unwrap();
    assert!(parked.reason.contains("wrapped by another key"), "{}", parked.reason);
    assert!(!every_record_is_delivered(&fleet.recorder.history()).is_empty());
    one.kill();
    let (config, note) = (fleet.config(), fleet.note());
    let _other = fleet.start_on(config, source(&fleet, KEY), note);
    fleet.pass(D * 3 + SETTLED).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

#[tokio::test(start_paused = true)]
async fn a_broken_aggregate_parks_its_shard_with_the_reason_until_its_bytes_may_be_put_aside() {
    let mut fleet = Fleet::new(2);
    put(&fleet, 20).await;
    let mut aggregate = AggregateBuilder::new();
    aggregate.push(&"k0".into(), None, b"never whole");
    let mut bytes = aggregate.finish().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let broken = fleet.stream.put(NewRecord::new("k0", bytes.clone())).unwrap();
    put(&fleet, 20).await;
    let (config, note) = (fleet.config(), fleet.note());
    let one = fleet.start_on(config, source(&fleet, KEY), note);
    fleet.pass(Duration::from_secs(120)).await;
    let at = Position::from(broken.sequence);
    let lease = fleet.lease(broken.shard.id().as_str()).await;
    let mark = lease.parked.clone().unwrap();
    assert_eq!(mark.reason, "the aggregate's checksum does not match its content");
    assert_eq!(mark.at, Some(at));
    assert!(lease.checkpoint < Checkpoint::At(at), "nothing is skipped");
    let parked = fleet.leases().await.into_iter().filter(|lease| lease.parked.is_some());
    assert_eq!(parked.count(), 1, "the other shard goes on");
    for entry in fleet.recorder.history() {
        if let What::Given { lease: of, positions, .. } = entry.what {
            assert!(of != lease.key || positions.iter().all(|position| *position < at));
        }
    }
    one.kill();
    let kept = Arc::new(MemoryDeadLetters::bounded(10));
    let config = fleet
        .config()
        .error_policy(|_: &ProcessorError, _: Attempt| Action::DeadLetter)
        .dead_letters(kept.clone());
    let note = fleet.note();
    let _other = fleet.start_on(config, source(&fleet, KEY), note);
    fleet.pass(D * 3 + SETTLED).await;
    let letters = kept.drain();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].record.position, &letters[0].record.data[..]), (at, &bytes[..]));
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

/// Keeps what it is given, by partition key.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

#[async_trait]
impl RecordProcessor for Kept {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let mut kept = self.0.lock().unwrap();
        for record in &batch.records {
            let text = String::from_utf8(record.data.to_vec());
            kept.entry(record.partition_key.to_string()).or_default().push(text.unwrap());
        }
        Ok(())
    }
}

/// How many records the producer's aggregates have inside, and whether this text is in one.
async fn in_the_stream(fleet: &Fleet, text: &[u8]) -> (usize, bool) {
    let (mut inside, mut is_there) = (0, false);
    let source = fleet.stream.source();
    for shard in source.list_shards().await.unwrap() {
        let mut reader = source.open(&shard.id, ReadFrom::TrimHorizon).await.unwrap();
        let limit = ReadLimit { records: 1_000, bytes: 1 << 20 };
        while let ReadOutcome::Records { records, .. } = reader.next(limit).await.unwrap() {
            for record in records {
                let Decoded::Records(all) = decode(&record.data) else { panic!("no aggregate") };
                inside += all.len();
                is_there |= record.data.windows(text.len()).any(|bytes| bytes == text);
            }
        }
    }
    (inside, is_there)
}

#[tokio::test(start_paused = true)]
async fn what_a_producer_sealed_comes_to_a_worker_with_the_key_as_it_was_put() {
    let mut fleet = Fleet::new(2);
    let sealer = Arc::new(Sealer::new(ring(KEY), "s", fleet.clock.clone()));
    let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
    let builder = Producer::builder(Arc::new(fleet.stream.clone())).options(options);
    let producer = builder.clock(fleet.clock.clone()).sealer(sealer).start();
    let (kept, mut expected) = (Kept::default(), BTreeMap::new());
    let (config, processor) = (fleet.config(), kept.clone());
    let _worker =
        fleet.start_on(config, source(&fleet, KEY), move |_: &ShardStart| processor.clone());
    for number in 0..100 {
        let (key, text) = (format!("k{}", number % 7), format!("secret {number}"));
        producer.put(key.as_str(), text.clone()).await.unwrap();
        expected.entry(key).or_insert_with(Vec::new).push(text);
    }
    producer.flush().await;
    fleet.pass(SETTLED).await;
    assert_eq!(*kept.0.lock().unwrap(), expected, "each once, and in the order of its key");
    assert_eq!(in_the_stream(&fleet, b"secret ").await, (100, false));
}

//! Aggregates of sealed records, through a worker and its successor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{Checkpoint, LeaseKey, Position};
use kcl_core::{
    Action, Attempt, Checkpointer, ProcessorError, RecordBatch, RecordProcessor, ShardStart,
    async_trait,
};
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
        self.0.recorder.given(&self.0.lease, done);
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
    let recorder = fleet.recorder.clone();
    let config = fleet.config().error_policy(|_: &ProcessorError, _: Attempt| Action::StopShard);
    let one = fleet.start_on(config, source(&fleet, KEY), move |start: &ShardStart| {
        Halfway(Note { recorder: recorder.clone(), lease: LeaseKey::new(start.shard.as_str()) })
    });
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

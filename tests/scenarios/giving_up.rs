//! What follows when a processor does not work: the shard goes elsewhere, or the worker leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kcl_core::protocol::{Moment, ShardId, WorkerId};
use kcl_core::{
    Action, Attempt, Checkpointer, Config, EventKind, ProcessorError, ReadFrom, RecordBatch,
    RecordProcessor, Shard, ShardReader, ShardStart, SourceError, StreamDescription, StreamSource,
    async_trait,
};
use kcl_stream_local::LocalSource;
use kcl_testkit::history::{What, check_safety, every_record_is_delivered};

use crate::fleet::{Cable, Fleet, Worker};

const SETTLED: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// Fails every batch.
struct Broken;

#[async_trait]
impl RecordProcessor for Broken {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        Err(ProcessorError::new("it does not work here"))
    }
}

fn yielding(fleet: &mut Fleet) -> Config {
    fleet.config().error_policy(|_: &ProcessorError, _: Attempt| Action::YieldShard)
}

fn start_broken(fleet: &mut Fleet) -> Worker {
    let config = yielding(fleet);
    fleet.start_with(config, |_: &ShardStart| Broken)
}

/// When each worker's consumers of the one shard started.
fn starts(fleet: &Fleet) -> BTreeMap<WorkerId, Vec<Moment>> {
    let mut starts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in fleet.recorder.history() {
        if let What::Event(event) = entry.what
            && matches!(event.kind, EventKind::ConsumerStarted { .. })
        {
            starts.entry(event.worker).or_default().push(event.at);
        }
    }
    starts
}

fn writes_of_ownership(fleet: &Fleet) -> usize {
    let history = fleet.recorder.history().into_iter();
    let held = history.filter(|entry| {
        matches!(&entry.what, What::Event(event)
            if matches!(event.kind, EventKind::LeaseHeld { .. }))
    });
    held.count()
}

#[tokio::test(start_paused = true)]
async fn a_yielded_shard_is_not_retaken_for_a_minute_also_if_every_worker_yields_it() {
    for workers in 1..=3 {
        let mut fleet = Fleet::new(1);
        let fleet_of: Vec<_> = (0..workers).map(|_| start_broken(&mut fleet)).collect();
        fleet.pass(SETTLED).await;
        fleet.put(1);
        let from = fleet.now();
        let before = writes_of_ownership(&fleet);
        fleet.pass(MINUTE * 10).await;
        let starts = starts(&fleet);
        assert_eq!(starts.len(), workers, "each of them tries");
        for moments in starts.values() {
            let since: Vec<_> = moments.iter().filter(|at| **at > from).collect();
            assert!(since.len() >= 2, "{workers} workers: tried again and again: {since:?}");
            assert!(since.windows(2).all(|two| two[1].since(*two[0]) >= MINUTE), "{since:?}");
        }
        let tries = starts.values().flatten().filter(|at| **at > from).count();
        assert!(tries >= 9, "somebody tries every minute, not {tries} times in ten");
        let moves = writes_of_ownership(&fleet) - before;
        assert!(moves <= 22 * workers, "{workers} workers took it {moves} times in ten minutes");
        assert_eq!(check_safety(&fleet.recorder.history()), []);
        fleet_of.into_iter().for_each(Worker::kill);
    }
}

#[tokio::test(start_paused = true)]
async fn a_yielded_shard_comes_to_the_one_worker_where_it_works_before_it_comes_back() {
    let mut fleet = Fleet::new(1);
    let _broken = [start_broken(&mut fleet), start_broken(&mut fleet)];
    fleet.pass(SETTLED).await;
    let config = yielding(&mut fleet);
    let able = fleet.start_with(config, fleet.note());
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(Duration::from_secs(5)).await;
    assert_eq!(able.shards(), 1);
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
}

#[tokio::test(start_paused = true)]
async fn a_yielded_shard_goes_to_whom_has_room_once_it_may_be_tried_again() {
    let mut fleet = Fleet::new(3);
    let full = yielding(&mut fleet).max_leases_per_worker(1).yield_for(Duration::from_secs(20));
    let full = fleet.start_with(full, |_: &ShardStart| Broken);
    let (config, note) = (fleet.config().max_leases_per_worker(2), fleet.note());
    let other = fleet.start_with(config, note);
    fleet.pass(SETTLED).await;
    assert_eq!((full.shards(), other.shards()), (1, 2));
    fleet.put(30);
    fleet.pass(Duration::from_secs(5)).await;
    assert_eq!(full.shards(), 0, "nobody has room");
    other.handle.drain(&other.handle.status().shards[0].shard).await.unwrap();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!((full.shards(), other.shards()), (1, 1), "the other has room now");
    fleet.pass(Duration::from_secs(20)).await;
    assert_eq!((full.shards(), other.shards()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shard_drained_away_comes_back_at_once_if_the_other_worker_leaves() {
    let mut fleet = Fleet::new(2);
    let (one, other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    let shard = one.handle.status().shards[0].shard.clone();
    one.handle.drain(&shard).await.unwrap();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!(other.shards(), 2);
    other.handle.shutdown().await;
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(one.shards(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_stop_the_worker_which_hands_everything_over_and_says_why() {
    let mut fleet = Fleet::new(4);
    let config = fleet.config().error_policy(|_: &ProcessorError, _: Attempt| Action::StopWorker);
    let broken = fleet.start_with(config, |_: &ShardStart| Broken);
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!((broken.shards(), other.shards()), (2, 2));
    fleet.put(40);
    fleet.pass(Duration::from_secs(2)).await;
    let error = broken.end().await.unwrap_err().to_string();
    assert!(error.contains("shardId-") && error.contains("it does not work here"), "{error}");
    assert_eq!(other.shards(), 4, "nothing had to expire");
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
}

/// Fails the first batch of all.
struct BrokenOnce(Arc<AtomicBool>);

#[async_trait]
impl RecordProcessor for BrokenOnce {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        match self.0.swap(true, Ordering::Relaxed) {
            true => Ok(()),
            false => Err(ProcessorError::new("it failed once")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_to_stop_and_is_fenced_first_does_not_register_anew() {
    let mut fleet = Fleet::new(4);
    let (loose, failed) = (Arc::new(OnceLock::<Cable>::new()), Arc::default());
    let cable = Arc::clone(&loose);
    let config = fleet.config().error_policy(move |_: &ProcessorError, _: Attempt| {
        cable.get().expect("set before a record is put").pull();
        Action::StopWorker
    });
    let broken = fleet.start_with(config, move |_: &ShardStart| BrokenOnce(Arc::clone(&failed)));
    let _ = loose.set(broken.cable.clone());
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    fleet.put(40);
    fleet.pass(SETTLED).await;
    assert_eq!(other.shards(), 4, "it was fenced");
    broken.cable.plug();
    let ended = tokio::time::timeout(MINUTE, broken.end()).await;
    let error = ended.expect("it stops").unwrap_err().to_string();
    assert!(error.contains("it failed once"), "{error}");
}

/// A source of the user's that is broken itself.
struct Panics(LocalSource);

#[async_trait]
impl StreamSource for Panics {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.0.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.0.list_shards().await
    }
    async fn open(&self, _: &ShardId, _: ReadFrom) -> Result<Box<dyn ShardReader>, SourceError> {
        panic!("the source is broken")
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_source_panics_goes_elsewhere() {
    let mut fleet = Fleet::new(4);
    let (config, note) = (fleet.config(), fleet.note());
    let source = Arc::new(Panics(fleet.stream.source()));
    let broken = fleet.start_on(config, source, note);
    let other = fleet.start();
    fleet.pass(SETTLED).await;
    assert_eq!((broken.shards(), other.shards()), (0, 4));
    let panics = fleet.recorder.history().into_iter().filter_map(|entry| match entry.what {
        What::Event(event) => match event.kind {
            EventKind::ConsumerPanicked { lease, panic, .. } => Some((lease, panic)),
            _ => None,
        },
        _ => None,
    });
    let panics: BTreeMap<_, _> = panics.collect();
    assert!((1..=4).contains(&panics.len()), "{panics:?}");
    assert!(panics.values().all(|panic| panic == "the source is broken"), "{panics:?}");
}

//! Records that cannot be opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::protocol::{Checkpoint, LeaseKey, ShardId};
use kcl_core::{
    Action, Attempt, Checkpointer, DeadLetter, DeadLetterError, DeadLetterSink, MemoryDeadLetters,
    ProcessorError, ReadFrom, ReadLimit, ReadOutcome, RecordBatch, RecordProcessor, Shard,
    ShardReader, ShardStart, SourceError, StreamDescription, StreamSource, Unreadable, async_trait,
};
use kcl_testkit::history::{Recorder, check_safety, every_record_is_delivered};

use crate::fleet::{Fleet, Note};

const SETTLED: Duration = Duration::from_secs(10);

/// Cannot open records with one key until it is mended.
struct Sealed {
    inner: Arc<dyn StreamSource>,
    key: &'static str,
    is_mended: Arc<AtomicBool>,
}

impl Sealed {
    fn new(fleet: &Fleet, key: &'static str, is_mended: &Arc<AtomicBool>) -> Arc<Self> {
        let inner = Arc::new(fleet.stream.source());
        Arc::new(Self { inner, key, is_mended: Arc::clone(is_mended) })
    }
}

#[async_trait]
impl StreamSource for Sealed {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.inner.describe().await
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.inner.list_shards().await
    }
    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let inner = self.inner.open(shard, from).await?;
        Ok(Box::new(SealedReader { inner, key: self.key, is_mended: Arc::clone(&self.is_mended) }))
    }
}

struct SealedReader {
    inner: Box<dyn ShardReader>,
    key: &'static str,
    is_mended: Arc<AtomicBool>,
}

#[async_trait]
impl ShardReader for SealedReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let mut outcome = self.inner.next(limit).await?;
        if let ReadOutcome::Records { records, .. } = &mut outcome
            && !self.is_mended.load(Ordering::Relaxed)
        {
            let sealed =
                records.iter_mut().filter(|record| record.partition_key.as_str() == self.key);
            let why = Arc::new(Unreadable { reason: "no key opens it".into() });
            sealed.for_each(|record| record.unreadable = Some(Arc::clone(&why)));
        }
        Ok(outcome)
    }
}

/// A sink whose letters count as delivered, in their order.
struct Noted {
    kept: Arc<MemoryDeadLetters>,
    recorder: Recorder,
}

#[async_trait]
impl DeadLetterSink for Noted {
    async fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let lease = LeaseKey::new(letter.shard.as_str());
        self.recorder.given(&lease, std::slice::from_ref(&letter.record));
        self.kept.put(letter).await
    }
}

/// Takes nothing but records that could be opened.
struct Sound(Note);

#[async_trait]
impl RecordProcessor for Sound {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        assert!(batch.records.iter().all(|record| record.unreadable.is_none()));
        self.0.process_records(batch, checkpointer).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_opened_becomes_a_dead_letter_and_the_shard_goes_on() {
    let mut fleet = Fleet::new(2);
    let kept = Arc::new(MemoryDeadLetters::bounded(10));
    let sink = Arc::new(Noted { kept: Arc::clone(&kept), recorder: fleet.recorder.clone() });
    let config = fleet
        .config()
        .error_policy(|_: &ProcessorError, _: Attempt| Action::DeadLetter)
        .dead_letters(sink);
    let source = Sealed::new(&fleet, "k7", &Arc::default());
    let notes = fleet.notes();
    let _worker = fleet.start_on(config, source, move |start: &ShardStart| Sound(notes.of(start)));
    fleet.pass(SETTLED).await;
    fleet.put(40);
    fleet.pass(SETTLED).await;
    let letters = kept.drain();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].record.partition_key.as_str(), "k7");
    assert_eq!((&*letters[0].record.data, &*letters[0].error), (&b"data"[..], "no key opens it"));
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    assert_eq!(check_safety(&history), []);
    for shard in fleet.stream.source().list_shards().await.unwrap() {
        let checkpoint = fleet.lease(shard.id.as_str()).await.checkpoint;
        let tip = shard.tip.unwrap();
        assert_eq!(checkpoint, Checkpoint::At(tip.into()), "the watermark passed it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_opened_parks_its_shard_until_it_can_and_the_others_go_on() {
    let mut fleet = Fleet::new(4);
    let is_mended = Arc::new(AtomicBool::new(false));
    let (config, source) = (fleet.config(), Sealed::new(&fleet, "k7", &is_mended));
    let worker = fleet.start_on(config, source, fleet.note());
    fleet.pass(SETTLED).await;
    fleet.put(40);
    fleet.pass(Duration::from_secs(120)).await;
    let leases = fleet.leases().await;
    let parked: Vec<_> = leases.iter().filter(|lease| lease.parked.is_some()).collect();
    assert_eq!(parked.len(), 1);
    let mark = parked[0].parked.clone().unwrap();
    assert_eq!(mark.reason, "no key opens it");
    assert!(parked[0].checkpoint < Checkpoint::At(mark.at.unwrap()), "nothing is skipped");
    assert_eq!(worker.shards(), 4);
    is_mended.store(true, Ordering::Relaxed);
    worker.handle.resume(&parked[0].key.shard()).await.unwrap();
    fleet.pass(SETTLED).await;
    assert_eq!(every_record_is_delivered(&fleet.recorder.history()), []);
    assert!(fleet.leases().await.iter().all(|lease| lease.parked.is_none()));
}

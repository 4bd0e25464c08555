//! Histories of these stories hold what every checker goes by; a processor that does wrong in one
//! is caught by it, and the same processor that does right is not.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::protocol::{Checkpoint, Mutant, Position, Rules};
use kcl_core::{
    Acks, Checkpointer, Config, ConsumerConfig, ProcessorError, RecordBatch, RecordProcessor,
    ShardStart, async_trait,
};
use kcl_testkit::history::{Entry, Violation, What, check_safety, every_record_is_delivered};

use crate::fleet::{D, Fleet, Note, Worker};

const SETTLED: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);

fn positions<'a>(
    history: &'a [Entry],
    of: impl Fn(&'a What) -> Option<&'a Vec<Position>>,
) -> BTreeSet<Position> {
    history.iter().filter_map(|entry| of(&entry.what)).flatten().copied().collect()
}

fn count(history: &[Entry], is: impl Fn(&What) -> bool) -> usize {
    history.iter().filter(|entry| is(&entry.what)).count()
}

/// True if this promise was broken, and this said of it.
fn has(found: &[Violation], property: &str, words: &str) -> bool {
    found.iter().any(|it| it.property == property && it.what.contains(words))
}

#[tokio::test(start_paused = true)]
async fn a_history_holds_what_was_put_found_given_polled_acked_and_written() {
    let mut fleet = Fleet::new(2);
    let (one, _other) = (fleet.start(), fleet.start());
    fleet.pass(SETTLED).await;
    fleet.put(40);
    fleet.pass(STEP).await;
    one.kill();
    fleet.put(40);
    fleet.pass(D * 2 + SETTLED).await;
    let history = fleet.recorder.history();
    let put = positions(&history, |what| match what {
        What::Put { positions, .. } => Some(positions),
        _ => None,
    });
    let given = positions(&history, |what| match what {
        What::Given { positions, .. } => Some(positions),
        _ => None,
    });
    let acked = positions(&history, |what| match what {
        What::Acked { positions, .. } => Some(positions),
        _ => None,
    });
    assert_eq!((put.len(), &given, &acked), (80, &put, &put));
    let made = count(&history, |what| matches!(what, What::Found { .. }));
    assert!(made >= 3, "{made}: one for each shard, and one for the victim's");
    let batches = count(&history, |what| matches!(what, What::Given { .. }));
    let polled = count(&history, |what| matches!(what, What::Polled { .. }));
    assert!(batches >= 3 && polled == batches, "{polled} polls of {batches} batches");
    let is_made = |what: &What| matches!(what, What::RowWritten { before: None, .. });
    let is_changed = |what: &What| matches!(what, What::RowWritten { before: Some(_), .. });
    let rows = (count(&history, is_made), count(&history, is_changed));
    assert!(rows.0 == 2 && rows.1 >= 5, "{rows:?}: three takes, and two checkpoints at least");
    assert_eq!(check_safety(&history), []);
}

fn explicit(fleet: &mut Fleet) -> Config {
    let consumer = ConsumerConfig { acks: Acks::Explicit, ..ConsumerConfig::default() };
    fleet.config().consumer(consumer)
}

/// Acks a batch and has that written, and works on it: in the right order, or the other.
struct Eager {
    note: Note,
    acks_first: bool,
}

#[async_trait]
impl RecordProcessor for Eager {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.note.given(&batch.records);
        if !self.acks_first {
            self.note.work(STEP, 100, checkpointer).await;
            self.note.acked(&batch.records);
        }
        for record in &batch.records {
            checkpointer.ack(record.position).map_err(ProcessorError::new)?;
        }
        checkpointer.checkpoint().await.map_err(ProcessorError::new)?;
        if self.acks_first {
            self.note.work(STEP, 100, checkpointer).await;
            self.note.acked(&batch.records);
        }
        Ok(())
    }
}

/// A worker dies in the middle of a batch, and another goes on.
async fn goes_on_after_a_death(acks_first: bool) -> Vec<Entry> {
    let mut fleet = Fleet::new(1);
    let (config, notes) = (explicit(&mut fleet), fleet.notes());
    let one = fleet
        .start_with(config, move |start: &ShardStart| Eager { note: notes.of(start), acks_first });
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(STEP * 20).await;
    one.kill();
    let _other = fleet.start();
    fleet.put(10);
    fleet.pass(D * 3 + SETTLED).await;
    fleet.recorder.history()
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_acks_and_checkpoints_before_it_is_done_is_caught() {
    let right = goes_on_after_a_death(false).await;
    assert_eq!(check_safety(&right), []);
    assert_eq!(every_record_is_delivered(&right), []);
    let found = check_safety(&goes_on_after_a_death(true).await);
    assert!(has(&found, "P4", "was checkpointed at"), "by the checkpoint: {found:?}");
    assert!(has(&found, "P4", "past unacked"), "{found:?}");
    assert!(has(&found, "P4", "past open"), "by where the next owner starts: {found:?}");
}

/// Works on a batch for ten seconds: in its call, or in a task that nobody can drop.
struct Long {
    note: Option<Note>,
    in_a_task: bool,
}

#[async_trait]
impl RecordProcessor for Long {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let Some(note) = &self.note else { return Ok(()) };
        note.given(&batch.records);
        if self.in_a_task {
            let (note, with) = (self.note.take(), checkpointer.clone());
            let note = note.ok_or_else(|| ProcessorError::new("a second batch"))?;
            tokio::spawn(async move { note.work(STEP, 100, &with).await });
            return std::future::pending().await;
        }
        note.work(STEP, 100, checkpointer).await;
        note.acked(&batch.records);
        Ok(())
    }
}

/// A worker is cut off from the table in the middle of a batch, and runs on. Gives the number of
/// polls too.
async fn cut_off_in_a_batch(in_a_task: bool) -> (Vec<Violation>, usize) {
    let mut fleet = Fleet::new(1);
    let (config, notes) = (fleet.config(), fleet.notes());
    let one = fleet.start_with(config, move |start: &ShardStart| Long {
        note: Some(notes.of(start)),
        in_a_task,
    });
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(STEP).await;
    one.cable.pull();
    let other = fleet.start();
    fleet.pass(D * 3).await;
    assert_eq!(other.shards(), 1);
    fleet.pass(SETTLED).await;
    let history = fleet.recorder.history();
    assert_eq!(every_record_is_delivered(&history), []);
    (check_safety(&history), count(&history, |what| matches!(what, What::Polled { .. })))
}

#[tokio::test(start_paused = true)]
async fn p3_a_batch_of_a_worker_that_is_cut_off_is_polled_no_longer_than_its_validity() {
    let (found, polled) = cut_off_in_a_batch(false).await;
    assert_eq!(found, []);
    // `D`, less what had passed of it, and the poll of the next owner's batch.
    assert!((15..=31).contains(&polled), "{polled} polls");
    let (found, _) = cut_off_in_a_batch(true).await;
    assert!(has(&found, "P3", "past its validity"), "{found:?}");
    assert!(has(&found, "P3", "after"), "and after the next owner started: {found:?}");
}

/// Prepares a checkpoint at the end of a batch, and has its first record checkpointed alone.
struct TwoPhases(Note);

#[async_trait]
impl RecordProcessor for TwoPhases {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.0.given(&batch.records);
        let (first, last) = (&batch.records[..1], &batch.records[batch.records.len() - 1]);
        self.0.preparing(last.position);
        let prepared = checkpointer.prepare(last.position, last.position.to_string()).await;
        let _prepared = prepared.map_err(ProcessorError::new)?;
        self.0.acked(first);
        checkpointer.ack(first[0].position).map_err(ProcessorError::new)?;
        checkpointer.checkpoint().await.map_err(ProcessorError::new)?;
        std::future::pending().await
    }
}

/// A worker dies between the two phases, and another finds what it prepared, or not.
async fn found_by_the_next(rules: Rules) -> (Option<Checkpoint>, Vec<Violation>) {
    let mut fleet = Fleet::new(1);
    let (config, notes) = (explicit(&mut fleet).rules(rules), fleet.notes());
    let one: Worker =
        fleet.start_with(config, move |start: &ShardStart| TwoPhases(notes.of(start)));
    fleet.pass(SETTLED).await;
    fleet.put(10);
    fleet.pass(STEP).await;
    one.kill();
    let _other = fleet.start();
    fleet.pass(D * 3 + SETTLED).await;
    let history = fleet.recorder.history();
    let found = history.iter().rev().find_map(|entry| match &entry.what {
        What::Found { prepared, .. } => Some(prepared.as_ref().map(|it| it.checkpoint)),
        _ => None,
    });
    (found.unwrap(), check_safety(&history))
}

#[tokio::test(start_paused = true)]
async fn p4_what_a_dead_worker_prepared_is_found_by_the_next_and_seen_if_it_is_not() {
    let (prepared, found) = found_by_the_next(Rules::ALL).await;
    assert!(matches!(prepared, Some(Checkpoint::At(_))), "{prepared:?}");
    assert_eq!(found, []);
    let broken = Rules::breaking(Mutant::CheckpointErasesPrepared);
    let (prepared, found) = found_by_the_next(broken).await;
    assert_eq!(prepared, None);
    assert!(has(&found, "P4", "with None prepared"), "{found:?}");
}

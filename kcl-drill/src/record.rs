//! What the workers said, in the order in which it was heard, and what was done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::contract::{Line, LineEvent};

/// A worker that was taken away, and what it held then.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub worker: String,
    /// Unix seconds.
    pub at: f64,
    pub shards: BTreeSet<String>,
    /// Which round it belongs to.
    pub round: usize,
}

/// Everything that happened in one drill.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Entries>>);

#[derive(Default)]
pub(crate) struct Entries {
    pub lines: Vec<Line>,
    pub losses: Vec<Loss>,
    /// Lines that are none of the contract's, and the first of them.
    pub garbled: usize,
    pub first_garbled: String,
    pub owners: BTreeMap<String, String>,
    pub ended: BTreeSet<String>,
    pub delivered: BTreeSet<u64>,
    /// Workers that have joined the fleet.
    pub ready: BTreeSet<String>,
    /// True if they say so themselves: then it can be waited for.
    pub says_ready: bool,
    /// Who last processed something of a shard, or ended it, and when.
    pub latest: BTreeMap<String, (f64, String)>,
}

impl Journal {
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of a worker's output.
    pub fn hear(&self, text: &str) {
        let parsed = serde_json::from_str::<Line>(text);
        let mut entries = self.entries();
        match parsed {
            Ok(line) => entries.add(line),
            Err(error) => {
                if entries.garbled == 0 {
                    let text: String = text.chars().take(200).collect();
                    entries.first_garbled = format!("{text:?}: {error}");
                }
                entries.garbled += 1;
            }
        }
    }

    /// Who processes each shard that has not ended.
    pub fn owners(&self) -> BTreeMap<String, String> {
        self.entries().owners.clone()
    }
    pub fn held_by(&self, worker: &str) -> BTreeSet<String> {
        let entries = self.entries();
        let held = entries.owners.iter().filter(|(_, owner)| *owner == worker);
        held.map(|(shard, _)| shard.clone()).collect()
    }
    pub fn ended(&self) -> BTreeSet<String> {
        self.entries().ended.clone()
    }
    /// Different records processed so far.
    pub fn processed(&self) -> usize {
        self.entries().delivered.len()
    }
    pub fn is_ready(&self, worker: &str) -> bool {
        self.entries().ready.contains(worker)
    }
    /// True if all of these have joined, or if they are of a kind that does not say so.
    pub fn are_ready(&self, workers: &[String]) -> bool {
        let entries = self.entries();
        !entries.says_ready || workers.iter().all(|worker| entries.ready.contains(worker))
    }
    pub fn note_loss(&self, loss: Loss) {
        self.entries().losses.push(loss);
    }
    /// Of these shards, those that nobody but this worker has processed since.
    pub fn unmoved(&self, loss: &Loss) -> BTreeSet<String> {
        let entries = self.entries();
        let is_unmoved = |shard: &&String| {
            let latest = entries.latest.get(*shard);
            latest.is_none_or(|(at, worker)| *at <= loss.at || *worker == loss.worker)
        };
        loss.shards.iter().filter(is_unmoved).cloned().collect()
    }
}

impl Entries {
    fn add(&mut self, line: Line) {
        if let (LineEvent::Records { .. } | LineEvent::ShardEnd { .. }, Some(shard)) =
            (&line.event, line.event.shard())
        {
            self.latest.insert(shard.to_owned(), (line.ts, line.worker.clone()));
        }
        match &line.event {
            LineEvent::Ready => {
                self.says_ready = true;
                self.ready.insert(line.worker.clone());
            }
            LineEvent::ShardStart { shard, .. } => {
                self.ready.insert(line.worker.clone());
                self.owners.insert(shard.clone(), line.worker.clone());
            }
            LineEvent::Records { shard, ids, .. } => {
                self.owners.insert(shard.clone(), line.worker.clone());
                self.delivered.extend(ids.iter().filter_map(|id| id.parse::<u64>().ok()));
            }
            LineEvent::ShardEnd { shard } => {
                self.owners.remove(shard);
                self.ended.insert(shard.clone());
            }
            LineEvent::LeaseLost { shard } => {
                if self.owners.get(shard) == Some(&line.worker) {
                    self.owners.remove(shard);
                }
            }
            LineEvent::Shutdown => self.owners.retain(|_, owner| *owner != line.worker),
            LineEvent::Overrun { .. } => {}
        }
        self.lines.push(line);
    }
}

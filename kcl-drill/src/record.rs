//! What the workers said, in the order in which it happened, and what was done to them.

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
    /// Lines that are none of the contract's.
    pub garbled: usize,
    pub owners: BTreeMap<String, String>,
    pub ended: BTreeSet<String>,
    pub delivered: BTreeSet<String>,
}

impl Journal {
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of a worker's output.
    pub fn hear(&self, text: &str) {
        let mut entries = self.entries();
        match serde_json::from_str::<Line>(text) {
            Ok(line) => entries.add(line),
            Err(_) => entries.garbled += 1,
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
    pub fn note_loss(&self, loss: Loss) {
        self.entries().losses.push(loss);
    }
    /// Of these shards, those that nobody but this worker has processed since.
    pub fn unmoved(&self, loss: &Loss) -> BTreeSet<String> {
        let entries = self.entries();
        let mut left = loss.shards.clone();
        for line in entries.lines.iter().rev().take_while(|line| line.ts >= loss.at - 1.0) {
            let is_new = line.ts > loss.at && line.worker != loss.worker;
            if let (true, LineEvent::Records { shard, .. } | LineEvent::ShardEnd { shard }) =
                (is_new, &line.event)
            {
                left.remove(shard);
            }
        }
        left
    }
}

impl Entries {
    fn add(&mut self, line: Line) {
        match &line.event {
            LineEvent::ShardStart { shard, .. } => {
                self.owners.insert(shard.clone(), line.worker.clone());
            }
            LineEvent::Records { shard, ids, .. } => {
                self.owners.insert(shard.clone(), line.worker.clone());
                self.delivered.extend(ids.iter().cloned());
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
        }
        self.lines.push(line);
    }
}

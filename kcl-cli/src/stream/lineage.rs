//! What came out of what: when a shard may be read.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kinesis::types::Shard;

pub struct Child {
    pub shard: String,
    pub parents: Vec<String>,
}

impl Child {
    pub fn of(shard: Shard) -> Self {
        let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
        Self { shard: shard.shard_id, parents: parents.into_iter().flatten().collect() }
    }
}

/// Which shards are being read, and which wait for them.
#[derive(Default)]
pub struct Lineage {
    reading: BTreeSet<String>,
    known: BTreeSet<String>,
    /// Children with their parents.
    waiting: BTreeMap<String, Vec<String>>,
}

impl Lineage {
    /// The first shards of all; returns those to read now. Some engines list children beside their
    /// parents.
    pub fn begin(&mut self, shards: Vec<Child>) -> Vec<String> {
        self.go_on(shards)
    }

    /// A shard has ended; returns those to read now.
    pub fn end(&mut self, shard: &str, children: Vec<Child>) -> Vec<String> {
        self.reading.remove(shard);
        self.go_on(children)
    }

    fn go_on(&mut self, children: Vec<Child>) -> Vec<String> {
        for child in children {
            if self.known.insert(child.shard.clone()) {
                self.waiting.insert(child.shard, child.parents);
            }
        }
        // A parent that is itself still waited for has not ended either.
        let waited_for: BTreeSet<_> = self.waiting.keys().cloned().collect();
        let is_ready = |_: &String, parents: &mut Vec<String>| {
            let is_on = |parent| self.reading.contains(parent) || waited_for.contains(parent);
            !parents.iter().any(is_on)
        };
        let ready: Vec<_> = self.waiting.extract_if(.., is_ready).map(|(child, _)| child).collect();
        self.reading.extend(ready.iter().cloned());
        ready
    }
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;

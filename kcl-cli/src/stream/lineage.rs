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

    pub fn came_out_of(&self, parent: &str) -> bool {
        self.parents.iter().any(|id| id == parent)
    }
}

/// A split makes two, a merge one of two parents. A listing may show one of two late; of a parent
/// that is too old to be listed, one may be gone.
pub fn has_all_children(parent: &str, listed: &[Child]) -> bool {
    let children = listed.iter().filter(|child| child.came_out_of(parent));
    let is_listed = listed.iter().any(|shard| shard.shard == parent);
    let wanted = if is_listed { 2 } else { 1 };
    children.clone().any(|child| child.parents.len() == 2) || children.count() >= wanted
}

/// Which shards are being read, and which wait for them.
#[derive(Default)]
pub struct Lineage {
    reading: BTreeSet<String>,
    /// Those that are followed, ended or not.
    known: BTreeSet<String>,
    waiting: BTreeSet<String>,
    /// What all that were listed came out of, followed or not.
    parents: BTreeMap<String, Vec<String>>,
}

impl Lineage {
    /// The first shards of all, and which of them are past and not to be followed; returns those
    /// to read now. Children may be listed beside their parents.
    pub fn begin(&mut self, listed: Vec<Child>, past: &BTreeSet<String>) -> Vec<String> {
        self.go_on(listed, |child| !past.contains(&child.shard))
    }

    /// A shard has ended, and its children are among those listed; returns those to read now.
    pub fn end(&mut self, ended: &str, listed: Vec<Child>) -> Vec<String> {
        self.reading.remove(ended);
        self.go_on(listed, |child| child.came_out_of(ended))
    }

    fn go_on(&mut self, listed: Vec<Child>, is_followed: impl Fn(&Child) -> bool) -> Vec<String> {
        for child in listed {
            if is_followed(&child) && self.known.insert(child.shard.clone()) {
                self.waiting.insert(child.shard.clone());
            }
            self.parents.insert(child.shard, child.parents);
        }
        let is_ready = |child: &&String| !self.parents[*child].iter().any(|id| self.is_on(id));
        let ready: Vec<_> = self.waiting.iter().filter(is_ready).cloned().collect();
        self.waiting.retain(|child| !ready.contains(child));
        self.reading.extend(ready.iter().cloned());
        ready
    }

    /// It has not ended, or may still come out of one that has not.
    fn is_on(&self, shard: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![shard]);
        while let Some(shard) = next.pop() {
            if self.reading.contains(shard) || self.waiting.contains(shard) {
                return true;
            }
            if !self.known.contains(shard) && seen.insert(shard) {
                next.extend(self.parents.get(shard).into_iter().flatten().map(String::as_str));
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;

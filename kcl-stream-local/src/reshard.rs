//! Split, merge and uniform resharding.
//!
//! A reshard works on a copy of the map and publishes it under the map's write lock, together with
//! the closing of the parents. A put that finds its shard closed takes the map again, and so waits
//! for the new one: a child has no record before its parents are closed. Where a store keeps the
//! reshard first, the parents' writes are held meanwhile and the map is free: whoever reads does
//! not wait for a disk.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use kcl_core::protocol::{HashKeyRange, ShardId};

use crate::engine::check_shard_count;
use crate::error::EngineError;
use crate::keeper::Keeper;
use crate::sequence::ShardNumber;
use crate::shard::{Now, Shard};
use crate::shard_map::ShardMap;
use crate::store::ClosedRow;
use crate::stream::Stream;

impl Stream {
    /// Splits an open shard in two; the upper one starts at `new_starting_hash_key`. The parent
    /// takes no more records and stays readable until they expire. Returns the children, lower
    /// first.
    ///
    /// # Errors
    /// `StreamNotFound`, `ShardNotFound`; `InvalidArgument` if the shard is closed or the hash key
    /// is not inside its range, above its start; `LimitExceeded` at 10,000 open shards.
    pub fn split_shard(
        &self,
        shard: &ShardId,
        new_starting_hash_key: u128,
    ) -> Result<[ShardNumber; 2], EngineError> {
        let _alone = self.begin_change()?;
        let parent = self.open_shard(shard)?;
        let map = self.map();
        check_shard_count(map.open().len() as u32 + 1)?;
        let range = parent.range;
        if !(range.contains(new_starting_hash_key) && new_starting_hash_key > range.start) {
            return Err(EngineError::InvalidArgument(format!(
                "{new_starting_hash_key} does not split shard {shard}: choose a hash key above {} \
                 and up to {}",
                range.start, range.end
            )));
        }
        let mut plan = Reshard::new(&map, self.now());
        let children = plan.split(parent.number, new_starting_hash_key);
        self.publish(&map, plan)?;
        Ok(children)
    }

    /// Merges two open shards whose ranges touch, in either order. The parents take no more
    /// records and stay readable until they expire. Returns the child.
    ///
    /// # Errors
    /// `StreamNotFound`, `ShardNotFound`; `InvalidArgument` if one is closed or the two do not
    /// touch.
    pub fn merge_shards(
        &self,
        shard: &ShardId,
        adjacent: &ShardId,
    ) -> Result<ShardNumber, EngineError> {
        let _alone = self.begin_change()?;
        let one = self.open_shard(shard)?;
        let other = self.open_shard(adjacent)?;
        let (lower, upper) =
            if one.range.start <= other.range.start { (one, other) } else { (other, one) };
        if !lower.range.is_followed_by(&upper.range) {
            return Err(EngineError::InvalidArgument(format!(
                "shards {shard} and {adjacent} cannot be merged: their hash key ranges do not touch"
            )));
        }
        let map = self.map();
        let mut plan = Reshard::new(&map, self.now());
        let child = plan.merge_slots(plan.slot_of(lower.number));
        self.publish(&map, plan)?;
        Ok(child)
    }

    /// Splits and merges until `shards` open shards share the hash space evenly; like Kinesis it
    /// may leave closed shards in between that never took a record. Does nothing if the space is
    /// divided so already.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` for 0 shards; `LimitExceeded` above 10,000.
    pub fn update_shard_count(&self, shards: u32) -> Result<(), EngineError> {
        self.check_exists()?;
        check_shard_count(shards)?;
        let _alone = self.begin_change()?;
        let map = self.map();
        let mut plan = Reshard::new(&map, self.now());
        for target in HashKeyRange::split_evenly(shards) {
            plan.fit(target);
        }
        self.publish(&map, plan)
    }

    fn open_shard(&self, id: &ShardId) -> Result<Arc<Shard>, EngineError> {
        let shard = self.shard(id)?;
        if shard.progress().closed_at_millis.is_some() {
            return Err(EngineError::InvalidArgument(format!(
                "shard {id} has been split or merged already: choose an open shard"
            )));
        }
        Ok(shard)
    }

    fn publish(&self, before: &ShardMap, plan: Reshard) -> Result<(), EngineError> {
        if plan.closed.is_empty() {
            return Ok(());
        }
        let now = plan.now;
        // Nobody sweeps the shards that are forgotten below.
        self.sweep(now);
        let after = before.next(plan.open.clone(), &plan.added);
        let after = after.without(|shard| shard.is_gone(now, &self.state.settings));
        if let Some(keeper) = &self.state.keeper {
            self.keep(keeper, &after, &plan)?;
        }
        let mut map = self.state.map.write().unwrap_or_else(PoisonError::into_inner);
        for (parent, children) in &plan.closed {
            let at_millis = closed_at(children, now);
            parent.close(at_millis, children.iter().map(|child| child.as_child()).collect());
        }
        *map = Arc::new(after);
        Ok(())
    }

    /// Saves a reshard before anybody sees it: parents that end are never open again.
    fn keep(&self, keeper: &Keeper, after: &ShardMap, plan: &Reshard) -> Result<(), EngineError> {
        let parents: Vec<_> = plan.closed.iter().map(|(parent, _)| Arc::clone(parent)).collect();
        keeper.hold(self.name(), &parents)?;
        let ends = plan.closed.iter().map(|(parent, children)| {
            let at_millis = closed_at(children, plan.now);
            (parent.number, ClosedRow { at_millis, next: parent.progress().next })
        });
        let saved = keeper.store.save(&self.state.row(after, &ends.collect()));
        saved.inspect_err(|_| {
            // Perhaps the store has it: a record taken now might be in a shard that is closed.
            parents.iter().for_each(|parent| parent.stop());
        })?;
        Ok(())
    }
}

fn closed_at(children: &[Arc<Shard>], now: Now) -> u64 {
    children.first().map_or(now.wall_millis, |child| child.created_at_millis)
}

/// A reshard under way, seen by nobody yet.
struct Reshard {
    now: Now,
    next_number: u32,
    /// In the order of ranges.
    open: Vec<Arc<Shard>>,
    added: Vec<Arc<Shard>>,
    /// Parents with their children, parents of parents first.
    closed: Vec<(Arc<Shard>, Vec<Arc<Shard>>)>,
}

impl Reshard {
    fn new(map: &ShardMap, now: Now) -> Self {
        let (added, closed) = (Vec::new(), Vec::new());
        Self { now, next_number: map.next_number(), open: map.open().to_vec(), added, closed }
    }

    fn slot_of(&self, shard: ShardNumber) -> usize {
        self.open.iter().position(|open| open.number == shard).unwrap_or(0)
    }

    fn split(&mut self, shard: ShardNumber, at: u128) -> [ShardNumber; 2] {
        let slot = self.slot_of(shard);
        let range = self.open[slot].range;
        let ranges = [HashKeyRange { end: at - 1, ..range }, HashKeyRange { start: at, ..range }];
        let children = self.replace(slot..slot + 1, &ranges);
        [children[0].number, children[1].number]
    }

    /// Merges the shard in this slot with the next one.
    fn merge_slots(&mut self, slot: usize) -> ShardNumber {
        let (start, end) = (self.open[slot].range.start, self.open[slot + 1].range.end);
        self.replace(slot..slot + 2, &[HashKeyRange { start, end }])[0].number
    }

    /// Makes one open shard of exactly this range.
    fn fit(&mut self, target: HashKeyRange) {
        for boundary in [Some(target.start), target.end.checked_add(1)].into_iter().flatten() {
            let slot = self.open.partition_point(|shard| shard.range.end < boundary);
            if self.open[slot].range.start < boundary {
                self.split(self.open[slot].number, boundary);
            }
        }
        let first = self.open.partition_point(|shard| shard.range.end < target.start);
        let mut count =
            self.open[first..].iter().take_while(|shard| shard.range.end <= target.end).count();
        // In rounds of pairs, so that the lineage is as deep as the logarithm of the count.
        while count > 1 {
            for pair in 0..count / 2 {
                self.merge_slots(first + pair);
            }
            count = count.div_ceil(2);
        }
    }

    /// Closes the shards of some slots and opens shards of these ranges in their place.
    fn replace(
        &mut self,
        slots: std::ops::Range<usize>,
        ranges: &[HashKeyRange],
    ) -> Vec<Arc<Shard>> {
        let parents: Vec<_> = self.open[slots.clone()].to_vec();
        // Above all parents', so that sequence numbers are too.
        let created_at = parents.iter().map(|parent| parent.created_at_millis + 1).max();
        let created_at = created_at.unwrap_or(0).max(self.now.wall_millis);
        let numbers: BTreeSet<_> = parents.iter().map(|parent| parent.number).collect();
        let children: Vec<_> = (self.next_number..)
            .zip(ranges)
            .map(|(number, range)| {
                let number = ShardNumber(number);
                Arc::new(Shard::new(number, *range, numbers.clone(), created_at, self.now))
            })
            .collect();
        self.next_number += children.len() as u32;
        self.open.splice(slots, children.iter().cloned());
        self.added.extend(children.iter().cloned());
        self.closed.extend(parents.into_iter().map(|parent| (parent, children.clone())));
        children
    }
}

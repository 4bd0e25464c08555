//! Do the open shards still cover the whole hash key space, each key once?

use std::collections::{BTreeMap, BTreeSet};

use crate::hash_range::HashKeyRange;
use crate::ids::{LeaseKey, ShardId};
use crate::lineage::startable;
use crate::rows::Lease;

/// A stretch of the hash key space that is not covered as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Where.
    pub range: HashKeyRange,
    /// By how many leases: 0 is a hole, 2 or more an overlap.
    pub cover: usize,
}

/// Finds holes and overlaps. A hole is a key that no unfinished lease covers; children that wait
/// for a parent count, for they are pending. An overlap is a key that two leases cover which may
/// both be processed now; a child that waits does not overlap with its parent.
pub fn audit(leases: &BTreeMap<LeaseKey, Lease>, listed: &BTreeSet<ShardId>) -> Vec<Fault> {
    let unfinished = || leases.values().filter(|lease| !lease.is_ended());
    let holes = covers(unfinished().map(|lease| lease.range)).into_iter();
    let running = unfinished().filter(|lease| startable(lease, leases, listed));
    let overlaps = covers(running.map(|lease| lease.range)).into_iter();
    holes.filter(|fault| fault.cover == 0).chain(overlaps.filter(|fault| fault.cover > 1)).collect()
}

/// The hash key space cut where any range starts or ends, with how many ranges cover each piece.
fn covers(ranges: impl Iterator<Item = HashKeyRange>) -> Vec<Fault> {
    let ranges: Vec<_> = ranges.collect();
    let after_ends = ranges.iter().filter_map(|range| range.end.checked_add(1));
    let cuts: BTreeSet<u128> =
        ranges.iter().map(|range| range.start).chain(after_ends).chain([0]).collect();
    let mut steps: BTreeMap<u128, i64> = BTreeMap::new();
    for range in &ranges {
        *steps.entry(range.start).or_default() += 1;
        if let Some(after) = range.end.checked_add(1) {
            *steps.entry(after).or_default() -= 1;
        }
    }
    let ends = cuts.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
    let mut depth = 0;
    cuts.iter()
        .zip(ends)
        .map(|(start, end)| {
            depth += steps.get(start).copied().unwrap_or(0);
            Fault {
                range: HashKeyRange { start: *start, end },
                cover: usize::try_from(depth).unwrap_or(0),
            }
        })
        .collect()
}

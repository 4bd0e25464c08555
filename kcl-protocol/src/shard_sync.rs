//! Which leases a stream's shards need.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash_range::HashKeyRange;
use crate::ids::{LeaseKey, ShardId};
use crate::rows::{Lease, StreamRow, StreamStart};
use crate::rules::{Mutant, Rules};
use crate::sequence::Checkpoint;
use crate::writes::{LeaseWrite, StreamWrite};

/// The row a worker goes by: the one that stands, whoever made it, and never the one it resolved
/// itself.
pub fn goes_by(mine: StreamRow, stands: Option<StreamRow>, rules: Rules) -> StreamRow {
    match stands {
        Some(stands) if !rules.breaks(Mutant::LatestResolvedTwice) => stands,
        Some(stands) => StreamRow { start: mine.start, ..stands },
        None => mine,
    }
}

/// A shard as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    /// Its id.
    pub id: ShardId,
    /// The shards it came from, also if they are no longer listed.
    pub parents: BTreeSet<ShardId>,
    /// The hash keys whose records it takes or took.
    pub range: HashKeyRange,
}

/// What a shard sync does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncPlan {
    /// Leases to make, each only if absent.
    pub creates: Vec<LeaseWrite>,
    /// To be written once all of them exist.
    pub first_sync_done: Option<StreamWrite>,
    /// Shards whose lease existed once and is gone: somebody deleted the row. Not made anew here,
    /// for whoever owned it may still process the shard; a reconcile round does so once every
    /// worker agrees with the rows.
    pub deleted: Vec<ListedShard>,
}

/// Plans a sync from a listing, the leases and the stream's row.
///
/// Every listed shard needs a lease, closed ones too: they hold records until these are trimmed.
///
/// The leases of the first sync start where the stream's row says, all later ones at the trim
/// horizon, because their records came while the application ran. After the first sync a listed
/// shard without a row is **new** if a parent is new or unfinished: its row is normally made by
/// whoever ends that parent, and nobody can have processed it yet. Otherwise the row existed (it
/// was made in the transaction that ended its parents, or in the first sync) and was deleted.
pub fn plan_sync(
    listed: &[ListedShard],
    leases: &BTreeMap<LeaseKey, Lease>,
    stream: &StreamRow,
    key_of: impl Fn(&ShardId) -> LeaseKey,
) -> SyncPlan {
    let mut plan = SyncPlan::default();
    let mut new = BTreeSet::new();
    let mut in_order: Vec<_> = listed.iter().collect();
    // Children have higher ids than their parents.
    in_order.sort_by(|a, b| a.id.cmp(&b.id));
    for shard in in_order {
        let key = key_of(&shard.id);
        if leases.contains_key(&key) {
            continue;
        }
        let follows = |parent: &ShardId| {
            new.contains(parent)
                || leases.get(&key_of(parent)).is_some_and(|lease| !lease.is_ended())
        };
        if !stream.first_sync_done {
            let checkpoint = first_checkpoint(&stream.start, &shard.id);
            plan.creates.push(create(key, shard, checkpoint));
        } else if shard.parents.iter().any(follows) {
            new.insert(shard.id.clone());
            plan.creates.push(create(key, shard, Checkpoint::TrimHorizon));
        } else {
            plan.deleted.push(shard.clone());
        }
    }
    if !stream.first_sync_done {
        plan.first_sync_done = Some(StreamWrite::FirstSyncDone(stream.name.clone()));
    }
    plan
}

/// The children, as far as they are listed, of a shard that the stream has dropped, or what came
/// out of them if they are dropped too; `None` unless the listing proves that: it lacks the shard,
/// and shows one with some of the same hash keys that was made later. The shard was closed for that
/// one, so this is no listing from before the shard.
///
/// What the stream has dropped can never be read to its end. Its lease may be ended then, for its
/// children wait for that.
pub fn children_of_dropped<'a>(
    shard: &ShardId,
    range: HashKeyRange,
    listed: &'a [ListedShard],
) -> Option<Vec<&'a ListedShard>> {
    let is_listed = |id: &ShardId| listed.iter().any(|other| other.id == *id);
    let is_later = |other: &&ListedShard| other.id > *shard && other.range.overlaps(&range);
    let later: Vec<_> = listed.iter().filter(is_later).collect();
    if is_listed(shard) || later.is_empty() {
        return None;
    }
    let (children, others): (Vec<_>, Vec<_>) =
        later.into_iter().partition(|other| other.parents.contains(shard));
    if !children.is_empty() {
        return Some(children);
    }
    Some(others.into_iter().filter(|other| !other.parents.iter().any(is_listed)).collect())
}

fn first_checkpoint(start: &StreamStart, shard: &ShardId) -> Checkpoint {
    match start {
        StreamStart::TrimHorizon => Checkpoint::TrimHorizon,
        StreamStart::AtTimestamp(millis) => Checkpoint::AtTimestamp(*millis),
        StreamStart::After(tips) => {
            tips.get(shard).map_or(Checkpoint::TrimHorizon, |tip| Checkpoint::At(*tip))
        }
    }
}

fn create(key: LeaseKey, shard: &ListedShard, checkpoint: Checkpoint) -> LeaseWrite {
    let mut lease = Lease::unowned(key, checkpoint, shard.range);
    lease.parents.clone_from(&shard.parents);
    LeaseWrite::Create(lease)
}

//! Tables of cases: which leases a stream's shards need, and what a reconcile round finds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_protocol::hash_audit::audit;
use kcl_protocol::limits::{DEAD_WORKER_KEPT, ENDED_LEASE_KEPT};
use kcl_protocol::reconcile::{disagrees, finished, forgettable};
use kcl_protocol::shard_sync::{ListedShard, SyncPlan, plan_sync};
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Fence, HashKeyRange, Lease, LeaseKey, LeaseTiming, Position, Row,
    SequenceNumber, ShardId, StreamRow, StreamStart, StreamWrite, WorkerId, WorkerRow, WorkerState,
};

fn shard(number: u32) -> ShardId {
    ShardId::from(format!("shardId-{number:012}"))
}

fn key(number: u32) -> LeaseKey {
    LeaseKey::new(shard(number).as_str())
}

/// A quarter of the hash key space, or several.
fn quarters(first: u128, last: u128) -> HashKeyRange {
    let quarter = 1u128 << 126;
    HashKeyRange { start: first * quarter, end: last * quarter + (quarter - 1) }
}

fn listed(number: u32, parents: &[u32], range: HashKeyRange) -> ListedShard {
    let parents = parents.iter().map(|parent| shard(*parent)).collect();
    ListedShard { id: shard(number), parents, range }
}

fn position(sequence: u64) -> Position {
    SequenceNumber::from_parts(0, sequence.into()).into()
}

fn stream(start: StreamStart, first_sync_done: bool) -> StreamRow {
    StreamRow { name: "flights".into(), created_at_millis: 7, start, first_sync_done }
}

/// The lease of a listed shard as it stands at a checkpoint.
fn lease(of: &ListedShard, checkpoint: Checkpoint) -> Lease {
    let mut lease = Lease::unowned(LeaseKey::new(of.id.as_str()), checkpoint, of.range);
    lease.parents.clone_from(&of.parents);
    lease
}

fn table(leases: impl IntoIterator<Item = Lease>) -> BTreeMap<LeaseKey, Lease> {
    leases.into_iter().map(|lease| (lease.key.clone(), lease)).collect()
}

fn sync(shards: &[ListedShard], leases: &BTreeMap<LeaseKey, Lease>, row: &StreamRow) -> SyncPlan {
    let plan = plan_sync(shards, leases, row, |shard| LeaseKey::new(shard.as_str()));
    let mut turned = shards.to_vec();
    turned.reverse();
    let again = plan_sync(&turned, leases, row, |shard| LeaseKey::new(shard.as_str()));
    assert_eq!(plan, again, "the order of the listing says nothing");
    plan
}

/// The leases a plan makes.
fn made(plan: &SyncPlan) -> BTreeMap<LeaseKey, Lease> {
    let rows = plan.creates.iter().map(|write| {
        ConditionalWrite::Lease(write.clone()).apply(None).unwrap().and_then(Row::into_lease)
    });
    table(rows.map(Option::unwrap))
}

fn deleted(plan: &SyncPlan) -> Vec<ShardId> {
    plan.deleted.iter().map(|shard| shard.id.clone()).collect()
}

#[test]
fn the_first_sync_makes_a_lease_of_every_listed_shard_where_the_stream_starts() {
    let shards = [
        listed(0, &[], quarters(0, 3)),
        listed(1, &[0], quarters(0, 1)),
        listed(2, &[0], quarters(2, 3)),
    ];
    let tips = BTreeMap::from([(shard(0), position(5)), (shard(2), position(9))]);
    for (start, checkpoints) in [
        (StreamStart::TrimHorizon, [Checkpoint::TrimHorizon; 3]),
        (StreamStart::AtTimestamp(9), [Checkpoint::AtTimestamp(9); 3]),
        (
            StreamStart::After(tips),
            // A shard that was made after the tips were read starts at the beginning.
            [Checkpoint::At(position(5)), Checkpoint::TrimHorizon, Checkpoint::At(position(9))],
        ),
    ] {
        let plan = sync(&shards, &BTreeMap::new(), &stream(start, false));
        let leases = made(&plan);
        assert_eq!(leases.values().map(|lease| lease.checkpoint).collect::<Vec<_>>(), checkpoints);
        assert_eq!(leases[&key(2)].parents, BTreeSet::from([shard(0)]));
        assert_eq!(leases[&key(2)].range, quarters(2, 3));
        assert!(leases.values().all(|lease| lease.owner.is_none() && lease.fence == Fence(0)));
        assert_eq!(plan.first_sync_done, Some(StreamWrite::FirstSyncDone("flights".into())));
        assert_eq!(plan.deleted, []);
    }
}

#[test]
fn a_first_sync_that_was_cut_short_makes_the_rest() {
    let shards = [listed(0, &[], quarters(0, 1)), listed(1, &[], quarters(2, 3))];
    let leases = table([lease(&shards[0], Checkpoint::At(position(3)))]);
    let plan = sync(&shards, &leases, &stream(StreamStart::TrimHorizon, false));
    assert_eq!(made(&plan).into_keys().collect::<Vec<_>>(), [key(1)]);
    assert!(plan.first_sync_done.is_some());
}

#[test]
fn a_second_sync_of_the_same_shards_does_nothing() {
    let shards = [listed(0, &[], quarters(0, 1)), listed(1, &[], quarters(2, 3))];
    let leases = table(shards.iter().map(|shard| lease(shard, Checkpoint::TrimHorizon)));
    let plan = sync(&shards, &leases, &stream(StreamStart::TrimHorizon, true));
    assert_eq!(plan, SyncPlan::default());
}

#[test]
fn children_of_an_unfinished_split_or_merge_start_at_the_trim_horizon() {
    let shards = [
        listed(0, &[], quarters(0, 1)),
        listed(1, &[], quarters(2, 3)),
        // A split, a merge of one child with another shard, and a split of the merged one.
        listed(2, &[0], quarters(0, 0)),
        listed(3, &[0], quarters(1, 1)),
        listed(4, &[3, 1], quarters(1, 3)),
        listed(5, &[4], quarters(1, 2)),
        listed(6, &[4], quarters(3, 3)),
    ];
    let old = &shards[..2];
    let leases = table(old.iter().map(|shard| lease(shard, Checkpoint::At(position(1)))));
    let tips = StreamStart::After(BTreeMap::from([(shard(2), position(8))]));
    let plan = sync(&shards, &leases, &stream(tips, true));
    let new = made(&plan);
    assert_eq!(new.keys().cloned().collect::<Vec<_>>(), [2, 3, 4, 5, 6].map(key));
    assert!(new.values().all(|lease| lease.checkpoint == Checkpoint::TrimHorizon));
    assert_eq!((plan.deleted, plan.first_sync_done), (vec![], None));
}

#[test]
fn children_of_which_one_parent_is_unfinished_are_new() {
    let shards = [
        listed(0, &[], quarters(0, 1)),
        listed(1, &[], quarters(2, 3)),
        listed(2, &[0, 1], quarters(0, 3)),
    ];
    let leases = table([
        lease(&shards[0], Checkpoint::ShardEnd),
        lease(&shards[1], Checkpoint::TrimHorizon),
    ]);
    let plan = sync(&shards, &leases, &stream(StreamStart::TrimHorizon, true));
    assert_eq!(made(&plan).into_keys().collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn a_row_that_must_have_existed_is_reported_and_not_made() {
    let parent = listed(0, &[], quarters(0, 3));
    let child = listed(1, &[0], quarters(0, 3));
    let grandchild = listed(2, &[1], quarters(0, 3));
    let row = stream(StreamStart::TrimHorizon, true);
    // A shard of the first sync.
    assert_eq!(deleted(&sync(std::slice::from_ref(&parent), &BTreeMap::new(), &row)), [shard(0)]);
    // A child whose parent has ended: the end made its row.
    let ended = table([lease(&parent, Checkpoint::ShardEnd)]);
    let plan = sync(&[parent, child.clone()], &ended, &row);
    assert_eq!((deleted(&plan), plan.creates.len()), (vec![shard(1)], 0));
    // One whose parents were trimmed and whose rows were removed, and what follows it.
    let plan = sync(&[child, grandchild], &BTreeMap::new(), &row);
    assert_eq!((deleted(&plan), plan.creates.len()), (vec![shard(1), shard(2)], 0));
}

#[test]
fn a_closed_shard_whose_parent_was_trimmed_gets_a_lease_in_the_first_sync() {
    let shards = [listed(3, &[1], quarters(0, 3)), listed(4, &[3], quarters(0, 3))];
    let plan = sync(&shards, &BTreeMap::new(), &stream(StreamStart::TrimHorizon, false));
    assert_eq!(made(&plan).into_keys().collect::<Vec<_>>(), [3, 4].map(key));
}

#[test]
fn a_sync_makes_what_is_listed_and_the_audit_finds_gaps_and_overlaps() {
    let row = stream(StreamStart::TrimHorizon, false);
    let two = |first, second| [listed(0, &[], first), listed(1, &[], second)];
    for (shards, fault) in [
        (two(quarters(0, 1), quarters(2, 3)), None),
        (two(quarters(0, 0), quarters(2, 3)), Some((quarters(1, 1), 0))),
        (two(quarters(0, 2), quarters(2, 3)), Some((quarters(2, 2), 2))),
    ] {
        let leases = made(&sync(&shards, &BTreeMap::new(), &row));
        assert_eq!(leases.len(), 2);
        let ids = shards.iter().map(|shard| shard.id.clone()).collect();
        let found = audit(&leases, &ids);
        assert_eq!(found.first().map(|fault| (fault.range, fault.cover)), fault);
    }
}

fn worker(name: &str, state: WorkerState) -> WorkerRow {
    let timing = LeaseTiming::new(Duration::from_secs(3), Duration::ZERO);
    WorkerRow { state, ..WorkerRow::live(WorkerId::new(name), timing) }
}

fn owned(number: u32, owner: &str, fence: u64) -> Lease {
    let mut lease = Lease::unowned(key(number), Checkpoint::TrimHorizon, HashKeyRange::FULL);
    (lease.owner, lease.fence) = (Some(WorkerId::new(owner)), Fence(fence));
    lease
}

#[test]
fn a_live_worker_disagrees_if_it_holds_more_fewer_or_other_fences_than_its_rows_say() {
    let rows = table([owned(0, "a", 3), owned(1, "a", 4), owned(2, "b", 9)]);
    for (held, state, expected) in [
        (vec![(0, 3), (1, 4)], WorkerState::Live, false),
        (vec![(1, 4), (0, 3)], WorkerState::Live, false),
        (vec![(0, 3)], WorkerState::Live, true),
        (vec![(0, 3), (1, 5)], WorkerState::Live, true),
        (vec![(0, 3), (1, 4), (2, 9)], WorkerState::Live, true),
        (vec![], WorkerState::Live, true),
        // The dead hold nothing, whatever they said last.
        (vec![], WorkerState::Fenced, false),
        (vec![], WorkerState::Missing, false),
    ] {
        let mut row = worker("a", state);
        held.iter().for_each(|(number, fence)| row.digest.add(&key(*number), Fence(*fence)));
        assert_eq!(disagrees(&row, &rows), expected, "{held:?} {state:?}");
    }
}

#[test]
fn a_worker_is_forgotten_when_long_dead_and_named_by_no_lease() {
    let just_before = DEAD_WORKER_KEPT - Duration::from_nanos(1);
    for (state, dead_for, is_named, expected) in [
        (WorkerState::Fenced, DEAD_WORKER_KEPT, false, true),
        (WorkerState::Gone, DEAD_WORKER_KEPT, false, true),
        (WorkerState::Fenced, just_before, false, false),
        (WorkerState::Fenced, DEAD_WORKER_KEPT, true, false),
        (WorkerState::Live, DEAD_WORKER_KEPT, false, false),
        (WorkerState::Missing, DEAD_WORKER_KEPT, false, false),
    ] {
        let row = worker("a", state);
        let leases = table([owned(0, if is_named { "a" } else { "b" }, 1)]);
        let workers = BTreeMap::from([(row.id.clone(), row.clone())]);
        let writes = forgettable(&workers, &leases, |_| dead_for);
        assert_eq!(writes.len() == 1, expected, "{state:?} {dead_for:?} {is_named}");
        for write in writes {
            assert_eq!(write.apply(Some(&Row::Worker(row.clone()))), Ok(None));
            // Conditioned on the state: not one that was registered meanwhile.
            let other = Row::Worker(worker("a", WorkerState::Live));
            assert!(write.apply(Some(&other)).is_err());
        }
    }
}

#[test]
fn an_ended_lease_is_marked_when_unlisted_and_removed_once_its_children_are_under_way() {
    const NOW: u64 = 10_000_000;
    let kept = u64::try_from(ENDED_LEASE_KEPT.as_millis()).unwrap();
    let under_way = Checkpoint::At(position(1));
    let (long, short) = (Some(NOW - kept), Some(NOW - kept + 1));
    for (checkpoint, is_listed, since, child, expected) in [
        // Not ended: nothing, listed or not.
        (under_way, false, None, None, "nothing"),
        (Checkpoint::ShardEnd, true, None, None, "nothing"),
        (Checkpoint::ShardEnd, false, None, None, "marked"),
        (Checkpoint::ShardEnd, true, long, None, "unmarked"),
        (Checkpoint::ShardEnd, false, short, Some(under_way), "nothing"),
        (Checkpoint::ShardEnd, false, long, Some(Checkpoint::TrimHorizon), "nothing"),
        (Checkpoint::ShardEnd, false, long, Some(Checkpoint::AtTimestamp(3)), "nothing"),
        (Checkpoint::ShardEnd, false, long, Some(under_way), "removed"),
        (Checkpoint::ShardEnd, false, long, Some(Checkpoint::ShardEnd), "removed"),
        // A child without a row was removed in turn.
        (Checkpoint::ShardEnd, false, long, None, "removed"),
    ] {
        let mut parent = Lease::unowned(key(0), checkpoint, HashKeyRange::FULL);
        parent.unlisted_since_millis = since;
        parent.children = BTreeSet::from([shard(1)]);
        let child = child.map(|at| Lease::unowned(key(1), at, HashKeyRange::FULL));
        let leases = table(child.into_iter().chain([parent.clone()]));
        let writes = finished(&leases, |of| *of != key(0) || is_listed, NOW);
        let row = Row::Lease(parent.clone());
        let after = writes.first().map(|write| write.apply(Some(&row)).unwrap());
        let mark = |since| {
            let marked = Lease { unlisted_since_millis: since, ..parent.clone() };
            Some(Some(Row::Lease(marked)))
        };
        let expected = match expected {
            "marked" => mark(Some(NOW)),
            "unmarked" => mark(None),
            "removed" => Some(None),
            _ => None,
        };
        assert_eq!(after, expected, "{checkpoint:?} {is_listed} {since:?}");
        assert!(writes.len() <= 1);
    }
}

//! Which leases a listing asks for.

use std::collections::BTreeMap;

use kcl_protocol::shard_sync::{ListedShard, SyncPlan, children_of_dropped, goes_by, plan_sync};
use kcl_protocol::{
    Checkpoint, HashKeyRange, Lease, LeaseKey, LeaseWrite, Rules, ShardId, StreamName, StreamRow,
    StreamStart, StreamWrite,
};

use super::{at, key, lease};

fn stream(start: StreamStart, first_sync_done: bool) -> StreamRow {
    StreamRow { name: StreamName::from("s"), created_at_millis: 1, start, first_sync_done }
}

fn listed(name: &str, parents: &[&str]) -> ListedShard {
    ListedShard {
        id: ShardId::from(name),
        parents: parents.iter().map(|parent| ShardId::from(*parent)).collect(),
        range: HashKeyRange::FULL,
    }
}

fn plan(shards: &[ListedShard], leases: &[Lease], stream: &StreamRow) -> SyncPlan {
    let leases: BTreeMap<LeaseKey, Lease> =
        leases.iter().map(|lease| (lease.key.clone(), lease.clone())).collect();
    plan_sync(shards, &leases, stream, |shard| LeaseKey::new(shard.as_str()))
}

fn made(plan: &SyncPlan) -> Vec<(&str, Checkpoint)> {
    let row = |write: &'_ LeaseWrite| match write {
        LeaseWrite::Create(lease) => (lease.key.clone(), lease.checkpoint),
        other => unreachable!("a sync only creates: {other:?}"),
    };
    let rows: Vec<_> = plan.creates.iter().map(row).collect();
    let name = |key: &LeaseKey| ["a", "b", "c", "d"].into_iter().find(|name| key.as_str() == *name);
    rows.into_iter().filter_map(|(key, from)| Some((name(&key)?, from))).collect()
}

#[test]
fn leases_of_the_first_sync_start_where_the_streams_row_says() {
    let shards = [listed("a", &[]), listed("b", &[])];
    let time = plan(&shards, &[], &stream(StreamStart::AtTimestamp(9), false));
    assert_eq!(made(&time), [("a", Checkpoint::AtTimestamp(9)), ("b", Checkpoint::AtTimestamp(9))]);
    assert_eq!(time.first_sync_done, Some(StreamWrite::FirstSyncDone(StreamName::from("s"))));
    let horizon = plan(&shards, &[], &stream(StreamStart::TrimHorizon, false));
    assert_eq!(made(&horizon), [("a", Checkpoint::TrimHorizon), ("b", Checkpoint::TrimHorizon)]);
    let Checkpoint::At(tip) = at(7) else { unreachable!("a position") };
    let tips = StreamStart::After([(ShardId::from("a"), tip)].into());
    let tips = plan(&shards, &[], &stream(tips, false));
    assert_eq!(made(&tips), [("a", at(7)), ("b", Checkpoint::TrimHorizon)]);
}

#[test]
fn later_only_children_of_new_or_unfinished_shards_are_made_and_the_rest_was_deleted() {
    let open = Lease { key: key("a"), ..lease(None, 1) };
    let ended = Lease { key: key("b"), checkpoint: Checkpoint::ShardEnd, ..lease(None, 1) };
    let shards = [
        listed("d", &["c"]),
        listed("c", &["a"]),
        listed("a", &[]),
        listed("e", &["b"]),
        listed("f", &[]),
    ];
    let row = stream(StreamStart::AtTimestamp(9), true);
    let plan = plan(&shards, &[open, ended], &row);
    assert_eq!(made(&plan), [("c", Checkpoint::TrimHorizon), ("d", Checkpoint::TrimHorizon)]);
    assert_eq!(plan.first_sync_done, None);
    let deleted: Vec<_> = plan.deleted.iter().map(|shard| shard.id.as_str()).collect();
    assert_eq!(deleted, ["e", "f"]);
}

#[test]
fn whoever_comes_later_goes_by_the_row_that_stands() {
    let mine = stream(StreamStart::AtTimestamp(9), false);
    let stands = stream(StreamStart::AtTimestamp(5), true);
    assert_eq!(goes_by(mine.clone(), Some(stands.clone()), Rules::ALL), stands);
    assert_eq!(goes_by(mine.clone(), None, Rules::ALL), mine);
}

#[test]
fn a_shard_is_dropped_if_a_later_one_took_its_hash_keys_and_it_is_not_listed() {
    let all = HashKeyRange::FULL;
    let children = |shard: &str, range, listed: &[ListedShard]| {
        let children = children_of_dropped(&ShardId::from(shard), range, listed)?;
        Some(children.iter().map(|child| child.id.as_str().to_owned()).collect::<Vec<_>>())
    };
    let halves = [listed("c", &["b"]), listed("d", &["b"])];
    assert_eq!(children("b", all, &halves), Some(vec!["c".to_owned(), "d".to_owned()]));
    let next = [listed("c", &["b"]), listed("d", &["b"]), listed("e", &["c", "d"])];
    let first = Some(vec!["c".to_owned(), "d".to_owned()]);
    assert_eq!(children("a", all, &next), first, "its children are dropped too");
    assert_eq!(children("e", all, &halves), None, "a listing from before the shard");
    assert_eq!(children("b", all, &[]), None);
    let with_it = [listed("b", &[]), listed("c", &["b"])];
    assert_eq!(children("b", all, &with_it), None, "it is still listed");
    let [low, high] = [HashKeyRange::new(0, 9), HashKeyRange::new(10, 19)].map(Option::unwrap);
    let elsewhere = [ListedShard { range: high, ..listed("c", &[]) }];
    assert_eq!(children("b", low, &elsewhere), None, "nobody took its hash keys");
}

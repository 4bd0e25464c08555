//! What a round of reconciliation finds.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_protocol::limits::{DEAD_WORKER_KEPT, ENDED_LEASE_KEPT};
use kcl_protocol::reconcile::{disagrees, finished, forgettable};
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Fence, HeldDigest, Lease, LeaseKey, RowKey, ShardId, WorkerId,
    WorkerRow, WorkerState,
};

use super::{applied, at, id, key, lease, row};

fn rows(leases: &[Lease]) -> BTreeMap<LeaseKey, Lease> {
    leases.iter().map(|lease| (lease.key.clone(), lease.clone())).collect()
}

fn named(name: &str, lease: Lease) -> Lease {
    Lease { key: key(name), ..lease }
}

#[test]
fn a_live_worker_disagrees_if_its_digest_is_not_that_of_its_rows() {
    let leases = rows(&[
        named("a", lease(Some("p"), 4)),
        named("b", lease(Some("p"), 2)),
        named("c", lease(Some("q"), 1)),
    ]);
    let mut digest = HeldDigest::default();
    digest.add(&key("a"), Fence(4));
    let half = WorkerRow { digest, ..row("p", 1) };
    digest.add(&key("b"), Fence(2));
    let all = WorkerRow { digest, ..row("p", 1) };
    assert!(!disagrees(&all, &leases));
    assert!(disagrees(&half, &leases));
    assert!(!disagrees(&WorkerRow { state: WorkerState::Fenced, ..half }, &leases));
}

#[test]
fn a_dead_workers_row_goes_after_an_hour_once_no_lease_names_it() {
    let dead = |name| WorkerRow { state: WorkerState::Gone, ..row(name, 1) };
    let workers: BTreeMap<_, _> = [dead("old"), dead("young"), dead("named"), row("live", 1)]
        .map(|row| (row.id.clone(), row))
        .into();
    let leases = rows(&[lease(Some("named"), 4)]);
    let dead_for = |id: &WorkerId| match id.as_str() {
        "young" => DEAD_WORKER_KEPT - Duration::from_secs(1),
        _ => DEAD_WORKER_KEPT,
    };
    let keys: Vec<_> =
        forgettable(&workers, &leases, dead_for).iter().map(ConditionalWrite::key).collect();
    assert_eq!(keys, [RowKey::Worker(id("old"))]);
}

#[test]
fn an_ended_lease_goes_an_hour_after_its_shard_once_its_children_have_checkpoints() {
    let child = |name: &str, checkpoint| named(name, Lease { checkpoint, ..lease(None, 1) });
    let ended = |since| Lease {
        checkpoint: Checkpoint::ShardEnd,
        children: [ShardId::from("b"), ShardId::from("c")].into(),
        unlisted_since_millis: since,
        ..lease(None, 5)
    };
    let hour = u64::try_from(ENDED_LEASE_KEPT.as_millis()).unwrap();
    let write = |since, children: &[Lease], listed: bool, now| {
        let mut leases = rows(children);
        leases.insert(key("a"), ended(since));
        let writes = finished(&leases, |each| listed || *each != key("a"), now);
        match &writes[..] {
            [] => None,
            [ConditionalWrite::Lease(write)] => Some(write.clone()),
            more => unreachable!("one lease, {more:?}"),
        }
    };
    let started = [child("b", at(1)), child("c", Checkpoint::ShardEnd)];
    let waiting = [child("b", at(1)), child("c", Checkpoint::TrimHorizon)];
    let noted = write(None, &started, false, 7).unwrap();
    assert_eq!(applied(&noted, &ended(None)).unwrap().unlisted_since_millis, Some(7));
    let back = write(Some(7), &started, true, 8).unwrap();
    assert_eq!(applied(&back, &ended(Some(7))).unwrap().unlisted_since_millis, None);
    assert_eq!(write(None, &started, true, 8), None);
    assert_eq!(write(Some(7), &started, false, 7 + hour - 1), None);
    assert_eq!(write(Some(7), &waiting, false, 7 + hour), None);
    let gone = ConditionalWrite::Lease(write(Some(7), &started, false, 7 + hour).unwrap());
    let row = kcl_protocol::Row::Lease(ended(Some(7)));
    assert_eq!(gone.apply(Some(&row)), Ok(None));
    assert!(write(Some(7), &[], false, 7 + hour).is_some(), "children removed in turn");
    let open = kcl_protocol::Row::Lease(lease(None, 5));
    assert!(gone.apply(Some(&open)).is_err(), "only an ended lease is removed");
}

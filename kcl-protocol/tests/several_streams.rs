//! Plans for a fleet whose workers do not all read the same streams.

use std::collections::{BTreeMap, BTreeSet};

use kcl_protocol::assign::{Load, Member, Readiness, Why, plan};
use kcl_protocol::{LeaseKey, Reads, ShardId, StreamTag, WorkerId};
use proptest::prelude::*;

fn worker(number: usize) -> WorkerId {
    WorkerId::from(format!("worker-{number}"))
}
fn prefix(stream: usize) -> String {
    format!("1:stream-{stream}:17")
}
fn key(stream: usize, shard: usize) -> LeaseKey {
    LeaseKey::in_stream(&prefix(stream), &ShardId::from(format!("shardId-{shard:012}")))
}
fn reads(streams: &BTreeSet<usize>) -> Reads {
    Reads::Streams(streams.iter().map(|stream| StreamTag::of(&prefix(*stream))).collect())
}
fn member(number: usize, streams: &BTreeSet<usize>) -> Member {
    Member { id: worker(number), draining: false, capacity: u32::MAX, reads: reads(streams) }
}
fn load(key: &LeaseKey, owner: Option<WorkerId>) -> Load {
    Load { key: key.clone(), owner, weight: 1, readiness: Readiness::Ready }
}

/// A fleet: what each worker reads, and who holds each lease.
#[derive(Clone, Debug)]
struct Fleet {
    members: Vec<BTreeSet<usize>>,
    leases: BTreeMap<LeaseKey, Option<WorkerId>>,
}

impl Fleet {
    fn members(&self) -> Vec<Member> {
        self.members.iter().enumerate().map(|(at, streams)| member(at, streams)).collect()
    }
    fn loads(&self) -> Vec<Load> {
        self.leases.iter().map(|(key, owner)| load(key, owner.clone())).collect()
    }
    /// Carries a plan out; which leases moved.
    fn carry_out(&mut self) -> BTreeSet<LeaseKey> {
        let plan = plan(&self.members(), &self.loads());
        let moved = plan.moves.into_iter().map(|step| {
            self.leases.insert(step.lease.clone(), Some(step.to));
            step.lease
        });
        moved.collect()
    }
    fn readers(&self, lease: &LeaseKey) -> BTreeSet<WorkerId> {
        let members = self.members();
        members.iter().filter(|one| one.reads.reads(lease)).map(|one| one.id.clone()).collect()
    }
    /// Of two workers that both read a lease, its holder is at most one ahead, counted over the
    /// leases with so few readers or fewer.
    fn is_even(&self) -> bool {
        let group = |lease: &LeaseKey| {
            let readers: Vec<_> = self.readers(lease).into_iter().collect();
            (readers.len(), readers)
        };
        self.leases.iter().all(|(lease, holder)| {
            let Some(holder) = holder else { return true };
            let count = |worker: &WorkerId| {
                let held = self.leases.iter().filter(|(_, owner)| owner.as_ref() == Some(worker));
                held.filter(|(key, _)| group(key) <= group(lease)).count()
            };
            self.readers(lease).iter().all(|reader| count(holder) <= count(reader) + 1)
        })
    }
}

fn fleets() -> impl Strategy<Value = Fleet> {
    let members = prop::collection::vec(prop::collection::btree_set(0usize..4, 0..4), 1..6);
    let leases = prop::collection::btree_map((0usize..4, 0usize..9), 0usize..8, 0..30);
    (members, leases).prop_map(|(members, leases)| {
        let owned = leases.into_iter().map(|((stream, shard), owner)| {
            let reads = members.get(owner).is_some_and(|streams| streams.contains(&stream));
            (key(stream, shard), reads.then(|| worker(owner)))
        });
        Fleet { leases: owned.collect(), members }
    })
}

proptest! {
    #[test]
    fn every_lease_goes_to_a_worker_that_reads_its_stream_or_waits_for_one(fleet in fleets()) {
        let plan = plan(&fleet.members(), &fleet.loads());
        for step in &plan.moves {
            prop_assert!(fleet.readers(&step.lease).contains(&step.to));
        }
        let waits: BTreeSet<_> = plan.report.unassigned.iter().map(|left| {
            assert_eq!(left.why, Why::NobodyReads);
            left.lease.clone()
        }).collect();
        let unread = fleet.leases.keys().filter(|lease| fleet.readers(lease).is_empty());
        prop_assert_eq!(waits, unread.cloned().collect::<BTreeSet<_>>());
    }

    #[test]
    fn nothing_moves_in_circles_whatever_each_worker_reads(mut fleet in fleets()) {
        fleet.carry_out();
        prop_assert!(fleet.is_even(), "{:?}", fleet);
        prop_assert_eq!(fleet.carry_out(), BTreeSet::new());
    }

    #[test]
    fn a_plan_carried_out_by_halves_is_finished_by_the_next_ones(
        mut fleet in fleets(),
        halves in any::<u64>(),
    ) {
        let whole = fleet.clone();
        for round in 0..40 {
            let steps = plan(&fleet.members(), &fleet.loads()).moves;
            if steps.is_empty() {
                break;
            }
            for (at, step) in steps.into_iter().enumerate() {
                // At least the first, or nobody would do anything.
                if at == 0 || (halves >> ((at + round) % 64)) & 1 == 1 {
                    fleet.leases.insert(step.lease, Some(step.to));
                }
            }
        }
        prop_assert!(fleet.is_even(), "{:?} from {:?}", fleet, whole);
        prop_assert_eq!(fleet.carry_out(), BTreeSet::new());
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_its_rows(fleet in fleets()) {
        let (mut members, mut loads) = (fleet.members(), fleet.loads());
        let straight = plan(&members, &loads);
        members.reverse();
        loads.reverse();
        prop_assert_eq!(plan(&members, &loads), straight);
    }
}

#[test]
fn a_stream_that_all_read_alike_is_balanced_over_all_streams_together() {
    let both = BTreeSet::from([0, 1]);
    let members = [member(0, &both), member(1, &both)];
    let leases = [key(0, 0), key(1, 0)];
    let loads: Vec<_> = leases.iter().map(|key| load(key, Some(worker(0)))).collect();
    let plan = plan(&members, &loads);
    assert_eq!(plan.moves.len(), 1, "one each, though each stream has but one shard");
}

#[test]
fn what_few_read_counts_before_what_all_read() {
    let members = [member(0, &BTreeSet::from([0])), member(1, &BTreeSet::from([0, 1]))];
    let alone = (0..3).map(|shard| load(&key(1, shard), Some(worker(1))));
    let shared = (0..3).map(|shard| load(&key(0, shard), Some(worker(1))));
    let loads: Vec<_> = alone.chain(shared).collect();
    let plan = plan(&members, &loads);
    assert_eq!(plan.moves.len(), 3, "all that both read goes to the one that reads nothing else");
    assert!(plan.moves.iter().all(|step| step.to == worker(0)));
    let after: Vec<_> = plan.report.shares.iter().map(|share| share.after.leases).collect();
    assert_eq!(after, [3, 3]);
}

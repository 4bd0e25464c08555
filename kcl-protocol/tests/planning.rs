//! Plans for random fleets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use kcl_protocol::assign::{Amount, Load, Member, MoveReason, Plan, Readiness, Why, plan};
use kcl_protocol::{LeaseKey, Reads, WorkerId, hash};
use proptest::prelude::*;

/// Workers, some of them leaving, and leases with and without owners.
#[derive(Clone, Debug)]
struct World {
    members: Vec<Member>,
    loads: Vec<Load>,
}

fn worker(number: usize) -> WorkerId {
    WorkerId::from(format!("worker-{number}"))
}

/// A world with weights from a range and the room of each worker from another.
fn world(weights: Range<u64>, room: Range<u32>) -> impl Strategy<Value = World> {
    let rooms = prop::collection::vec(room, 1..9);
    // Few or many owners: fleets far from even as well as nearly even ones.
    let owners = prop_oneof![0usize..2, 0usize..14, 12usize..14];
    let leases = prop::collection::vec((owners, weights, 0u8..10), 0..80);
    (rooms, leases, any::<u8>()).prop_map(|(rooms, leases, leaving)| {
        let member = |(number, room): (usize, &u32)| Member {
            id: worker(number),
            draining: number > 0 && leaving >> (number % 8) & 1 == 1,
            capacity: *room,
            reads: Reads::TheOne,
        };
        // Owners beyond the members are dead or nobody.
        let load = |(number, (owner, weight, waits)): (usize, &(usize, u64, u8))| Load {
            key: LeaseKey::from(format!("shardId-{number:012}")),
            owner: (*owner < 12).then(|| worker(*owner)),
            weight: *weight,
            readiness: if *waits == 0 && *owner > 8 {
                Readiness::WaitsForParents
            } else {
                Readiness::Ready
            },
        };
        World {
            members: rooms.iter().enumerate().map(member).collect(),
            loads: leases.iter().enumerate().map(load).collect(),
        }
    })
}

/// All leases count alike, and everybody has room.
fn roomy() -> impl Strategy<Value = World> {
    world(1..2, 1000..1001)
}

impl World {
    fn plan(&self) -> Plan {
        plan(&self.members, &self.loads)
    }
    fn after(&self, plan: &Plan) -> World {
        let mut world = self.clone();
        for step in &plan.moves {
            let load = world.loads.iter_mut().find(|load| load.key == step.lease).unwrap();
            load.owner = Some(step.to.clone());
        }
        world
    }
    fn ready(&self) -> impl Iterator<Item = &Load> {
        self.loads.iter().filter(|load| load.readiness == Readiness::Ready)
    }
    fn held_by<'a>(&'a self, id: &'a WorkerId) -> impl Iterator<Item = &'a Load> {
        self.ready().filter(|load| load.owner.as_ref() == Some(id))
    }
    fn amount(&self, id: &WorkerId) -> Amount {
        self.held_by(id).fold(Amount::default(), |sum, load| Amount {
            weight: sum.weight + load.weight,
            leases: sum.leases + 1,
        })
    }
    fn staying(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.draining)
    }
    /// Each that stays: how many leases it holds, and how many it has room for.
    fn fill(&self) -> Vec<(usize, usize)> {
        let fill = |member: &Member| (self.amount(&member.id).leases, member.capacity as usize);
        self.staying().map(fill).collect()
    }
    /// The fewest moves after which nobody who has room holds two fewer than another, and nobody
    /// is above its room unless all are.
    fn fewest_moves(&self) -> usize {
        let fill = self.fill();
        let total = self.ready().count();
        let up_to = |level: usize| fill.iter().map(|(_, room)| level.min(*room)).sum::<usize>();
        if up_to(usize::MAX) <= total {
            return fill.iter().map(|(count, room)| room.saturating_sub(*count)).sum();
        }
        let level = (0..).take_while(|level| up_to(*level) <= total).last().unwrap();
        let kept = fill.iter().map(|(count, room)| level.min(*room).min(*count)).sum::<usize>();
        // Whoever holds more than the level may keep one more, as long as there are some to keep.
        let richer = fill.iter().filter(|(count, room)| *count > level && *room > level).count();
        total - kept - richer.min(total - up_to(level))
    }
}

proptest! {
    #[test]
    fn every_lease_has_somebody_who_stays_and_loads_differ_by_one_at_most(world in roomy()) {
        let plan = world.plan();
        let after = world.after(&plan);
        let counts: Vec<_> = after.fill().iter().map(|(count, _)| *count).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        prop_assert_eq!(counts.iter().sum::<usize>(), world.ready().count());
    }

    #[test]
    fn an_even_fleet_gets_no_moves(world in world(1..2, 0..20)) {
        let after = world.after(&world.plan());
        prop_assert_eq!(after.plan().moves, vec![]);
    }

    #[test]
    fn a_plan_makes_the_fewest_moves(world in roomy()) {
        prop_assert_eq!(world.plan().moves.len(), world.fewest_moves());
    }

    #[test]
    fn a_plan_makes_the_fewest_moves_within_the_room_of_each(world in world(1..2, 0..20)) {
        prop_assert_eq!(world.plan().moves.len(), world.fewest_moves());
    }

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_its_arguments(
        world in world(0..4, 1..20), seed in any::<u64>()
    ) {
        let mut mixed = world.clone();
        let rank = |name: &str| hash::of_bytes(seed, name.as_bytes());
        mixed.members.sort_by_key(|member| rank(member.id.as_str()));
        mixed.loads.sort_by_key(|load| rank(load.key.as_str()));
        prop_assert_eq!(world.plan(), mixed.plan());
    }

    #[test]
    fn nobody_is_above_its_room_while_another_has_some(world in world(0..5, 0..12)) {
        let plan = world.plan();
        let after = world.after(&plan);
        let fill = after.fill();
        if fill.iter().any(|(count, room)| count < room) {
            prop_assert!(fill.iter().all(|(count, room)| count <= room));
            let mut left = plan.report.unassigned.iter();
            prop_assert!(left.all(|left| left.why == Why::WaitsForParents));
        }
        for step in &plan.moves {
            let to = world.staying().find(|member| member.id == step.to).unwrap();
            prop_assert!(after.amount(&to.id).leases <= to.capacity as usize);
        }
    }

    #[test]
    fn within_the_room_of_each_no_two_differ_by_two(world in world(1..2, 0..20)) {
        let fill = world.after(&world.plan()).fill();
        let least = fill.iter().filter(|(count, room)| count < room).map(|(count, _)| *count).min();
        let most = fill.iter().map(|(count, _)| *count).max().unwrap();
        prop_assert!(least.is_none_or(|least| most <= least + 1));
    }

    #[test]
    fn with_weights_no_single_move_would_make_two_workers_more_even(
        world in world(0..20, 5..40)
    ) {
        let after = world.after(&world.plan());
        for giver in after.staying() {
            for taker in after.staying() {
                if after.amount(&taker.id).leases >= taker.capacity as usize {
                    continue;
                }
                let (rich, poor) = (after.amount(&giver.id), after.amount(&taker.id));
                let gap = rich.weight.saturating_sub(poor.weight);
                let mut weights = after.held_by(&giver.id).map(|load| load.weight);
                prop_assert!(weights.all(|weight| weight == 0 || weight >= gap));
            }
        }
    }

    #[test]
    fn who_leaves_gets_nothing_and_gives_everything(world in world(1..9, 1000..1001)) {
        let after = world.after(&world.plan());
        for member in world.members.iter().filter(|member| member.draining) {
            prop_assert_eq!(after.amount(&member.id).leases, 0);
        }
    }

    #[test]
    fn what_waits_for_its_parents_is_reported_and_not_moved(world in world(1..9, 1..20)) {
        let plan = world.plan();
        let waits = |load: &&Load| load.readiness == Readiness::WaitsForParents;
        let waiting: BTreeSet<_> = world.loads.iter().filter(waits).map(|load| &load.key).collect();
        prop_assert!(plan.moves.iter().all(|step| !waiting.contains(&step.lease)));
        let left = plan.report.unassigned.iter().filter(|left| left.why == Why::WaitsForParents);
        prop_assert_eq!(left.map(|left| &left.lease).collect::<BTreeSet<_>>(), waiting);
    }

    #[test]
    fn a_report_says_what_each_holds_before_and_after(world in world(0..9, 1..20)) {
        let plan = world.plan();
        let after = world.after(&plan);
        prop_assert_eq!(plan.report.shares.len(), world.members.len());
        for share in &plan.report.shares {
            prop_assert_eq!(share.before, world.amount(&share.worker));
            prop_assert_eq!(share.after, after.amount(&share.worker));
        }
    }

    #[test]
    fn every_lease_without_a_rightful_holder_is_moved_or_reported(world in world(1..5, 0..9)) {
        let plan = world.plan();
        let moved: BTreeMap<_, _> = plan.moves.iter().map(|step| (&step.lease, step)).collect();
        let left: BTreeMap<_, _> =
            plan.report.unassigned.iter().map(|left| (&left.lease, left.why)).collect();
        for load in world.ready() {
            let owner = load.owner.as_ref();
            let holder = world.members.iter().find(|member| Some(&member.id) == owner);
            let (reason, why) = match holder {
                None => (MoveReason::Unowned, Why::NoRoom),
                Some(holder) if holder.draining => (MoveReason::HolderLeaves, Why::HolderLeaves),
                Some(_) => continue,
            };
            match (moved.get(&load.key), left.get(&load.key)) {
                (Some(step), None) => prop_assert_eq!(step.reason, reason),
                (None, Some(left)) => prop_assert_eq!(*left, why),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

fn member(number: usize, capacity: u32) -> Member {
    Member { id: worker(number), draining: false, capacity, reads: Reads::TheOne }
}

fn held(number: usize, owner: usize, weight: u64) -> Load {
    Load {
        key: LeaseKey::from(format!("shardId-{number:012}")),
        owner: Some(worker(owner)),
        weight,
        readiness: Readiness::Ready,
    }
}

#[test]
fn a_worker_above_its_room_gives_the_excess_to_others_even_if_they_hold_more() {
    let members = [member(0, 2), member(1, 9)];
    let mut loads: Vec<_> = (0..3).map(|number| held(number, 0, 1)).collect();
    loads.extend((3..8).map(|number| held(number, 1, 1)));
    let plan = plan(&members, &loads);
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.moves[0].reason, MoveReason::HolderIsFull);
    assert_eq!(
        (plan.moves[0].from.clone(), plan.moves[0].to.clone()),
        (Some(worker(0)), worker(1))
    );
    assert_eq!(plan.report.unassigned, []);
}

#[test]
fn a_worker_above_its_room_keeps_what_nobody_else_has_room_for_and_that_is_reported() {
    let members = [member(0, 2), member(1, 1)];
    let loads = [held(0, 0, 1), held(1, 0, 1), held(2, 0, 1), held(3, 1, 1)];
    let plan = plan(&members, &loads);
    assert_eq!(plan.moves, []);
    assert_eq!(plan.report.unassigned.len(), 1);
    assert_eq!(plan.report.unassigned[0].why, Why::HolderIsFull);
}

#[test]
fn weights_that_would_overflow_a_sum_are_planned_all_the_same() {
    let members = [member(0, 9), member(1, 9)];
    let loads: Vec<_> = (0..4).map(|number| held(number, 0, u64::MAX)).collect();
    assert_eq!(plan(&members, &loads).moves.len(), 2);
}

#[test]
fn what_one_worker_held_spreads_over_a_joining_fleet_by_rendezvous() {
    let members: Vec<_> = (0..200).map(|number| member(number, u32::MAX)).collect();
    let loads: Vec<_> = (0..10_000).map(|number| held(number, 7, 1)).collect();
    let plan = plan(&members, &loads);
    assert_eq!(plan.moves.len(), 9_950);
    // The first lease to leave is the one its holder is least close to; it goes to the closest.
    let first = &plan.moves[0];
    let least = loads.iter().min_by_key(|load| hash::affinity(&worker(7), &load.key)).unwrap();
    assert_eq!(first.lease, least.key);
    let others = members.iter().filter(|member| member.id != worker(7));
    let closest =
        others.max_by_key(|member| hash::affinity(&member.id, &first.lease) >> 8).unwrap();
    assert_eq!(first.to, closest.id);
}

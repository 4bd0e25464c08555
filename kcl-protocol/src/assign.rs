//! Who should hold which lease: one plan that every worker computes alike from the same rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::hash;
use crate::ids::{LeaseKey, WorkerId};

/// A live worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: WorkerId,
    /// Leaving: keeps nothing and gets nothing.
    pub draining: bool,
    /// The most leases it holds.
    pub capacity: u32,
}

/// A lease that somebody should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which lease.
    pub key: LeaseKey,
    /// Who holds it; `None`, or a worker that is no member, means nobody.
    pub owner: Option<WorkerId>,
    /// What it weighs; 1 if all count alike.
    pub weight: u64,
}

/// A lease that should change hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which lease.
    pub lease: LeaseKey,
    /// The live worker that holds it now, if one does.
    pub from: Option<WorkerId>,
    /// Who should hold it.
    pub to: WorkerId,
    /// Why.
    pub reason: MoveReason,
}

/// Why a lease should change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveReason {
    /// Nobody holds it.
    Unowned,
    /// Its holder is leaving.
    HolderLeaves,
    /// Its holder has more than its share.
    Balance,
}

/// What should happen for the fleet to be balanced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they were found: what nobody holds first.
    pub moves: Vec<Move>,
    /// What no worker has room for.
    pub unassigned: Vec<LeaseKey>,
}

/// One worker in the making of a plan.
struct Seat<'a> {
    member: &'a Member,
    /// Breaks ties between equal loads, differently for each worker.
    rank: u64,
    load: u64,
    leases: Vec<usize>,
}

impl Seat<'_> {
    fn has_room(&self) -> bool {
        self.leases.len() < self.member.capacity as usize
    }
}

/// Plans the fewest moves after which loads differ by at most one lease (with unequal weights: no
/// single move would make them more even). Deterministic in its arguments whatever their order of
/// members; an even fleet yields an empty plan.
pub fn plan(members: &[Member], loads: &[Load]) -> Plan {
    let mut seats: Vec<Seat<'_>> = members
        .iter()
        .filter(|member| !member.draining)
        .map(|member| Seat {
            member,
            rank: hash::of_bytes(0, member.id.as_str().as_bytes()),
            load: 0,
            leases: Vec::new(),
        })
        .collect();
    seats.sort_by(|a, b| a.member.id.cmp(&b.member.id));
    let index: BTreeMap<&WorkerId, usize> =
        seats.iter().enumerate().map(|(at, seat)| (&seat.member.id, at)).collect();
    let mut homeless = Vec::new();
    for (number, load) in loads.iter().enumerate() {
        match load.owner.as_ref().and_then(|owner| index.get(owner)) {
            Some(at) => {
                seats[*at].load += load.weight;
                seats[*at].leases.push(number);
            }
            None => homeless.push(number),
        }
    }
    let leaving: BTreeSet<&WorkerId> =
        members.iter().filter(|member| member.draining).map(|member| &member.id).collect();
    let mut draft = Draft::default();
    house(&mut seats, homeless, loads, &leaving, &mut draft);
    even_out(&mut seats, loads, &mut draft);
    let changes = |step: &Move| step.from.as_ref() != Some(&step.to);
    let moves = draft.moves.into_iter().filter(changes).collect();
    Plan { moves, unassigned: draft.unassigned }
}

/// A plan in the making: a lease that is moved twice keeps its one step.
#[derive(Default)]
struct Draft {
    moves: Vec<Move>,
    /// Of a lease that is to move, by number: which step.
    step_of: BTreeMap<usize, usize>,
    unassigned: Vec<LeaseKey>,
}

impl Draft {
    fn send(
        &mut self,
        number: usize,
        load: &Load,
        to: &WorkerId,
        why: (MoveReason, Option<WorkerId>),
    ) {
        if let Some(step) = self.step_of.get(&number) {
            self.moves[*step].to = to.clone();
            return;
        }
        self.step_of.insert(number, self.moves.len());
        let (reason, from) = why;
        self.moves.push(Move { lease: load.key.clone(), from, to: to.clone(), reason });
    }
}

/// Gives what nobody (or nobody who stays) holds to the least loaded, heaviest first.
fn house(
    seats: &mut [Seat<'_>],
    mut homeless: Vec<usize>,
    loads: &[Load],
    leaving: &BTreeSet<&WorkerId>,
    draft: &mut Draft,
) {
    homeless.sort_by(|a, b| {
        (Reverse(loads[*a].weight), &loads[*a].key)
            .cmp(&(Reverse(loads[*b].weight), &loads[*b].key))
    });
    let mut open: BTreeSet<(u64, u64, usize)> = seats
        .iter()
        .enumerate()
        .filter(|(_, seat)| seat.has_room())
        .map(|(at, seat)| (seat.load, seat.rank, at))
        .collect();
    for number in homeless {
        let load = &loads[number];
        let Some((_, rank, at)) = open.pop_first() else {
            draft.unassigned.push(load.key.clone());
            continue;
        };
        let seat = &mut seats[at];
        seat.load += load.weight;
        seat.leases.push(number);
        if seat.has_room() {
            open.insert((seat.load, rank, at));
        }
        let from = load.owner.as_ref().filter(|owner| leaving.contains(owner)).cloned();
        let reason = if from.is_some() { MoveReason::HolderLeaves } else { MoveReason::Unowned };
        draft.send(number, load, &seat.member.id, (reason, from));
    }
}

/// Moves single leases from the most to the least loaded while that makes the two more even.
fn even_out(seats: &mut [Seat<'_>], loads: &[Load], draft: &mut Draft) {
    let entry = |at: usize, seat: &Seat<'_>| (seat.load, seat.rank, at);
    let mut order: BTreeSet<_> =
        seats.iter().enumerate().map(|(at, seat)| entry(at, seat)).collect();
    // Donors of whose leases none fits; with equal weights there are none before the end.
    let mut settled = BTreeSet::new();
    while let Some(giver) = order.iter().rev().find(|entry| !settled.contains(&entry.2)).copied() {
        let Some(taker) = order.iter().find(|entry| seats[entry.2].has_room()).copied() else {
            return;
        };
        let gap = giver.0 - taker.0.min(giver.0);
        let receiver = &seats[taker.2].member.id;
        let Some(place) = best_to_move(&seats[giver.2], receiver, gap, loads, draft) else {
            settled.insert(giver.2);
            continue;
        };
        order.remove(&giver);
        order.remove(&taker);
        let number = seats[giver.2].leases.swap_remove(place);
        seats[giver.2].load -= loads[number].weight;
        seats[taker.2].load += loads[number].weight;
        seats[taker.2].leases.push(number);
        order.insert(entry(giver.2, &seats[giver.2]));
        order.insert(entry(taker.2, &seats[taker.2]));
        let from = Some(seats[giver.2].member.id.clone());
        let to = &seats[taker.2].member.id;
        draft.send(number, &loads[number], to, (MoveReason::Balance, from));
    }
}

/// Of a giver's leases the one that evens the two out best; among equals one that moves anyway,
/// then the one closest to the receiver. `None` if moving any would not narrow the gap.
fn best_to_move(
    giver: &Seat<'_>,
    to: &WorkerId,
    gap: u64,
    loads: &[Load],
    draft: &Draft,
) -> Option<usize> {
    let narrows = |number: &usize| loads[*number].weight < gap && loads[*number].weight > 0;
    let candidates = giver.leases.iter().enumerate().filter(|(_, number)| narrows(number));
    let rest = |number: usize| (gap - loads[number].weight).abs_diff(loads[number].weight);
    candidates
        .min_by_key(|(_, number)| {
            let key = &loads[**number].key;
            let stays = !draft.step_of.contains_key(number);
            (rest(**number), stays, Reverse(hash::affinity(to, key)), key)
        })
        .map(|(place, _)| place)
}

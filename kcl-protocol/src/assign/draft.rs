//! A plan in the making.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::takers::Takers;
use super::{Amount, Load, Member, Move, MoveReason, Plan, Readiness, Report, Share};
use super::{Unassigned, Why};
use crate::hash;
use crate::ids::WorkerId;

/// A held lease: weight, whether it is to move anyway, how far it is from the holder, number. Of
/// one weight the last is given away first.
type Held = (u64, bool, u64, usize);

/// A lease without a holder who may keep it: weight, hash, number, and the holder it has.
type Seatless = (Reverse<u64>, u64, usize, Option<usize>);

/// One worker.
struct Seat<'a> {
    id: &'a WorkerId,
    hash: u64,
    draining: bool,
    room: usize,
    before: Amount,
    held: Amount,
    /// Leases not sorted yet: most workers never give one.
    loose: Vec<usize>,
    /// The others.
    shelf: BTreeSet<Held>,
}

impl Seat<'_> {
    fn has_room(&self) -> bool {
        self.held.leases < self.room
    }
    fn push(&mut self, number: usize, weight: u64) {
        self.held.leases += 1;
        self.held.weight += weight;
        self.loose.push(number);
    }
    fn pop(&mut self, lease: Held) -> usize {
        if self.shelf.last() == Some(&lease) {
            self.shelf.pop_last();
        } else {
            self.shelf.remove(&lease);
        }
        self.held.leases -= 1;
        self.held.weight -= lease.0;
        lease.3
    }
    /// The lease whose leaving evens out a gap (2 or more) best; `None` if none narrows it.
    fn best_for(&self, gap: u64) -> Option<Held> {
        let half = gap / 2;
        let heaviest = self.shelf.last()?;
        if 0 < heaviest.0 && heaviest.0 <= half {
            return Some(*heaviest);
        }
        let last_of = |weight| (weight, true, u64::MAX, usize::MAX);
        let below = self.shelf.range(..=last_of(half)).next_back().filter(|lease| lease.0 > 0);
        let above = self.shelf.range(last_of(half)..).next().filter(|lease| lease.0 < gap);
        let above = above.and_then(|lease| self.shelf.range(..=last_of(lease.0)).next_back());
        let rest = |lease: &&Held| (gap - lease.0).abs_diff(lease.0);
        below.into_iter().chain(above).min_by_key(rest).copied()
    }
}

/// A worker that may give something away, by its load.
type Giver = (u64, u64, usize);

/// Whether relieving goes on.
enum Relief {
    /// There may be more to do.
    Goes,
    /// All are even, or nobody has room.
    Done,
}

/// A plan in the making.
pub(super) struct Draft<'a> {
    loads: &'a [Load],
    /// The most a lease weighs, so that no sum overflows.
    heaviest: u64,
    /// Of each lease.
    hashes: Vec<u64>,
    seats: Vec<Seat<'a>>,
    takers: Takers,
    homeless: Vec<Seatless>,
    moves: Vec<Move>,
    /// Of each lease that is to move: which move. A lease that is moved twice keeps its one.
    step_of: Vec<Option<usize>>,
    unassigned: Vec<Unassigned>,
}

impl<'a> Draft<'a> {
    /// Who holds what now, on top of what is `fixed` for each.
    pub(super) fn new(
        members: &'a [Member],
        loads: &'a [Load],
        heaviest: u64,
        fixed: &BTreeMap<WorkerId, Amount>,
    ) -> Self {
        let mut seats: Vec<_> = members.iter().map(|member| seat(member, fixed)).collect();
        seats.sort_by(|a, b| a.id.cmp(b.id));
        let index: BTreeMap<_, _> =
            seats.iter().enumerate().map(|(at, seat)| (seat.id, at)).collect();
        let mut draft = Self {
            loads,
            heaviest,
            hashes: loads.iter().map(|load| hash::of_name(load.key.as_str())).collect(),
            takers: Takers::new(seats.iter().map(|seat| seat.hash).collect()),
            seats,
            homeless: Vec::new(),
            moves: Vec::new(),
            step_of: vec![None; loads.len()],
            unassigned: Vec::new(),
        };
        for (number, load) in loads.iter().enumerate() {
            if load.readiness == Readiness::WaitsForParents {
                draft.leave(number, Why::WaitsForParents);
                continue;
            }
            let weight = load.weight.min(draft.heaviest);
            match load.owner.as_ref().and_then(|owner| index.get(owner)) {
                Some(at) => draft.seats[*at].push(number, weight),
                None => {
                    draft.homeless.push((Reverse(weight), draft.hashes[number], number, None));
                }
            }
        }
        for seat in &mut draft.seats {
            seat.before = seat.held;
        }
        draft
    }

    fn weight(&self, number: usize) -> u64 {
        self.loads[number].weight.min(self.heaviest)
    }

    /// Sorts what a worker holds.
    fn shelve(&mut self, at: usize) {
        let loose = std::mem::take(&mut self.seats[at].loose);
        if loose.is_empty() {
            return;
        }
        let held = |number: usize| {
            let closeness = hash::closeness(self.seats[at].hash, self.hashes[number]);
            (self.weight(number), self.step_of[number].is_some(), !closeness, number)
        };
        let sorted: BTreeSet<Held> = loose.into_iter().map(held).collect();
        let shelf = &mut self.seats[at].shelf;
        if shelf.is_empty() {
            *shelf = sorted;
        } else {
            shelf.extend(sorted);
        }
    }

    /// Gives what nobody (or nobody who stays) holds to the least loaded, heaviest first; then
    /// what is above the room of its holder.
    pub(super) fn house(&mut self) {
        let mut first = std::mem::take(&mut self.homeless);
        let mut excess = Vec::new();
        for at in 0..self.seats.len() {
            if self.seats[at].held.leases > self.seats[at].room {
                self.shelve(at);
            }
            let seat = &mut self.seats[at];
            let into = if seat.draining { &mut first } else { &mut excess };
            // The lightest: what is light is soon moved.
            while seat.held.leases > seat.room
                && let Some(lightest) = seat.shelf.first().copied()
            {
                let number = seat.pop(lightest);
                into.push((Reverse(lightest.0), self.hashes[number], number, Some(at)));
            }
            self.seat_anew(at);
        }
        for seatless in [&mut first, &mut excess] {
            seatless.sort_unstable_by(|a, b| {
                let key = |lease: &Seatless| &self.loads[lease.2].key;
                (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| key(a).cmp(key(b)))
            });
        }
        self.moves.reserve(first.len() + excess.len());
        for (_, _, number, from) in first.into_iter().chain(excess) {
            self.place(number, from);
        }
    }

    fn place(&mut self, number: usize, from: Option<usize>) {
        let draining = from.map(|at| self.seats[at].draining);
        if let Some(to) = self.takers.take(self.hashes[number]) {
            let reason = match draining {
                None => MoveReason::Unowned,
                Some(true) => MoveReason::HolderLeaves,
                Some(false) => MoveReason::HolderIsFull,
            };
            self.give(number, from, to, reason);
            return;
        }
        let why = match draining {
            None => Why::NoRoom,
            Some(true) => Why::HolderLeaves,
            Some(false) => Why::HolderIsFull,
        };
        self.leave(number, why);
        if let Some(at) = from {
            let weight = self.weight(number);
            self.seats[at].push(number, weight);
        }
    }

    fn leave(&mut self, number: usize, why: Why) {
        self.unassigned.push(Unassigned { lease: self.loads[number].key.clone(), why });
    }

    /// Moves single leases from the most to the least loaded while that makes the two more even.
    pub(super) fn even_out(&mut self) {
        let held = self.seats.iter().map(|seat| seat.held.leases);
        let share = held.clone().sum::<usize>() / self.seats.len().max(1);
        self.moves.reserve(held.map(|held| held.saturating_sub(share)).sum());
        let mut givers: BinaryHeap<_> = (0..self.seats.len()).map(|at| self.giver(at)).collect();
        while let Relief::Goes = self.relieve(&mut givers) {}
    }

    fn giver(&self, at: usize) -> Giver {
        (self.seats[at].held.weight, self.seats[at].hash, at)
    }

    /// Moves one lease away from the most loaded, or strikes it off if none of its leases fits.
    fn relieve(&mut self, givers: &mut BinaryHeap<Giver>) -> Relief {
        let Some(mut top) = givers.peek_mut() else { return Relief::Done };
        let (weight, _, at) = *top;
        let Some(least) = self.takers.least() else { return Relief::Done };
        let gap = weight.saturating_sub(least.weight);
        if gap < 2 {
            // Nobody holds more than this one.
            return Relief::Done;
        }
        let before = self.seats[at].held;
        let is_current = before.weight == weight;
        self.shelve(at);
        let Some(best) = self.seats[at].best_for(gap).filter(|_| is_current) else {
            // Nothing of it fits before it is given something, which enters it anew.
            PeekMut::pop(top);
            return Relief::Goes;
        };
        let number = self.seats[at].pop(best);
        self.takers.lift(before, at);
        let Some(to) = self.takers.take(self.hashes[number]) else { return Relief::Done };
        if self.seats[at].has_room() {
            self.takers.put_giver(self.seats[at].held, at);
        }
        *top = self.giver(at);
        drop(top);
        self.give(number, Some(at), to, MoveReason::Balance);
        // Narrower gaps than 2 stay so until it is given something again.
        if self.seats[to].held.weight - least.weight >= 2 {
            givers.push(self.giver(to));
        }
        Relief::Goes
    }

    fn give(&mut self, number: usize, from: Option<usize>, to: usize, reason: MoveReason) {
        let load = &self.loads[number];
        self.seats[to].push(number, load.weight.min(self.heaviest));
        self.seat_anew(to);
        let from = from.map(|at| self.seats[at].id.clone());
        let to = self.seats[to].id.clone();
        if let Some(step) = self.step_of[number] {
            self.moves[step].to = to;
        } else {
            self.step_of[number] = Some(self.moves.len());
            self.moves.push(Move { lease: load.key.clone(), from, to, reason });
        }
    }

    fn seat_anew(&mut self, at: usize) {
        let seat = &self.seats[at];
        if seat.has_room() {
            self.takers.put(seat.held, at);
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        self.moves.retain(|step| step.from.as_ref() != Some(&step.to));
        self.unassigned.sort_by(|a, b| a.lease.cmp(&b.lease));
        let share = |seat: &Seat<'_>| Share {
            worker: seat.id.clone(),
            before: seat.before,
            after: seat.held,
        };
        let shares = self.seats.iter().map(share).collect();
        Plan { moves: self.moves, report: Report { shares, unassigned: self.unassigned } }
    }
}

fn seat<'a>(member: &'a Member, fixed: &BTreeMap<WorkerId, Amount>) -> Seat<'a> {
    Seat {
        id: &member.id,
        hash: hash::of_name(member.id.as_str()),
        draining: member.draining,
        room: if member.draining { 0 } else { member.capacity as usize },
        before: Amount::default(),
        held: fixed.get(&member.id).copied().unwrap_or_default(),
        loose: Vec::new(),
        shelf: BTreeSet::new(),
    }
}

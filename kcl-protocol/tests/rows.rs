//! What may become of a row, whatever is written, late, twice or never answered.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_protocol::gate::{Carries, Gate};
use kcl_protocol::writes::apply_all;
use kcl_protocol::{
    Checkpoint, ConditionalWrite, EntryId, Fence, HashKeyRange, HeldDigest, InboxEntry, Lease,
    LeaseChange, LeaseCondition, LeaseKey, LeaseTiming, LeaseWrite, Ordinal, Row, RowKey, Rules,
    SequenceNumber, WorkerChange, WorkerCondition, WorkerId, WorkerRow, WorkerState, WorkerWrite,
    liveness, moves, watch,
};
use proptest::prelude::*;

const GRACE: Duration = Duration::ZERO;
const D: Duration = Duration::from_secs(3);

fn worker(number: u8) -> WorkerId {
    WorkerId::from(format!("worker-{number}"))
}

fn key() -> LeaseKey {
    LeaseKey::from("shardId-000000000000")
}

fn at(sequence: u64) -> Checkpoint {
    Checkpoint::At(SequenceNumber::from_parts(0, sequence.into()).into())
}

/// Applies a write to the only row there is; true if it won.
fn apply(row: &mut Option<Row>, write: &ConditionalWrite) -> bool {
    let before = row.clone();
    match apply_all(std::slice::from_ref(write), |_| before.clone()) {
        Ok(mut rows) => {
            *row = rows.remove(0).1;
            true
        }
        Err(_) => false,
    }
}

/// A worker as far as one lease goes.
#[derive(Default)]
struct Holder {
    gate: Option<(Fence, Gate)>,
    progress: u64,
    spent: Option<Fence>,
}

/// A write that is on its way, or was applied and may come again.
struct Sent {
    write: ConditionalWrite,
    is_ownership: bool,
    /// Checkpoint and ordinal after it applied.
    won: Option<(Checkpoint, Ordinal)>,
}

struct Walk {
    row: Option<Row>,
    sent: Vec<Sent>,
    holders: [Holder; 3],
}

impl Walk {
    fn new() -> Self {
        let lease = Lease::unowned(key(), Checkpoint::TrimHorizon, HashKeyRange::FULL);
        Self { row: Some(Row::Lease(lease)), sent: Vec::new(), holders: Default::default() }
    }
    fn lease(&self) -> Lease {
        self.row.clone().and_then(Row::into_lease).unwrap()
    }
    /// The fence a worker holds the lease at, as far as it knows.
    fn held(&self, number: u8) -> Option<Fence> {
        let holder = &self.holders[usize::from(number)];
        let held = holder.gate.as_ref().map(|(fence, _)| *fence);
        held.filter(|fence| Some(*fence) > holder.spent)
    }
    /// A strong read: the worker holds what names it at an unspent fence.
    fn read(&mut self, number: u8) {
        let lease = self.lease();
        let known = self.held(number);
        let holder = &mut self.holders[usize::from(number)];
        let names_it = lease.owner == Some(worker(number)) && !lease.is_ended();
        if names_it && Some(lease.fence) > holder.spent && known != Some(lease.fence) {
            let Checkpoint::At(position) = lease.checkpoint else {
                holder.progress = 0;
                holder.gate = Some((lease.fence, Gate::new(&lease, worker(number), D)));
                return;
            };
            holder.progress = u64::try_from(position.sequence.parts().1).unwrap();
            holder.gate = Some((lease.fence, Gate::new(&lease, worker(number), D)));
        }
    }
    fn own(&mut self, number: u8, fence: Fence, write: LeaseWrite) {
        self.holders[usize::from(number)].spent = Some(fence);
        let write = ConditionalWrite::Lease(write);
        self.sent.push(Sent { write, is_ownership: true, won: None });
    }
    /// What a worker sends, by the rules it follows.
    fn send(&mut self, kind: u8, number: u8, other: u8) {
        let (lease, me) = (self.lease(), worker(number));
        let held = self.held(number);
        let done = at(self.holders[usize::from(number)].progress);
        match (kind, held) {
            (0, _) if !lease.is_ended() && lease.owner != Some(me.clone()) => {
                self.own(number, lease.fence, moves::take(&lease, &me, 0));
            }
            (1, None) if lease.owner == Some(me.clone()) && !lease.is_ended() => {
                self.own(number, lease.fence, moves::adopt(&key(), lease.fence, &me, 0));
            }
            (2, Some(fence)) => {
                let write =
                    moves::hand_over(&key(), fence, &me, 0, &worker(other), Some(done.into()));
                self.own(number, fence, write);
            }
            (3, Some(fence)) => {
                self.own(number, fence, moves::release(&key(), fence, &me, 0, Some(done.into())));
            }
            (4, Some(fence)) if other == 0 => {
                let end = moves::end(&key(), fence, &me, 0, &[]).remove(0);
                if let ConditionalWrite::Lease(write) = end {
                    self.own(number, fence, write);
                }
            }
            (5..=7, Some(_)) => {
                let holder = &mut self.holders[usize::from(number)];
                holder.progress += u64::from(other);
                let checkpoint = at(holder.progress);
                if let Some((_, gate)) = &mut holder.gate {
                    let progress = gate.progress(checkpoint, None);
                    let write = gate.send(progress, Carries::CheckpointOnly);
                    self.sent.push(Sent { write, is_ownership: false, won: None });
                }
            }
            _ => {}
        }
    }
    /// Lets a write arrive, again perhaps, and judges what it did.
    fn arrive(&mut self, index: usize) -> Result<(), TestCaseError> {
        let before = self.lease();
        let sent = &mut self.sent[index];
        let won = apply(&mut self.row, &sent.write);
        let after = self.row.clone().and_then(Row::into_lease).unwrap();
        prop_assert!(after.checkpoint >= before.checkpoint, "{:?}", sent.write);
        if !won {
            prop_assert_eq!(after, before);
            return Ok(());
        }
        let outcome = (after.checkpoint, after.ordinal);
        if sent.is_ownership {
            prop_assert_eq!(after.fence, Fence(before.fence.0 + 1));
            prop_assert_eq!(after.ordinal, Ordinal(0));
            prop_assert!(sent.won.is_none(), "applied twice: {:?}", sent.write);
        } else {
            prop_assert_eq!((&after.owner, after.fence), (&before.owner, before.fence));
            prop_assert!(after.ordinal >= before.ordinal);
            prop_assert!(sent.won.is_none_or(|first| first == outcome), "{:?}", sent.write);
        }
        sent.won = Some(outcome);
        Ok(())
    }
}

proptest! {
    #[test]
    fn fences_rise_by_one_and_checkpoints_never_fall_however_writes_are_lost_late_or_repeated(
        steps in prop::collection::vec((0u8..8, 0u8..3, 0u8..3, 0u8..4, any::<usize>()), 1..80)
    ) {
        let mut walk = Walk::new();
        for (kind, number, other, fate, old) in steps {
            walk.read(number);
            walk.send(kind, number, other);
            if walk.sent.is_empty() {
                continue;
            }
            let last = walk.sent.len() - 1;
            match fate {
                // On its way for now.
                0 => {}
                1 => walk.arrive(old % walk.sent.len())?,
                _ => walk.arrive(last)?,
            }
        }
    }

    #[test]
    fn a_group_of_writes_applies_whole_or_not_at_all(
        fences in prop::collection::vec((0u64..3, 0u64..3), 1..6)
    ) {
        let name = |number: usize| LeaseKey::from(format!("shardId-{number:012}"));
        let rows: BTreeMap<RowKey, Row> = fences.iter().enumerate().map(|(number, (fence, _))| {
            let start = Checkpoint::TrimHorizon;
            let mut lease = Lease::unowned(name(number), start, HashKeyRange::FULL);
            lease.fence = Fence(*fence);
            (RowKey::Lease(name(number)), Row::Lease(lease))
        }).collect();
        let writes: Vec<_> = fences.iter().enumerate().map(|(number, (_, seen))| {
            ConditionalWrite::Lease(LeaseWrite::Update {
                key: name(number),
                when: vec![LeaseCondition::FenceIs(Fence(*seen))],
                change: vec![LeaseChange::Fence(Fence(seen + 1))],
            })
        }).collect();
        let first_wrong = fences.iter().position(|(fence, seen)| fence != seen);
        match (apply_all(&writes, |key| rows.get(key).cloned()), first_wrong) {
            (Ok(done), None) => prop_assert_eq!(done.len(), writes.len()),
            (Err(index), Some(wrong)) => prop_assert_eq!(index, wrong),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_dead_worker_stays_dead_and_a_heartbeat_rises_only_while_it_lives(
        steps in prop::collection::vec((0u8..9, 0u64..4), 1..60)
    ) {
        let id = worker(0);
        let mut row = None;
        for (kind, number) in steps {
            let before = row.clone().and_then(Row::into_worker);
            let count = before.as_ref().map_or(1, |row| row.heartbeat + number / 3);
            let write = match kind {
                0 => WorkerWrite::Create(WorkerRow::live(id.clone(), LeaseTiming::new(D, GRACE))),
                1 => watch::put_missing(&id, 77, D, GRACE),
                2..=4 => {
                    let digest = HeldDigest::default();
                    liveness::heartbeat(Rules::ALL, &id, 1, digest, [EntryId(1)])
                }
                5 => watch::fence(&id, count),
                6 => watch::fence_reaped(&id),
                7 => moves::send(&id, EntryId(1), InboxEntry::Grant { leases: Vec::new() }),
                _ if number > 2 => WorkerWrite::Update {
                    id: id.clone(),
                    when: vec![WorkerCondition::StateIs(WorkerState::Live)],
                    change: vec![WorkerChange::State(WorkerState::Gone)],
                },
                _ => moves::send_list(&id),
            };
            let won = apply(&mut row, &ConditionalWrite::Worker(write));
            let after = row.clone().and_then(Row::into_worker);
            if !won {
                prop_assert_eq!(&after, &before);
            }
            use WorkerState::{Fenced, Gone, Live, Missing};
            let state = |row: &Option<WorkerRow>| row.as_ref().map(|row| row.state);
            let states = (state(&before), state(&after));
            let is_allowed = matches!(
                states,
                (None, None | Some(Live | Missing))
                    | (Some(Live), Some(Live | Fenced | Gone))
                    | (Some(Missing), Some(Missing | Fenced))
                    | (Some(Fenced), Some(Fenced))
                    | (Some(Gone), Some(Gone))
            );
            prop_assert!(is_allowed, "{states:?}");
            if let (Some(before), Some(after)) = (before, after) {
                let rose = after.heartbeat - before.heartbeat;
                let is_beat = before.state == Live && (2..=4).contains(&kind);
                prop_assert!(rose == 0 || (rose == 1 && is_beat));
            }
        }
    }
}

//! P3: no two workers deliver one shard at the same time, and none delivers outside its validity.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::Event;
use kcl_core::event::EventKind::{BatchEnded, BatchStarted};
use kcl_core::protocol::{Fence, LeaseKey, WorkerId};

use super::{Entry, Standing, Violation, What};

/// No batch of a lease starts, and none is polled, at a fence below one that was delivered under or
/// that an owner's row has come to, nor outside of its worker's validity.
pub fn no_two_workers_deliver_one_shard(history: &[Entry]) -> Vec<Violation> {
    let mut highest: BTreeMap<LeaseKey, (Fence, WorkerId)> = BTreeMap::new();
    let mut rights: BTreeMap<&LeaseKey, &Standing> = BTreeMap::new();
    let mut violations = Vec::new();
    for entry in history {
        let mut broken = |what: String| {
            violations.push(Violation { property: "P3", at: entry.at, what });
        };
        match &entry.what {
            // Whose row was deleted, and made anew by another, goes on until it hears of it.
            What::RowWritten { lease, before: Some(_), after } => {
                rights.insert(lease, after);
            }
            What::Polled { lease, fence, at, valid_until } => {
                if let Some(right) = rights.get(lease).filter(|right| right.fence > *fence) {
                    broken(format!("{lease} was polled at fence {fence}, and is {right}"));
                }
                if at >= valid_until {
                    broken(format!("{lease} was polled at fence {fence} past its validity"));
                }
                if let Some((newer, other)) = highest.get(lease).filter(|(top, _)| top > fence) {
                    broken(format!(
                        "{lease} was polled at fence {fence} after {other} started at {newer}"
                    ));
                }
            }
            What::Event(Event {
                worker,
                at,
                kind: BatchStarted { lease, fence, valid_until, .. },
            }) => {
                if let Some(right) = rights.get(lease).filter(|right| right.fence > *fence) {
                    let what = "started a batch of";
                    broken(format!("{worker} {what} {lease} at fence {fence}, and it is {right}"));
                }
                if at >= valid_until {
                    broken(format!("{worker} started a batch of {lease} past its validity"));
                }
                let (top, other) =
                    highest.entry(lease.clone()).or_insert_with(|| (*fence, worker.clone()));
                if *top > *fence || (*top == *fence && other != worker) {
                    broken(format!(
                        "{worker} started {lease} at fence {fence} after {other} at {top}"
                    ));
                }
                (*top, *other) = (*fence, worker.clone());
            }
            _ => {}
        }
    }
    violations
}

/// No worker starts a batch of a lease before its call of the one before is over, whatever the
/// fence. A call that dies with its worker ends for nobody: no other worker has that id. A process
/// that comes back under another id may not either, of which its processors tell.
pub fn no_worker_delivers_beside_its_own_call(history: &[Entry]) -> Vec<Violation> {
    let mut running: BTreeSet<(&WorkerId, &LeaseKey)> = BTreeSet::new();
    let mut violations = Vec::new();
    for entry in history {
        let (at, event) = match &entry.what {
            What::Event(event) => (entry.at, event),
            What::CalledTwice { lease } => {
                let what = format!("{lease} was processed beside a call of the same process");
                violations.push(Violation { property: "P3", at: entry.at, what });
                continue;
            }
            _ => continue,
        };
        let worker = &event.worker;
        match &event.kind {
            BatchStarted { lease, fence, .. } if !running.insert((worker, lease)) => {
                let what = format!(
                    "{worker} started a batch of {lease} at fence {fence} beside its call before"
                );
                violations.push(Violation { property: "P3", at, what });
            }
            BatchEnded { lease, .. } => drop(running.remove(&(worker, lease))),
            _ => {}
        }
    }
    violations
}

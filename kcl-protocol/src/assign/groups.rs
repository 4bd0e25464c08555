//! Streams with equal readers, planned one group after the other.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::{Amount, Load, Member, Plan, Report, Share, Unassigned, Why};
use crate::ids::WorkerId;

/// Numbers of members that read a stream, in the order of their ids.
type Readers = Vec<usize>;

pub(super) fn plan(members: &[Member], loads: &[Load]) -> Plan {
    let heaviest = u64::MAX / (loads.len() as u64).max(1);
    if all_read_all(members, loads) {
        return plan_group(members, loads, heaviest, &BTreeMap::new());
    }
    let mut members: Vec<_> = members.to_vec();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    let none = |member: &Member| (member.id.clone(), Amount::default());
    let mut before: BTreeMap<_, _> = members.iter().map(none).collect();
    let mut held = before.clone();
    let mut plan = Plan::default();
    for ((_, readers), loads) in group(&members, loads) {
        if readers.is_empty() {
            let unread =
                loads.into_iter().map(|load| Unassigned { lease: load.key, why: Why::NobodyReads });
            plan.report.unassigned.extend(unread);
            continue;
        }
        let readers: Vec<_> = readers.into_iter().map(|at| members[at].clone()).collect();
        let part = plan_group(&readers, &loads, heaviest, &held);
        plan.moves.extend(part.moves);
        plan.report.unassigned.extend(part.report.unassigned);
        for share in part.report.shares {
            add(&mut before, &share.worker, share.before);
            add(&mut held, &share.worker, share.after);
        }
    }
    plan.report.unassigned.sort_by(|a, b| a.lease.cmp(&b.lease));
    plan.report.shares = before
        .into_iter()
        .map(|(worker, before)| Share { after: held[&worker], worker, before })
        .collect();
    plan
}

/// The common case, at no cost: one group of everything.
fn all_read_all(members: &[Member], loads: &[Load]) -> bool {
    let Some(first) = members.first() else { return true };
    members.iter().all(|member| member.reads == first.reads)
        && loads.iter().all(|load| first.reads.reads(&load.key))
}

fn add(to: &mut BTreeMap<WorkerId, Amount>, worker: &WorkerId, more: Amount) {
    let sum = to.entry(worker.clone()).or_default();
    sum.leases += more.leases;
    sum.weight += more.weight;
}

/// The leases by who reads their streams, the fewest readers first.
fn group(members: &[Member], loads: &[Load]) -> BTreeMap<(usize, Readers), Vec<Load>> {
    let mut of_stream: BTreeMap<Option<&str>, Readers> = BTreeMap::new();
    let mut groups: BTreeMap<(usize, Readers), Vec<Load>> = BTreeMap::new();
    for load in loads {
        let readers = of_stream.entry(load.key.stream_prefix()).or_insert_with(|| {
            let reads = |at: &usize| members[*at].reads.reads(&load.key);
            (0..members.len()).filter(reads).collect()
        });
        groups.entry((readers.len(), readers.clone())).or_default().push(load.clone());
    }
    groups
}

/// Plans for members who read all of it; shares do not count what they held before.
fn plan_group(
    members: &[Member],
    loads: &[Load],
    heaviest: u64,
    held: &BTreeMap<WorkerId, Amount>,
) -> Plan {
    let mut draft = Draft::new(members, loads, heaviest, held);
    draft.house();
    draft.even_out();
    let mut plan = draft.finish();
    let Report { shares, .. } = &mut plan.report;
    for share in shares {
        let base = held.get(&share.worker).copied().unwrap_or_default();
        for amount in [&mut share.before, &mut share.after] {
            amount.leases -= base.leases;
            amount.weight -= base.weight;
        }
    }
    plan
}

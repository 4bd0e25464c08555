//! Conditions on worker rows and changes of them.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_protocol::{EntryId, WorkerChange, WorkerCondition, WorkerState};

use crate::attributes::{number, text};
use crate::coordination::{encode_entry, reads_text, state_text};
use crate::expressions::Expression;
use crate::schema as s;

/// Requires a condition on a worker row.
pub(super) fn condition(to: &mut Expression, condition: &WorkerCondition) {
    match condition {
        WorkerCondition::StateIs(state) => {
            to.compare(s::WORKER_STATE, "=", text(state_text(*state)))
        }
        WorkerCondition::StateIsNotDead => {
            let name = to.name(s::WORKER_STATE);
            let live = to.value(text(state_text(WorkerState::Live)));
            let missing = to.value(text(state_text(WorkerState::Missing)));
            to.require(format!("{name} IN ({live}, {missing})"));
        }
        WorkerCondition::HeartbeatIs(count) => to.compare(s::HEARTBEAT, "=", number(*count)),
        WorkerCondition::InboxBelow(bound) => {
            // A length fits: usize has at most 64 bits.
            let (name, bound) = (to.name(s::INBOX), to.value(number(*bound as u64)));
            to.require(format!("size({name}) < {bound}"));
        }
        WorkerCondition::InboxHas(id) => {
            let path = to.entry(s::INBOX, &id.to_string());
            to.require(format!("attribute_exists({path})"));
        }
    }
}

/// The last change of each attribute stands: the service takes one change per path.
pub(super) fn change(to: &mut Expression, changes: &[WorkerChange]) {
    let mut beats = 0u64;
    let mut last: BTreeMap<&str, Option<AttributeValue>> = BTreeMap::new();
    let mut inbox: BTreeMap<EntryId, Option<AttributeValue>> = BTreeMap::new();
    for change in changes {
        match change {
            WorkerChange::Beat => beats += 1,
            WorkerChange::State(state) => {
                last.insert(s::WORKER_STATE, Some(text(state_text(*state))));
            }
            WorkerChange::Draining(draining) => {
                last.insert(s::DRAINING, Some(AttributeValue::Bool(*draining)));
            }
            WorkerChange::Load(load) => drop(last.insert(s::LOAD, Some(number(*load)))),
            WorkerChange::Reads(reads) => {
                last.insert(s::READS, reads_text(reads).map(text));
            }
            WorkerChange::Digest(digest) => {
                last.insert(s::HELD_COUNT, Some(number(digest.count)));
                last.insert(s::HELD_HASHES, Some(number(digest.hashes)));
            }
            WorkerChange::InboxPut(id, entry) => drop(inbox.insert(*id, Some(encode_entry(entry)))),
            WorkerChange::InboxRemove(id) => drop(inbox.insert(*id, None)),
            WorkerChange::List(list) => {
                last.insert(s::LIST, Some(AttributeValue::Bool(*list)));
            }
            WorkerChange::Address(address) => {
                last.insert(s::ADDRESS, address.as_ref().map(text));
            }
        }
    }
    if beats > 0 {
        to.add(s::HEARTBEAT, number(beats));
    }
    last.into_iter().for_each(|(name, value)| to.set_or_remove(name, value));
    for (id, entry) in inbox {
        match entry {
            Some(entry) => to.set_entry(s::INBOX, &id.to_string(), entry),
            None => to.remove_entry(s::INBOX, &id.to_string()),
        }
    }
}

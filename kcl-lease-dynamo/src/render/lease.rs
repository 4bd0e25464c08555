//! Conditions on lease rows and changes of them.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::TableError;
use kcl_protocol::{Lease, LeaseChange, LeaseCondition, Ordinal, Row, WorkerId};

use super::Action;
use crate::attributes::{number, shard_set, text};
use crate::codec::{checkpoint_attributes, encode_lease, position_text, prepared_attributes};
use crate::expressions::Expression;
use crate::schema as s;

/// Requires a condition on a lease row.
pub(super) fn condition(to: &mut Expression, condition: &LeaseCondition) {
    match condition {
        LeaseCondition::OwnerIs(owner) => to.compare(s::LEASE_OWNER, "=", text(owner)),
        LeaseCondition::Unowned => to.require_absent(s::LEASE_OWNER),
        LeaseCondition::FenceIs(fence) => to.compare(s::LEASE_COUNTER, "=", number(fence.0)),
        LeaseCondition::OrdinalAtMost(bound) => ordinal(to, "<=", *bound, true),
        LeaseCondition::OrdinalBelow(bound) => ordinal(to, "<", *bound, bound.0 > 0),
        LeaseCondition::Ended => to.compare(s::CHECKPOINT, "=", text(s::SHARD_END)),
        LeaseCondition::NotEnded => to.compare(s::CHECKPOINT, "<>", text(s::SHARD_END)),
    }
}

/// Compares the ordinal; rows of the Java KCL have none, which counts as 0.
fn ordinal(to: &mut Expression, operator: &str, bound: Ordinal, holds_for_zero: bool) {
    let (name, bound) = (to.name(s::ORDINAL), to.value(number(bound.0)));
    to.require(if holds_for_zero {
        format!("(attribute_not_exists({name}) OR {name} {operator} {bound})")
    } else {
        format!("{name} {operator} {bound}")
    });
}

/// The count of switches after the changes so far.
enum Switches {
    Plus(u64),
    Is(u64),
}

/// The owner before the write, as far as the count of switches needs it: named by the write's own
/// conditions, or taken from the row as read and then required to be still the same.
fn owner_before<'a>(
    to: &mut Expression,
    when: &'a [LeaseCondition],
    changes: &[LeaseChange],
    pin: Option<&'a Row>,
) -> Option<&'a WorkerId> {
    let named = when.iter().find_map(|condition| match condition {
        LeaseCondition::OwnerIs(owner) => Some(Some(owner)),
        LeaseCondition::Unowned => Some(None),
        _ => None,
    });
    if let Some(owner) = named {
        return owner;
    }
    let changes_owner = changes.iter().any(|change| matches!(change, LeaseChange::Owner(_)));
    let Some(Row::Lease(row)) = pin.filter(|_| changes_owner) else { return None };
    let same = row.owner.clone().map_or(LeaseCondition::Unowned, LeaseCondition::OwnerIs);
    condition(to, &same);
    row.owner.as_ref()
}

/// Folds the changes in order into one change per attribute.
pub(super) fn change(
    to: &mut Expression,
    when: &[LeaseCondition],
    changes: &[LeaseChange],
    pin: Option<&Row>,
) {
    let mut owner = owner_before(to, when, changes, pin);
    let mut switches = Switches::Plus(0);
    let mut last: BTreeMap<&str, Option<AttributeValue>> = BTreeMap::new();
    for change in changes {
        match change {
            LeaseChange::Owner(next) => {
                let one = u64::from(owner != next.as_ref());
                switches = match switches {
                    Switches::Plus(count) => Switches::Plus(count + one),
                    Switches::Is(count) => Switches::Is(count + one),
                };
                owner = next.as_ref();
                last.insert(s::LEASE_OWNER, next.as_ref().map(text));
            }
            LeaseChange::Fence(fence) => {
                last.insert(s::LEASE_COUNTER, Some(number(fence.0)));
                last.insert(s::ORDINAL, Some(number(0u64)));
            }
            LeaseChange::Ordinal(ordinal) => drop(last.insert(s::ORDINAL, Some(number(ordinal.0)))),
            LeaseChange::Checkpoint(checkpoint) => {
                let (checkpoint, subsequence, millis) = checkpoint_attributes(*checkpoint);
                last.insert(s::CHECKPOINT, Some(checkpoint));
                last.insert(s::CHECKPOINT_SUB, Some(subsequence));
                last.insert(s::CHECKPOINT_MILLIS, millis);
                switches = Switches::Is(0);
            }
            LeaseChange::Prepared(prepared) => last.extend(prepared_attributes(prepared.as_ref())),
            LeaseChange::Children(children) => drop(last.insert(s::CHILDREN, shard_set(children))),
            LeaseChange::Parked(parked) => {
                let parked = parked.as_ref();
                let at = parked.and_then(|parked| parked.at);
                last.insert(s::PARKED_REASON, parked.map(|parked| text(&parked.reason)));
                last.insert(s::PARKED_AT, at.map(|at| text(position_text(at))));
            }
            LeaseChange::UnlistedSince(since) => {
                last.insert(s::UNLISTED_SINCE, since.map(number));
            }
        }
    }
    last.into_iter().for_each(|(name, value)| to.set_or_remove(name, value));
    match switches {
        Switches::Plus(0) => {}
        Switches::Plus(count) => to.add(s::OWNER_SWITCHES, number(count)),
        Switches::Is(count) => to.set(s::OWNER_SWITCHES, number(count)),
    }
}

/// Every attribute if absent. An attribute that an existing row may rightly lack cannot be given
/// so: the row would gain it. Parents and range are facts, so they may.
pub(super) fn ensure(to: &mut Expression, lease: &Lease) -> Result<Action, TableError> {
    let fresh = lease.owner.is_none()
        && lease.children.is_empty()
        && lease.prepared.is_none()
        && lease.parked.is_none()
        && lease.unlisted_since_millis.is_none();
    if !fresh {
        return Err(TableError::Refused(format!(
            "lease {}: a transaction ensures only fresh leases (no owner, no children, nothing \
             prepared, not parked, listed); write this one by itself",
            lease.key
        )));
    }
    let attributes: BTreeMap<_, _> = encode_lease(lease).into_iter().collect();
    for (name, value) in attributes {
        if name != s::LEASE_KEY {
            to.set_if_absent(&name, value);
        }
    }
    Ok(Action::Update)
}

//! Conditional writes in the service's language.
//!
//! Three writes say more than one expression can: raising maxima (there is no `max`), changing an
//! owner without naming the one before (the count of switches depends on it), and ensuring a lease.
//! The first two are *pinned*: the row is read, and what was read becomes a further condition; if
//! it changed in between, the write is tried again on the row that the refusal brought back. The
//! third sets every attribute only if it is absent, so in a transaction it takes fresh leases only.

mod lease;
#[cfg(test)]
mod tests;
mod worker;

use aws_sdk_dynamodb::types::AttributeValue;
use kcl_core::TableError;
use kcl_protocol::{
    ConditionalWrite, LeaseChange, LeaseCondition, LeaseWrite, Row, RowKey, StreamWrite,
    TableWrite, WorkerWrite,
};

use crate::attributes::{Item, nanos, number, text};
use crate::codec::encode_lease;
use crate::coordination::{encode_stream, encode_table, encode_worker};
use crate::expressions::Expression;
use crate::schema as s;

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Leases,
    Coordination,
}

/// Where a row lives: the table, and its key there.
pub(crate) fn place_of(key: &RowKey) -> (Place, String) {
    let place = match key {
        RowKey::Table | RowKey::Stream(_) | RowKey::Worker(_) => Place::Coordination,
        RowKey::Lease(_) => Place::Leases,
    };
    (place, key.to_string())
}

/// The key attribute of a table.
pub(crate) fn key_attribute(place: Place) -> &'static str {
    match place {
        Place::Leases => s::LEASE_KEY,
        Place::Coordination => s::ROW_KEY,
    }
}

/// What to send for one write.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Put(Item),
    Update,
    Delete,
}

/// One write, ready to be sent alone or in a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub place: Place,
    pub key: String,
    pub action: Action,
    pub expression: Expression,
}

/// True if the write depends on what stands in the row beyond its own conditions.
pub(crate) fn needs_pin(write: &ConditionalWrite) -> bool {
    match write {
        ConditionalWrite::Table(TableWrite::RaiseMaxima { .. }) => true,
        ConditionalWrite::Lease(LeaseWrite::Update { when, change, .. }) => {
            let changes_owner = change.iter().any(|c| matches!(c, LeaseChange::Owner(_)));
            let names_owner = when
                .iter()
                .any(|c| matches!(c, LeaseCondition::OwnerIs(_) | LeaseCondition::Unowned));
            changes_owner && !names_owner
        }
        _ => false,
    }
}

/// Renders a write. `pin` is the row as read, for writes that [`needs_pin`].
pub(crate) fn render(
    write: &ConditionalWrite,
    pin: Option<&Row>,
    alone: Alone,
) -> Result<Rendered, TableError> {
    let (place, key) = place_of(&write.key());
    let mut to = Expression::default();
    let exists = key_attribute(place);
    let action = match write {
        ConditionalWrite::Table(TableWrite::Create(row)) => {
            put_new(&mut to, exists, encode_table(row))
        }
        ConditionalWrite::Stream(StreamWrite::Create(row)) => {
            put_new(&mut to, exists, encode_stream(row))
        }
        ConditionalWrite::Worker(WorkerWrite::Create(row)) => {
            put_new(&mut to, exists, encode_worker(row))
        }
        ConditionalWrite::Lease(LeaseWrite::Create(row)) => {
            put_new(&mut to, exists, encode_lease(row))
        }
        ConditionalWrite::Lease(LeaseWrite::Ensure(row)) => match alone {
            Alone::Yes => put_new(&mut to, exists, encode_lease(row)),
            Alone::InTransaction => lease::ensure(&mut to, row)?,
        },
        _ => {
            to.require_exists(exists);
            change(&mut to, write, pin)
        }
    };
    Ok(Rendered { place, key, action, expression: to })
}

/// Whether a write is sent by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    Yes,
    InTransaction,
}

fn put_new(to: &mut Expression, key: &str, item: Item) -> Action {
    to.require_absent(key);
    Action::Put(item)
}

/// Writes that need the row; the caller has required that it exists.
fn change(to: &mut Expression, write: &ConditionalWrite, pin: Option<&Row>) -> Action {
    match write {
        ConditionalWrite::Table(write) => table_change(to, write, pin),
        ConditionalWrite::Stream(StreamWrite::Restart(row)) => {
            return Action::Put(encode_stream(row));
        }
        ConditionalWrite::Stream(_) => to.set(s::FIRST_SYNC_DONE, AttributeValue::Bool(true)),
        ConditionalWrite::Worker(WorkerWrite::Delete { when, .. }) => {
            when.iter().for_each(|condition| worker::condition(to, condition));
            return Action::Delete;
        }
        ConditionalWrite::Worker(WorkerWrite::Update { when, change, .. }) => {
            when.iter().for_each(|condition| worker::condition(to, condition));
            worker::change(to, change);
        }
        ConditionalWrite::Lease(LeaseWrite::Delete { when, .. }) => {
            when.iter().for_each(|condition| lease::condition(to, condition));
            return Action::Delete;
        }
        ConditionalWrite::Lease(LeaseWrite::Update { when, change, .. }) => {
            when.iter().for_each(|condition| lease::condition(to, condition));
            lease::change(to, when, change, pin);
        }
        // Puts of new rows never come here.
        ConditionalWrite::Worker(_) | ConditionalWrite::Lease(_) => {}
    }
    Action::Update
}

fn table_change(to: &mut Expression, write: &TableWrite, pin: Option<&Row>) {
    match write {
        TableWrite::Create(_) => {}
        TableWrite::RaiseMaxima { duration, grace } => {
            let (mut duration, mut grace) = (*duration, *grace);
            if let Some(Row::Table(row)) = pin {
                to.compare(s::MAX_DURATION, "=", nanos(row.max_duration));
                to.compare(s::MAX_GRACE, "=", nanos(row.max_grace));
                duration = duration.max(row.max_duration);
                grace = grace.max(row.max_grace);
            }
            to.set(s::MAX_DURATION, nanos(duration));
            to.set(s::MAX_GRACE, nanos(grace));
        }
        TableWrite::NextRound { seen } => {
            to.compare(s::ROUND, "=", number(*seen));
            to.set(s::ROUND, number(u128::from(*seen) + 1));
        }
        TableWrite::BeginReset { seen } => {
            to.compare(s::GENERATION, "=", number(*seen));
            to.set(s::GENERATION, number(u128::from(*seen) + 1));
            to.set(s::RESETTING, AttributeValue::Bool(true));
        }
        TableWrite::EndReset { generation } => {
            to.compare(s::GENERATION, "=", number(*generation));
            to.set(s::RESETTING, AttributeValue::Bool(false));
        }
        TableWrite::NextGeneration { seen, table_id } => {
            to.compare(s::GENERATION, "=", number(*seen));
            to.set(s::GENERATION, number(u128::from(*seen) + 1));
            to.set(s::TABLE_ID, text(table_id));
        }
    }
}

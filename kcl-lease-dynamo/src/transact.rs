//! Several writes in one transaction.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put,
    ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use kcl_core::TableError;
use kcl_protocol::limits::WRITES_PER_TRANSACTION;
use kcl_protocol::{CasOutcome, ConditionalWrite, Row};
use uuid::Uuid;

use crate::attributes::text;
use crate::counts::Kind;
use crate::effects::DynamoEffects;
use crate::errors::{Intent, classify};
use crate::limits::PIN_ATTEMPTS;
use crate::render::{Action, Alone, Rendered, key_attribute, needs_pin, place_of, render};
use crate::requests::Requests;
use crate::send::won;

/// What became of one attempt.
enum Attempt {
    Applied,
    /// Conditions failed: for each write `None`, or the row as it stands.
    Failed(Vec<Option<Option<Row>>>),
}

impl Requests {
    /// Applies writes and effects, all or none. Each call has a token of its own, so that a
    /// request which the network delivers twice applies once; a token drawn from the content
    /// would make a later, equal write of the same ten minutes seem to have applied.
    pub(crate) async fn transact(
        &self,
        writes: &[ConditionalWrite],
        effects: &DynamoEffects,
    ) -> Result<CasOutcome, TableError> {
        check(writes)?;
        let mut pins = Vec::with_capacity(writes.len());
        for write in writes {
            let pinned = needs_pin(write);
            pins.push(if pinned { self.read(&write.key()).await? } else { None });
        }
        for _ in 0..PIN_ATTEMPTS {
            let mut failed = match self.attempt(writes, &pins, effects).await? {
                Attempt::Applied => return self.answer(&writes[0]).await,
                Attempt::Failed(failed) => failed,
            };
            for (index, write) in writes.iter().enumerate() {
                let Some(row) = failed[index].take() else { continue };
                if !needs_pin(write) || write.apply(row.as_ref()).is_err() {
                    return Ok(CasOutcome::Lost(row));
                }
                pins[index] = row;
            }
        }
        Err(TableError::Conflict)
    }

    async fn attempt(
        &self,
        writes: &[ConditionalWrite],
        pins: &[Option<Row>],
        effects: &DynamoEffects,
    ) -> Result<Attempt, TableError> {
        let mut items = Vec::with_capacity(writes.len() + effects.0.len());
        for (write, pin) in writes.iter().zip(pins) {
            items.push(self.item(render(write, pin.as_ref(), Alone::InTransaction)?)?);
        }
        items.extend(effects.0.iter().cloned());
        self.counters.add(Kind::Transaction);
        let token = Uuid::new_v4().simple().to_string();
        let request = self.client.transact_write_items().client_request_token(token);
        let Err(error) = request.set_transact_items(Some(items)).send().await else {
            return Ok(Attempt::Applied);
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                self.cancelled(writes, cancelled.cancellation_reasons())
            }
            _ => Err(classify(&error, Intent::Write, &self.leases)),
        }
    }

    /// Sorts the reasons, one an item: a failed condition of ours tells most, then what passes.
    fn cancelled(
        &self,
        writes: &[ConditionalWrite],
        reasons: &[CancellationReason],
    ) -> Result<Attempt, TableError> {
        let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
        let mut failed = vec![None; writes.len()];
        for ((slot, write), reason) in failed.iter_mut().zip(writes).zip(reasons) {
            if code(reason) == "ConditionalCheckFailed" {
                let place = place_of(&write.key()).0;
                let item = reason.item().filter(|item| !item.is_empty());
                *slot = Some(item.map(|item| self.decode(place, item)).transpose()?);
            }
        }
        if failed.iter().any(Option::is_some) {
            return Ok(Attempt::Failed(failed));
        }
        let codes: Vec<String> = reasons.iter().map(code).collect();
        let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
        if any(&["TransactionConflict"]) {
            return Err(TableError::Conflict);
        }
        if any(&["ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"]) {
            return Err(TableError::Throttled);
        }
        let first = codes.iter().position(|code| code != "None");
        let which = match first {
            None => "a transaction was cancelled without a reason".to_owned(),
            Some(index) => {
                let what = match writes.get(index) {
                    Some(write) => format!("the write of {:?}", write.key()),
                    None => format!("effect {}", index - writes.len()),
                };
                let said = reasons[index].message().unwrap_or_default();
                format!("{what} cancelled the transaction: {} {said}", codes[index])
            }
        };
        Err(TableError::Refused(which))
    }

    fn item(&self, rendered: Rendered) -> Result<TransactWriteItem, TableError> {
        let table = self.table_name(rendered.place);
        let key = key_attribute(rendered.place);
        let row = text(&rendered.key);
        let (condition, names) = (rendered.expression.condition(), rendered.expression.names());
        let values = rendered.expression.values();
        let item = TransactWriteItem::builder();
        let item = match (rendered.action, rendered.expression.update()) {
            (Action::Put(attributes), _) => Put::builder()
                .table_name(table)
                .set_item(Some(attributes))
                .set_condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .build()
                .map(|put| item.put(put)),
            (Action::Update, Some(update)) => Update::builder()
                .table_name(table)
                .key(key, row)
                .set_condition_expression(condition)
                .update_expression(update)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .build()
                .map(|update| item.update(update)),
            // A transaction takes no update that changes nothing.
            (Action::Update, None) => ConditionCheck::builder()
                .table_name(table)
                .key(key, row)
                .set_condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .build()
                .map(|check| item.condition_check(check)),
            (Action::Delete, _) => Delete::builder()
                .table_name(table)
                .key(key, row)
                .set_condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .return_values_on_condition_check_failure(OnFailure::AllOld)
                .build()
                .map(|delete| item.delete(delete)),
        };
        let item = item.map_err(|error| TableError::Refused(error.to_string()))?;
        Ok(item.build())
    }

    /// The row of the first write. A transaction returns none, so it is read, unless the write
    /// itself says it all.
    async fn answer(&self, first: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        let rendered = render(first, None, Alone::Yes);
        match rendered {
            Ok(Rendered { place, action: Action::Put(item), .. }) if !is_ensure(first) => {
                return won(self, place, Some(&item));
            }
            Ok(Rendered { action: Action::Delete, .. }) => return Ok(CasOutcome::Won(None)),
            _ => {}
        }
        let row = self.read(&first.key()).await;
        row.map(CasOutcome::Won).map_err(|error| {
            TableError::Unknown(format!("the transaction applied, but then: {error}"))
        })
    }
}

fn is_ensure(write: &ConditionalWrite) -> bool {
    matches!(write, ConditionalWrite::Lease(kcl_protocol::LeaseWrite::Ensure(_)))
}

fn check(writes: &[ConditionalWrite]) -> Result<(), TableError> {
    if writes.len() > WRITES_PER_TRANSACTION {
        return Err(TableError::Refused(format!(
            "{} writes in one transaction; at most {WRITES_PER_TRANSACTION}: split them",
            writes.len()
        )));
    }
    let mut keys = BTreeSet::new();
    for write in writes {
        let key = write.key();
        if keys.contains(&key) {
            return Err(TableError::Refused(format!("two writes of {key:?} in one transaction")));
        }
        keys.insert(key);
    }
    Ok(())
}

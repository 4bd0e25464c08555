//! Sends one rendered write by itself.

use std::collections::HashMap;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure,
};
use kcl_core::TableError;
use kcl_protocol::CasOutcome;

use crate::attributes::{Item, text};
use crate::counts::Kind;
use crate::errors::{Intent, classify};
use crate::render::{Action, Place, Rendered, key_attribute};
use crate::requests::Requests;

/// Sends a write and sorts the answer.
pub(crate) async fn alone(to: &Requests, rendered: Rendered) -> Result<CasOutcome, TableError> {
    match rendered.action.clone() {
        Action::Put(item) => put(to, rendered, item).await,
        Action::Update => update(to, rendered).await,
        Action::Delete => delete(to, rendered).await,
    }
}

fn key_of(rendered: &Rendered) -> HashMap<String, AttributeValue> {
    [(key_attribute(rendered.place).to_owned(), text(&rendered.key))].into()
}

/// The outcome of a refused condition, with the row as it stands.
fn lost(to: &Requests, place: Place, item: Option<&Item>) -> Result<CasOutcome, TableError> {
    let item = item.filter(|item| !item.is_empty());
    item.map(|item| to.decode(place, item)).transpose().map(CasOutcome::Lost)
}

/// The row of a write that applied. One that does not decode must not be mistaken for a write that
/// did not apply: the caller reads, and finds the bad row by itself.
pub(crate) fn won(
    to: &Requests,
    place: Place,
    item: Option<&Item>,
) -> Result<CasOutcome, TableError> {
    let row = item.map(|item| to.decode(place, item)).transpose();
    row.map(CasOutcome::Won)
        .map_err(|error| TableError::Unknown(format!("the write applied, but {error}")))
}

async fn put(to: &Requests, rendered: Rendered, item: Item) -> Result<CasOutcome, TableError> {
    let table = to.table_name(rendered.place);
    to.counters.add(Kind::Put);
    let answer = to
        .client
        .put_item()
        .table_name(table)
        .set_item(Some(item.clone()))
        .set_condition_expression(rendered.expression.condition())
        .set_expression_attribute_names(Some(rendered.expression.names()))
        .return_values_on_condition_check_failure(OnFailure::AllOld)
        .send()
        .await;
    match answer {
        Ok(_) => won(to, rendered.place, Some(&item)),
        Err(error) => refused(to, rendered.place, &error),
    }
}

async fn update(to: &Requests, rendered: Rendered) -> Result<CasOutcome, TableError> {
    let table = to.table_name(rendered.place);
    to.counters.add(Kind::Update);
    let answer = to
        .client
        .update_item()
        .table_name(table)
        .set_key(Some(key_of(&rendered)))
        .set_condition_expression(rendered.expression.condition())
        .set_update_expression(rendered.expression.update())
        .set_expression_attribute_names(Some(rendered.expression.names()))
        .set_expression_attribute_values(rendered.expression.values())
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(OnFailure::AllOld)
        .send()
        .await;
    match answer {
        Ok(answer) => won(to, rendered.place, answer.attributes()),
        Err(error) => refused(to, rendered.place, &error),
    }
}

async fn delete(to: &Requests, rendered: Rendered) -> Result<CasOutcome, TableError> {
    let table = to.table_name(rendered.place);
    to.counters.add(Kind::Delete);
    let answer = to
        .client
        .delete_item()
        .table_name(table)
        .set_key(Some(key_of(&rendered)))
        .set_condition_expression(rendered.expression.condition())
        .set_expression_attribute_names(Some(rendered.expression.names()))
        .set_expression_attribute_values(rendered.expression.values())
        .return_values_on_condition_check_failure(OnFailure::AllOld)
        .send()
        .await;
    match answer {
        Ok(_) => Ok(CasOutcome::Won(None)),
        Err(error) => refused(to, rendered.place, &error),
    }
}

/// Sorts a refusal: a failed condition is an outcome, everything else an error.
fn refused<E>(
    to: &Requests,
    place: Place,
    error: &SdkError<E, HttpResponse>,
) -> Result<CasOutcome, TableError>
where
    E: CarriesRow + ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error.as_service_error().and_then(CarriesRow::failed_condition) {
        Some(refusal) => lost(to, place, refusal.item()),
        None => Err(classify(error, Intent::Write, to.table_name(place))),
    }
}

/// Operations whose refusal carries the row.
trait CarriesRow {
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! carries_row {
    ($($error:ty),*) => {$(
        impl CarriesRow for $error {
            fn failed_condition(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(refusal) => Some(refusal),
                    _ => None,
                }
            }
        }
    )*};
}

carries_row!(PutItemError, UpdateItemError, DeleteItemError);

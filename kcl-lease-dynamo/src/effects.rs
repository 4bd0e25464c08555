//! Writes of the user's own in one transaction with a checkpoint.

use aws_sdk_dynamodb::types::TransactWriteItem;

/// The effects this lease table takes: up to 99 writes of one transaction, on any tables of the
/// same account and region except the rows of the lease table itself.
///
/// They apply together with the checkpoint or not at all, and only while the worker's fence
/// stands. A condition of an effect that fails refuses the checkpoint with
/// [`kcl_core::TableError::Refused`], naming the effect's place in this list.
///
/// ```
/// use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
/// use kcl_core::Effects;
/// use kcl_lease_dynamo::DynamoEffects;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let total = Put::builder()
///     .table_name("totals")
///     .item("day", AttributeValue::S("monday".into()))
///     .item("sum", AttributeValue::N("17".into()))
///     .build()?;
/// let effects = Effects::new(DynamoEffects(vec![
///     TransactWriteItem::builder().put(total).build(),
/// ]));
/// # let _ = effects;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct DynamoEffects(pub Vec<TransactWriteItem>);

//! Data that readers of aggregates would take for an aggregate. A producer that aggregates puts it
//! inside one, so that it comes out as it went in.

use kcl_records::AggregateBuilder;
use kcl_records::aggregate::MAGIC;

use crate::fate::NotAccepted;
use crate::record::NewRecord;

/// True if a reader of aggregates would look into this data.
pub(crate) fn needs_wrapping(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// Bytes of data and key of a record once it is wrapped.
pub(crate) fn wrapped_bytes(record: &NewRecord) -> usize {
    let NewRecord { partition_key, data, explicit_hash_key } = record;
    let wrapped = AggregateBuilder::new().len_with(partition_key, *explicit_hash_key, data.len());
    partition_key.as_str().len() + wrapped
}

/// # Errors
/// `Invalid`: it needs wrapping, and has no room for it.
pub(crate) fn check(record: &NewRecord, record_bytes: usize) -> Result<(), NotAccepted> {
    if !needs_wrapping(&record.data) {
        return Ok(());
    }
    let bytes = wrapped_bytes(record);
    if bytes <= record_bytes {
        return Ok(());
    }
    Err(NotAccepted::Invalid(format!(
        "the record's data begins like an aggregate, so it is put inside one, and then has {bytes} \
         bytes (data and key), which is above the stream's {record_bytes}: split it, or put it \
         with a producer that does not aggregate"
    )))
}

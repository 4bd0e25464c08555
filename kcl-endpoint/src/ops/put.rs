//! PutRecord and PutRecords.

use kcl_stream_local::{NewRecord, PutError, PutReceipt};
use serde::{Deserialize, Serialize};

use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::{ACCOUNT, LARGEST_DATA};
use crate::model::{Form, Shape};
use crate::names::{check_id, stream_of};
use crate::state::{Distribution, State};
use crate::validate::{Tree, refusal};
use crate::wire::Blob;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecord {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
    sequence_number_for_ordering: Option<String>,
    stream_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Put {
    shard_id: String,
    sequence_number: String,
    encryption_type: &'static str,
}

fn record(
    at: &str,
    data: Option<Blob>,
    key: Option<String>,
    hash_key: Option<&str>,
    distribution: Distribution,
) -> Result<NewRecord, ApiError> {
    let data = data.ok_or_else(|| ApiError::missing(&format!("{at}data")))?;
    if data.0.len() > LARGEST_DATA {
        let shape = Shape::Blob(LARGEST_DATA);
        let refused = refusal(&format!("{at}data"), &Tree::Bytes(data.0.len()), &shape);
        return Err(refused.unwrap_or_else(|| ApiError::missing("data")));
    }
    if distribution == Distribution::Auto {
        // Wherever the service likes: a random place is even enough.
        let anywhere = uuid::Uuid::new_v4();
        let key = key.filter(|key| !key.is_empty() && key.chars().count() <= 256);
        let key = key.unwrap_or_else(|| anywhere.to_string());
        // The first of a random id's bits are random; the lower ones do not matter.
        return Ok(NewRecord::new(key, data.0).with_hash_key(anywhere.as_u128()));
    }
    let key = key.ok_or_else(|| ApiError::missing(&format!("{at}partitionKey")))?;
    if key.is_empty() || key.chars().count() > 256 {
        let rule = match key.is_empty() {
            true => "Member must have length greater than or equal to 1",
            false => "Member must have length less than or equal to 256",
        };
        return Err(ApiError::validation(&format!("{at}partitionKey"), &format!("'{key}'"), rule));
    }
    let record = NewRecord::new(key, data.0);
    let Some(text) = hash_key else { return Ok(record) };
    if !Form::HashKey.matches(text) {
        let shape = Shape::Text(1, 39, Form::HashKey);
        let member = format!("{at}explicitHashKey");
        let refused = refusal(&member, &Tree::Text(text.to_owned()), &shape);
        return Err(refused.unwrap_or_else(|| ApiError::missing(&member)));
    }
    let hash_key = text.parse().map_err(|_| {
        ApiError::invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
             Specified value was {text}"
        ))
    })?;
    Ok(record.with_hash_key(hash_key))
}

pub(crate) fn one(state: &State, request: PutRecord) -> Result<Body<Put>, ApiError> {
    let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
    check_id(request.stream_id.as_deref())?;
    if let Some(order) = request.sequence_number_for_ordering {
        let shape = Shape::Text(1, 129, Form::Sequence);
        let refused = refusal("sequenceNumberForOrdering", &Tree::Text(order), &shape);
        refused.map_or(Ok(()), Err)?;
    }
    let hash_key = request.explicit_hash_key.as_deref();
    let (distribution, encryption_type) = state.record_settings(&name);
    let record = record("", request.data, request.partition_key, hash_key, distribution)?;
    let stream = state.readable(&name)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let receipt = stream.put(record)?;
    Ok(Body(Put {
        shard_id: receipt.shard.to_string(),
        sequence_number: receipt.sequence.to_string(),
        encryption_type,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecords {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    records: Option<Vec<Entry>>,
    stream_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    data: Option<Blob>,
    partition_key: Option<String>,
    explicit_hash_key: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutMany {
    failed_record_count: usize,
    records: Vec<EntryResult>,
    encryption_type: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EntryResult {
    #[serde(rename_all = "PascalCase")]
    Taken { shard_id: String, sequence_number: String },
    #[serde(rename_all = "PascalCase")]
    Refused { error_code: &'static str, error_message: String },
}

pub(crate) fn many(state: &State, request: PutRecords) -> Result<Body<PutMany>, ApiError> {
    let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
    check_id(request.stream_id.as_deref())?;
    let (distribution, encryption_type) = state.record_settings(&name);
    let entries = request.records.ok_or_else(|| ApiError::missing("records"))?;
    if !(1..=500).contains(&entries.len()) {
        let rule = match entries.is_empty() {
            true => "Member must have length greater than or equal to 1",
            false => "Member must have length less than or equal to 500",
        };
        return Err(ApiError::validation("records", &format!("[{} entries]", entries.len()), rule));
    }
    let mut records = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = format!("records.{}.member.", index + 1);
        let hash_key = entry.explicit_hash_key.as_deref();
        records.push(record(&at, entry.data, entry.partition_key, hash_key, distribution)?);
    }
    let stream = state.readable(&name)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let put = stream.put_many(records)?;
    let failed_record_count = put.failed_count();
    let records = put.results.into_iter().map(|result| entry_result(&name, result)).collect();
    Ok(Body(PutMany { failed_record_count, records, encryption_type }))
}

fn entry_result(stream: &str, result: Result<PutReceipt, PutError>) -> EntryResult {
    match result {
        Ok(receipt) => EntryResult::Taken {
            shard_id: receipt.shard.to_string(),
            sequence_number: receipt.sequence.to_string(),
        },
        Err(PutError::Throttled { shard, .. }) => EntryResult::Refused {
            error_code: "ProvisionedThroughputExceededException",
            error_message: format!(
                "Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}."
            ),
        },
        Err(PutError::StreamFull { .. } | PutError::Stopped { .. }) => EntryResult::Refused {
            error_code: "InternalFailure",
            error_message: "Internal Service Failure".into(),
        },
    }
}

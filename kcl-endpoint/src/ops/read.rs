//! GetShardIterator and GetRecords.

use kcl_core::protocol::{Position, SequenceNumber};
use kcl_core::{ChildShard, ReadFrom, Record};
use kcl_stream_local::{ShardIterator, ShardNumber};
use serde::{Deserialize, Serialize};

use super::WireRange;
use super::streams::within;
use crate::dispatch::Body;
use crate::error::ApiError;
use crate::limits::ACCOUNT;
use crate::model::{Form, Shape};
use crate::names::{check_id, stream_of};
use crate::state::State;
use crate::token::IteratorToken;
use crate::validate::{Tree, refusal};
use crate::wire::{Blob, Time};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetShardIterator {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<Time>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GotShardIterator {
    shard_iterator: String,
}

fn seal(state: &State, stream: &str, iterator: &ShardIterator) -> String {
    state.seal.close(&IteratorToken {
        s: stream.to_owned(),
        c: iterator.stream_created_at_millis,
        n: iterator.shard.0,
        p: iterator.next,
        t: iterator.issued_at_millis,
    })
}

/// Where to read from, by the name of an iterator type and what goes with it.
pub(crate) fn from(
    member: &str,
    kind: Option<&str>,
    sequence: Option<&str>,
    timestamp: Option<Time>,
) -> Result<ReadFrom, ApiError> {
    let sequence = || {
        let text = sequence;
        let missing = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                       StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no \
                       StartingSequenceNumber.";
        let text = text.ok_or_else(|| ApiError::invalid_argument(missing))?;
        let bad =
            |_| ApiError::invalid_argument(format!("StartingSequenceNumber {text} is invalid."));
        text.parse::<SequenceNumber>().map_err(bad)
    };
    Ok(match kind.ok_or_else(|| ApiError::missing(member))? {
        "TRIM_HORIZON" => ReadFrom::TrimHorizon,
        "LATEST" => ReadFrom::Latest,
        "AT_SEQUENCE_NUMBER" => ReadFrom::At(sequence()?),
        "AFTER_SEQUENCE_NUMBER" => ReadFrom::After(Position::from(sequence()?)),
        "AT_TIMESTAMP" => {
            let missing = "Must specify timestamp parameter for iterator of type AT_TIMESTAMP.";
            let time = timestamp.ok_or_else(|| ApiError::invalid_argument(missing))?;
            ReadFrom::AtTimestamp(time.0)
        }
        other => return Err(ApiError::invalid(&format!("{other:?} at '{member}' is no type."))),
    })
}

pub(crate) fn iterator(
    state: &State,
    request: GetShardIterator,
) -> Result<Body<GotShardIterator>, ApiError> {
    let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
    let from = from(
        "shardIteratorType",
        request.shard_iterator_type.as_deref(),
        request.starting_sequence_number.as_deref(),
        request.timestamp,
    )?;
    let shard = request.shard_id.ok_or_else(|| ApiError::missing("shardId"))?;
    let stream = state.readable(&name)?;
    let iterator = stream.shard_iterator(&shard.as_str().into(), from).map_err(|error| {
        let message =
            format!("Shard {shard} in stream {name} under account {ACCOUNT} does not exist");
        match ApiError::from(error) {
            error if error.name == "ResourceNotFoundException" => ApiError::not_found(message),
            error => error,
        }
    })?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    Ok(Body(GotShardIterator { shard_iterator: seal(state, &name, &iterator) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetRecords {
    shard_iterator: Option<String>,
    limit: Option<i64>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GotRecords {
    records: Vec<WireRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<WireChild>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WireRecord {
    sequence_number: String,
    approximate_arrival_timestamp: Time,
    data: Blob,
    partition_key: String,
    /// None if the stream is not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

impl WireRecord {
    /// A record of a stream that is encrypted so.
    pub fn of(record: Record, encryption: &'static str) -> Self {
        Self {
            sequence_number: record.position.sequence.to_string(),
            approximate_arrival_timestamp: Time(record.arrival_millis),
            data: Blob(record.data),
            partition_key: record.partition_key.as_str().to_owned(),
            encryption_type: Some(encryption).filter(|kind| *kind != "NONE"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WireChild {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: WireRange,
}

impl From<ChildShard> for WireChild {
    fn from(child: ChildShard) -> Self {
        Self {
            shard_id: child.id.to_string(),
            parent_shards: child.parents.iter().map(ToString::to_string).collect(),
            hash_key_range: child.range.into(),
        }
    }
}

pub(crate) fn records(state: &State, request: GetRecords) -> Result<Body<GotRecords>, ApiError> {
    let limit = within("limit", request.limit.unwrap_or(10_000), 1, 10_000)?;
    let token = request.shard_iterator.ok_or_else(|| ApiError::missing("shardIterator"))?;
    let shape = Shape::Text(1, 512, Form::Any);
    if !(1..=512).contains(&token.len())
        && let Some(refused) = refusal("shardIterator", &Tree::Text(token.clone()), &shape)
    {
        return Err(refused);
    }
    check_id(request.stream_id.as_deref())?;
    let opened: IteratorToken = state
        .seal
        .open(&token)
        .ok_or_else(|| ApiError::invalid_argument("Invalid ShardIterator."))?;
    let iterator = ShardIterator {
        stream_created_at_millis: opened.c,
        shard: ShardNumber(opened.n),
        next: opened.p,
        issued_at_millis: opened.t,
    };
    if let Some(arn) = &request.stream_arn
        && stream_of(None, Some(arn))? != opened.s
    {
        return Err(ApiError::invalid_argument("ShardIterator is of another stream."));
    }
    let stream = state.readable(&opened.s)?;
    if request.dry_run == Some(true) {
        return Err(ApiError::dry_run());
    }
    let (_, encryption) = state.record_settings(&opened.s);
    let got = stream.get_records(&iterator, limit as usize)?;
    Ok(Body(GotRecords {
        records: got.records.into_iter().map(|it| WireRecord::of(it, encryption)).collect(),
        next_shard_iterator: got.next.map(|next| seal(state, &opened.s, &next)),
        millis_behind_latest: got.behind_millis,
        child_shards: got.children.into_iter().map(WireChild::from).collect(),
    }))
}

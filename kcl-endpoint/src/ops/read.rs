//! GetShardIterator and GetRecords.

use bytes::Bytes;
use kcl_core::protocol::{Position, SequenceNumber};
use kcl_core::{ChildShard, ReadFrom, Record};
use kcl_stream_local::{ShardIterator, ShardNumber};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::streams::within;
use crate::collect::counted;
use crate::dispatch::{Answer, Body};
use crate::error::ApiError;
use crate::limits::{ACCOUNT, ITERATORS_A_SECOND, MOST_READ};
use crate::model::{Form, Shape};
use crate::names::{check_id, stream_of};
use crate::out::Out;
use crate::state::State;
use crate::token::IteratorToken;
use crate::validate::{Tree, refusal};
use crate::wire::{Format, Time};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetShardIterator {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
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
    let name = state.named(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
        request.stream_id.as_deref(),
    )?;
    let from = from(
        "shardIteratorType",
        request.shard_iterator_type.as_deref(),
        request.starting_sequence_number.as_deref(),
        request.timestamp,
    )?;
    let shard = request.shard_id.ok_or_else(|| ApiError::missing("shardId"))?;
    let stream = state.readable(&name)?;
    state.take_iterator_rate(&name, &shard, ITERATORS_A_SECOND)?;
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

pub(crate) struct GotRecords {
    records: Vec<Record>,
    encryption: &'static str,
    next_shard_iterator: Option<String>,
    behind_millis: u64,
    children: Vec<ChildShard>,
    /// The bytes that the answer takes.
    counted: OwnedSemaphorePermit,
}

impl Answer for GotRecords {
    fn write(self, format: Format) -> Result<Bytes, ApiError> {
        let mut out = Out::new(format, room_for(&self.records));
        let has_next = self.next_shard_iterator.is_some();
        out.open(2 + usize::from(has_next) + usize::from(!self.children.is_empty()));
        write_records(&mut out, &self.records, self.encryption);
        if let Some(next) = &self.next_shard_iterator {
            out.name("NextShardIterator");
            out.plain(next);
        }
        out.name("MillisBehindLatest");
        out.whole(self.behind_millis);
        write_children(&mut out, &self.children);
        out.close();
        Ok(counted(out.finish(), self.counted))
    }
}

/// About the bytes that records take in an answer.
pub(crate) fn room_for(records: &[Record]) -> usize {
    let bytes = |it: &Record| it.data.len().div_ceil(3) * 4 + it.partition_key.len() + 200;
    records.iter().map(bytes).sum::<usize>() + 512
}

/// The member `Records`, of a stream that is encrypted so.
pub(crate) fn write_records(out: &mut Out, records: &[Record], encryption: &str) {
    let is_encrypted = encryption != "NONE";
    out.name("Records");
    out.open_list(records.len());
    for record in records {
        out.item();
        out.open(4 + usize::from(is_encrypted));
        out.name("SequenceNumber");
        out.shown(record.position.sequence);
        out.name("ApproximateArrivalTimestamp");
        out.time(record.arrival_millis);
        out.name("Data");
        out.blob(&record.data);
        out.name("PartitionKey");
        out.text(record.partition_key.as_str());
        if is_encrypted {
            out.name("EncryptionType");
            out.plain(encryption);
        }
        out.close();
    }
    out.close_list();
}

/// The member `ChildShards`, if there are any.
pub(crate) fn write_children(out: &mut Out, children: &[ChildShard]) {
    if children.is_empty() {
        return;
    }
    out.name("ChildShards");
    out.open_list(children.len());
    for child in children {
        out.item();
        out.open(3);
        out.name("ShardId");
        out.shown(&child.id);
        out.name("ParentShards");
        out.open_list(child.parents.len());
        for parent in &child.parents {
            out.item();
            out.shown(parent);
        }
        out.close_list();
        out.name("HashKeyRange");
        out.open(2);
        out.name("StartingHashKey");
        out.shown(child.range.start);
        out.name("EndingHashKey");
        out.shown(child.range.end);
        out.close();
        out.close();
    }
    out.close_list();
}

pub(crate) fn records(state: &State, request: GetRecords) -> Result<GotRecords, ApiError> {
    let limit = request.limit.unwrap_or(MOST_READ);
    if limit > MOST_READ {
        // The one bound of which the API reference says that it is no ValidationException.
        return Err(ApiError::invalid_argument(format!("limit is at most {MOST_READ}.")));
    }
    let limit = within("limit", limit, 1, MOST_READ)?;
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
    // Before it is made: the records are the stream's own bytes, the answer is a copy of them.
    let counted = state.answers.take(room_for(&got.records))?;
    Ok(GotRecords {
        counted,
        records: got.records,
        encryption,
        next_shard_iterator: got.next.map(|next| seal(state, &opened.s, &next)),
        behind_millis: got.behind_millis,
        children: got.children,
    })
}

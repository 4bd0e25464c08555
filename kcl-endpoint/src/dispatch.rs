//! From the name of an operation to its answer.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::Reply;
use crate::error::ApiError;
use crate::ops::{consumers, put, read, reshard, shards, streams, subscribe};
use crate::state::State;
use crate::wire::Format;

/// Before the name of every operation in `X-Amz-Target`.
const PREFIX: &str = "Kinesis_20131202.";

/// Answers one request.
pub(crate) fn answer(
    state: &State,
    target: &str,
    format: Format,
    body: &[u8],
) -> Result<Reply, ApiError> {
    let operation = target.strip_prefix(PREFIX).unwrap_or_default();
    let call = Call { state, format, body };
    match operation {
        "CreateStream" => call.run(streams::create),
        "DeleteStream" => call.run(streams::delete),
        "DescribeStream" => call.run(streams::describe),
        "DescribeStreamSummary" => call.run(streams::describe_summary),
        "ListStreams" => call.run(streams::list),
        "IncreaseStreamRetentionPeriod" => call.run(streams::increase_retention),
        "DecreaseStreamRetentionPeriod" => call.run(streams::decrease_retention),
        "ListShards" => call.run(shards::list),
        "PutRecord" => call.run(put::one),
        "PutRecords" => call.run(put::many),
        "GetShardIterator" => call.run(read::iterator),
        "GetRecords" => call.run(read::records),
        "SplitShard" => call.run(reshard::split),
        "MergeShards" => call.run(reshard::merge),
        "UpdateShardCount" => call.run(reshard::update_count),
        "RegisterStreamConsumer" => call.run(consumers::register),
        "DeregisterStreamConsumer" => call.run(consumers::deregister),
        "DescribeStreamConsumer" => call.run(consumers::describe),
        "ListStreamConsumers" => call.run(consumers::list),
        "SubscribeToShard" => subscribe::to_shard(state, format, body),
        _ => Err(ApiError::unknown_operation(target)),
    }
}

struct Call<'a> {
    state: &'a State,
    format: Format,
    body: &'a [u8],
}

impl Call<'_> {
    fn run<Q: DeserializeOwned, A: Answer>(
        &self,
        operation: impl FnOnce(&State, Q) -> Result<A, ApiError>,
    ) -> Result<Reply, ApiError> {
        let answer = operation(self.state, self.format.read(self.body)?)?;
        answer.write(self.format).map(Reply::Whole)
    }
}

/// What an operation answers; `()` is no body at all.
pub(crate) trait Answer {
    fn write(&self, format: Format) -> Result<Bytes, ApiError>;
}

impl Answer for () {
    fn write(&self, _: Format) -> Result<Bytes, ApiError> {
        Ok(Bytes::new())
    }
}

/// An answer with members.
pub(crate) struct Body<T>(pub T);

impl<T: Serialize> Answer for Body<T> {
    fn write(&self, format: Format) -> Result<Bytes, ApiError> {
        format.write(&self.0)
    }
}

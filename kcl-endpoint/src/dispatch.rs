//! From the name of an operation to its answer.

use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use crate::body::Reply;
use crate::error::ApiError;
use crate::model::{Member, members};
use crate::ops::{
    account, consumers, describe, mode, policies, put, read, reshard, settings, shards, streams,
    subscribe, tags,
};
use crate::state::State;
use crate::validate::validate;
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
    let members = members(operation).ok_or_else(|| ApiError::unknown_operation(target))?;
    let call = Call { state, operation, format, body, members };
    match operation {
        "PutRecord" => call.fast(put::one),
        "PutRecords" => call.fast(put::many),
        "GetRecords" => call.fast(read::records),
        "GetShardIterator" => call.run(read::iterator),
        "SubscribeToShard" => {
            call.validate()?;
            subscribe::to_shard(state, format, body)
        }
        "CreateStream" => call.run(streams::create),
        "DeleteStream" => call.run(streams::delete),
        "DescribeStream" => call.run(describe::whole),
        "DescribeStreamSummary" => call.run(describe::summary),
        "ListStreams" => call.run(streams::list),
        "ListShards" => call.run(shards::list),
        "SplitShard" => call.run(reshard::split),
        "MergeShards" => call.run(reshard::merge),
        "UpdateShardCount" => call.run(reshard::update_count),
        "RegisterStreamConsumer" => call.run(consumers::register),
        "DeregisterStreamConsumer" => call.run(consumers::deregister),
        "DescribeStreamConsumer" => call.run(consumers::describe),
        "ListStreamConsumers" => call.run(consumers::list),
        _ => settings(&call, operation, target),
    }
}

/// Operations on what streams, consumers and the account are set to.
fn settings(call: &Call<'_>, operation: &str, target: &str) -> Result<Reply, ApiError> {
    match operation {
        "IncreaseStreamRetentionPeriod" => call.run(settings::increase_retention),
        "DecreaseStreamRetentionPeriod" => call.run(settings::decrease_retention),
        "EnableEnhancedMonitoring" => call.run(settings::enable_monitoring),
        "DisableEnhancedMonitoring" => call.run(settings::disable_monitoring),
        "StartStreamEncryption" => call.run(settings::start_encryption),
        "StopStreamEncryption" => call.run(settings::stop_encryption),
        "UpdateMaxRecordSize" => call.run(settings::update_max_record_size),
        "UpdateStreamMode" => call.run(mode::update),
        "UpdateStreamWarmThroughput" => call.run(mode::update_warm_throughput),
        "UpdateStreamRecordDistributionStrategy" => call.run(mode::update_distribution),
        "AddTagsToStream" => call.run(tags::add_to_stream),
        "RemoveTagsFromStream" => call.run(tags::remove_from_stream),
        "ListTagsForStream" => call.run(tags::list_for_stream),
        "TagResource" => call.run(tags::add),
        "UntagResource" => call.run(tags::remove),
        "ListTagsForResource" => call.run(tags::list),
        "PutResourcePolicy" => call.run(policies::put),
        "GetResourcePolicy" => call.run(policies::get),
        "DeleteResourcePolicy" => call.run(policies::delete),
        "DescribeLimits" => call.run(account::limits),
        "DescribeAccountSettings" => call.run(account::describe),
        "UpdateAccountSettings" => call.run(account::update),
        _ => Err(ApiError::unknown_operation(target)),
    }
}

struct Call<'a> {
    state: &'a State,
    operation: &'a str,
    format: Format,
    body: &'a [u8],
    members: &'static [Member],
}

impl<'a> Call<'a> {
    fn validate(&self) -> Result<(), ApiError> {
        validate(&self.format.tree(self.body)?, self.members)
    }

    /// Holds the request against the model, and answers it.
    fn run<Q: DeserializeOwned, A: Answer>(
        &self,
        operation: impl FnOnce(&State, Q) -> Result<A, ApiError>,
    ) -> Result<Reply, ApiError> {
        self.validate()?;
        self.state.take_account_rate(self.operation)?;
        self.fast(operation)
    }

    /// For operations on records, which hold their requests against the model themselves: their
    /// bodies are large.
    fn fast<Q: Deserialize<'a>, A: Answer>(
        &self,
        operation: impl FnOnce(&State, Q) -> Result<A, ApiError>,
    ) -> Result<Reply, ApiError> {
        let answer = operation(self.state, self.format.request(self.body)?)?;
        answer.write(self.format).map(Reply::Whole)
    }
}

/// What an operation answers; `()` is no body at all.
pub(crate) trait Answer {
    fn write(self, format: Format) -> Result<Bytes, ApiError>;
}

impl Answer for () {
    fn write(self, _: Format) -> Result<Bytes, ApiError> {
        Ok(Bytes::new())
    }
}

/// An answer with members.
pub(crate) struct Body<T>(pub T);

impl<T: Serialize> Answer for Body<T> {
    fn write(self, format: Format) -> Result<Bytes, ApiError> {
        format.write(&self.0)
    }
}

//! What the members of requests may be, as the service's model has it
//! (<https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html>).

/// What a value may be. Bounds include both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Characters, and what they are.
    Text(usize, usize, Form),
    Whole(i64, i64),
    OneOf(&'static [&'static str]),
    /// At most so many bytes.
    Blob(usize),
    Flag,
    Time,
    List(usize, usize, &'static Shape),
    /// Keys and values.
    Map(usize, usize, &'static Shape, &'static Shape),
    Structure(&'static [Member]),
}

/// A pattern that the whole of a text has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Any,
    Name,
    StreamArn,
    ConsumerArn,
    ResourceArn,
    HashKey,
    Sequence,
    StreamId,
}

/// One member of a structure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub name: &'static str,
    pub shape: Shape,
    pub need: Need,
}

/// Whether a member may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

const fn member(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, need: Need::Optional }
}

impl Member {
    /// The same, and it must be there.
    const fn needed(self) -> Self {
        Self { need: Need::Required, ..self }
    }
}

const NAME: Shape = Shape::Text(1, 128, Form::Name);
const SEQUENCE: Shape = Shape::Text(1, 129, Form::Sequence);
const HASH_KEY: Shape = Shape::Text(1, 39, Form::HashKey);
const TOKEN: Shape = Shape::Text(1, 1 << 20, Form::Any);
const PAGE: Shape = Shape::Whole(1, 10_000);
const POSITIVE: Shape = Shape::Whole(1, i32::MAX as i64);
const NATURAL: Shape = Shape::Whole(0, i32::MAX as i64);
const TAG_KEY: Shape = Shape::Text(1, 128, Form::Any);
const TAG_VALUE: Shape = Shape::Text(0, 256, Form::Any);
const METRIC: Shape = Shape::OneOf(&[
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
    "ALL",
]);
const STARTS: Shape = Shape::OneOf(&[
    "AT_SEQUENCE_NUMBER",
    "AFTER_SEQUENCE_NUMBER",
    "TRIM_HORIZON",
    "LATEST",
    "AT_TIMESTAMP",
]);
const FILTERS: Shape = Shape::OneOf(&[
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
]);

const STREAM: Member = member("StreamName", NAME);
const ARN: Member = member("StreamARN", Shape::Text(1, 2048, Form::StreamArn));
const ID: Member = member("StreamId", Shape::Text(1, 24, Form::StreamId));
const CONSUMER: Member = member("ConsumerName", NAME);
const CONSUMER_ARN: Member = member("ConsumerARN", Shape::Text(1, 2048, Form::ConsumerArn));
const RESOURCE: Member = member("ResourceARN", Shape::Text(1, 2048, Form::ResourceArn)).needed();
const TAGS: Member = member("Tags", Shape::Map(1, 200, &TAG_KEY, &TAG_VALUE));
const TAG_KEYS: Member = member("TagKeys", Shape::List(1, 50, &TAG_KEY)).needed();
const HOURS: Member =
    member("RetentionPeriodHours", Shape::Whole(i32::MIN as i64, i32::MAX as i64));
const METRICS: Member = member("ShardLevelMetrics", Shape::List(1, 7, &METRIC)).needed();
const ENCRYPTION: Member = member("EncryptionType", Shape::OneOf(&["NONE", "KMS"])).needed();
const KEY: Member = member("KeyId", Shape::Text(1, 2048, Form::Any)).needed();
const DRY_RUN: Member = member("DryRun", Shape::Flag);
const CREATED: Member = member("StreamCreationTimestamp", Shape::Time);
const NEXT: Member = member("NextToken", TOKEN);
const LIMIT: Member = member("Limit", PAGE);
const MAX_RESULTS: Member = member("MaxResults", PAGE);
const WARM: Member = member("WarmThroughputMiBps", NATURAL);
const RECORD_SIZE: Member = member("MaxRecordSizeInKiB", Shape::Whole(1024, 10_240));
const STRATEGY: Member =
    member("RecordDistributionStrategy", Shape::OneOf(&["AUTO", "USER_PARTITION_KEY"]));
const MODE: Member = member(
    "StreamModeDetails",
    Shape::Structure(&[member("StreamMode", Shape::OneOf(&["PROVISIONED", "ON_DEMAND"])).needed()]),
);
const SHARD: Member = member("ShardId", NAME);
const TIME: Member = member("Timestamp", Shape::Time);
const FILTER: Member =
    member("ShardFilter", Shape::Structure(&[member("Type", FILTERS).needed(), SHARD, TIME]));
const POSITION: Member = member(
    "StartingPosition",
    Shape::Structure(&[member("Type", STARTS).needed(), member("SequenceNumber", SEQUENCE), TIME]),
);
const COMMITMENT: Member = member(
    "MinimumThroughputBillingCommitment",
    Shape::Structure(&[member("Status", Shape::OneOf(&["ENABLED", "DISABLED"])).needed()]),
);
const DATA: Member = member("Data", Shape::Blob(10 << 20)).needed();
const PARTITION_KEY: Member = member("PartitionKey", Shape::Text(1, 256, Form::Any));
const EXPLICIT: Member = member("ExplicitHashKey", HASH_KEY);
const ENTRY: Shape = Shape::Structure(&[DATA, EXPLICIT, PARTITION_KEY]);

/// The members of an operation's request; `None` if there is no such operation here.
pub(crate) fn members(operation: &str) -> Option<&'static [Member]> {
    Some(match operation {
        "AddTagsToStream" => &const { [STREAM, ARN, ID, TAGS.needed()] },
        "CreateStream" => {
            &const {
                let shards = member("ShardCount", POSITIVE);
                [STREAM.needed(), shards, MODE, TAGS, WARM, RECORD_SIZE, STRATEGY]
            }
        }
        "DecreaseStreamRetentionPeriod" | "IncreaseStreamRetentionPeriod" => {
            &const { [STREAM, ARN, ID, HOURS.needed()] }
        }
        "DeleteResourcePolicy" | "GetResourcePolicy" | "ListTagsForResource" => {
            &const { [RESOURCE, ID] }
        }
        "DeleteStream" => {
            &const { [STREAM, ARN, ID, member("EnforceConsumerDeletion", Shape::Flag)] }
        }
        "DeregisterStreamConsumer" | "DescribeStreamConsumer" => {
            &const { [ARN, CONSUMER, CONSUMER_ARN, ID] }
        }
        "DescribeAccountSettings" | "DescribeLimits" => &[],
        "DescribeStream" => {
            &const { [STREAM, ARN, ID, LIMIT, member("ExclusiveStartShardId", NAME)] }
        }
        "DescribeStreamSummary" => &const { [STREAM, ARN, ID] },
        "DisableEnhancedMonitoring" | "EnableEnhancedMonitoring" => {
            &const { [STREAM, ARN, ID, METRICS] }
        }
        "ListShards" => {
            &const {
                let start = member("ExclusiveStartShardId", NAME);
                [STREAM, ARN, ID, NEXT, start, MAX_RESULTS, CREATED, FILTER]
            }
        }
        "ListStreamConsumers" => &const { [ARN.needed(), ID, NEXT, MAX_RESULTS, CREATED] },
        "ListStreams" => &const { [LIMIT, member("ExclusiveStartStreamName", NAME), NEXT] },
        "ListTagsForStream" => {
            &const {
                let limit = member("Limit", Shape::Whole(1, 50));
                [STREAM, ARN, ID, member("ExclusiveStartTagKey", TAG_KEY), limit]
            }
        }
        other => return data_members(other).or_else(|| change_members(other)),
    })
}

/// Of the operations on records.
fn data_members(operation: &str) -> Option<&'static [Member]> {
    Some(match operation {
        "GetRecords" => {
            &const {
                let iterator = member("ShardIterator", Shape::Text(1, 512, Form::Any)).needed();
                [iterator, LIMIT, ARN, ID, DRY_RUN]
            }
        }
        "GetShardIterator" => {
            &const {
                let kind = member("ShardIteratorType", STARTS).needed();
                let sequence = member("StartingSequenceNumber", SEQUENCE);
                [STREAM, ARN, ID, SHARD.needed(), kind, sequence, TIME, DRY_RUN]
            }
        }
        "PutRecord" => {
            &const {
                let order = member("SequenceNumberForOrdering", SEQUENCE);
                [STREAM, ARN, ID, DATA, PARTITION_KEY, EXPLICIT, order, DRY_RUN]
            }
        }
        "PutRecords" => {
            &const {
                let records = member("Records", Shape::List(1, 500, &ENTRY)).needed();
                [STREAM, ARN, ID, records, DRY_RUN]
            }
        }
        "SubscribeToShard" => {
            &const { [CONSUMER_ARN.needed(), ID, SHARD.needed(), POSITION.needed(), DRY_RUN] }
        }
        _ => return None,
    })
}

/// Of the operations that change something.
fn change_members(operation: &str) -> Option<&'static [Member]> {
    Some(match operation {
        "MergeShards" => {
            &const {
                let shard = member("ShardToMerge", NAME).needed();
                [STREAM, ARN, ID, shard, member("AdjacentShardToMerge", NAME).needed()]
            }
        }
        "PutResourcePolicy" => {
            &const {
                let policy = member("Policy", Shape::Text(0, usize::MAX, Form::Any)).needed();
                [RESOURCE, ID, policy]
            }
        }
        "RegisterStreamConsumer" => &const { [ARN.needed(), CONSUMER.needed(), ID, TAGS] },
        "RemoveTagsFromStream" => &const { [STREAM, ARN, ID, TAG_KEYS] },
        "SplitShard" => {
            &const {
                let key = member("NewStartingHashKey", HASH_KEY).needed();
                [STREAM, ARN, ID, member("ShardToSplit", NAME).needed(), key]
            }
        }
        "StartStreamEncryption" | "StopStreamEncryption" => {
            &const { [STREAM, ARN, ID, ENCRYPTION, KEY] }
        }
        "TagResource" => &const { [RESOURCE, ID, TAGS.needed()] },
        "UntagResource" => &const { [RESOURCE, ID, TAG_KEYS] },
        "UpdateAccountSettings" => &const { [COMMITMENT.needed()] },
        "UpdateMaxRecordSize" => &const { [ARN, ID, RECORD_SIZE.needed()] },
        "UpdateShardCount" => {
            &const {
                let target = member("TargetShardCount", POSITIVE).needed();
                let scaling = member("ScalingType", Shape::OneOf(&["UNIFORM_SCALING"])).needed();
                [STREAM, ARN, ID, target, scaling]
            }
        }
        "UpdateStreamMode" => &const { [ARN.needed(), ID, MODE.needed(), WARM] },
        "UpdateStreamRecordDistributionStrategy" => {
            &const { [ARN.needed(), ID, STRATEGY.needed()] }
        }
        "UpdateStreamWarmThroughput" => &const { [STREAM, ARN, ID, WARM.needed()] },
        _ => return None,
    })
}

//! What the service documents, one behaviour a test, over the wire and on a clock that stands still
//! until it is moved (<https://docs.aws.amazon.com/kinesis/latest/APIReference/>).

mod behaviours;
mod consumers;
mod events;
mod kept;
mod limits;
mod protocol;
mod puts;
mod reading;
mod resharding;
mod settings;
mod shards;
mod streams;
mod subscriptions;
mod world;

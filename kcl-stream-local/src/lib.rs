//! An in-process stream engine with the shards, limits and iterators of Kinesis.
//!
//! An [`Engine`] keeps named streams in memory, and in a [`Store`] if it has one. A [`Stream`]
//! takes records ([`Stream::put`], [`Stream::put_many`], [`Stream::producer`]), hands them out
//! ([`Stream::get_records`], [`Stream::subscribe`], [`Stream::source`]) and is resharded while it
//! runs.
//!
//! Time comes from the [`kcl_core::Clock`] given to the engine, so that retention, limits and
//! iterator expiry can be tested without waiting.

mod block;
mod bucket;
mod commit;
mod engine;
mod error;
mod hash;
mod iterator;
mod keeper;
pub mod limits;
mod log;
mod options;
mod put;
mod read;
mod record;
mod reshard;
mod route;
mod sequence;
mod shard;
mod shard_info;
mod shard_map;
mod sink;
mod source;
mod store;
mod stream;
mod subscribe;

pub use commit::Entry;
pub use engine::Engine;
pub use error::{EngineError, PutError};
pub use iterator::ShardIterator;
pub use kcl_producer::{Delivery, Producer, ProducerOptions};
pub use options::{StreamOptions, Throughput};
pub use put::PutMany;
pub use read::GotRecords;
pub use record::{NewRecord, PutReceipt, RecordRef, hash_key};
pub use sequence::ShardNumber;
pub use shard_info::{ShardFilter, ShardInfo};
pub use source::LocalSource;
pub use store::{
    ClosedRow, Journal, Saved, SavedBatch, SavedLog, SavedStream, ShardRow, Store, StoreError,
    StreamRow,
};
pub use stream::{Stream, StreamSummary};
pub use subscribe::{Pushed, Subscription};

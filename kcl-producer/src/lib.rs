//! Puts records on a stream: batches, aggregates in the Kinesis Producer Library's format, and
//! retries that keep the order of each key.
//!
//! A [`Producer`] writes to a [`PutSink`]. The bundled engine has one, Amazon Kinesis another
//! (feature `aws`). What becomes of each record is told exactly once, by its [`Delivery`].
//!
//! ```
//! # use std::sync::Arc;
//! # use kcl_producer::{Producer, ProducerOptions, Aggregation, PutSink};
//! # async fn run(sink: Arc<dyn PutSink>) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ProducerOptions { aggregation: Aggregation::KPL, ..Default::default() };
//! let producer = Producer::builder(sink).options(options).start();
//! let delivery = producer.put("order-7", "two apples").await?;
//! let receipt = delivery.await?;
//! println!("in {} at {}", receipt.shard, receipt.position);
//! producer.shutdown(std::time::Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "aws")]
mod aws;
mod core;
mod fate;
mod hot;
mod inbox;
pub mod limits;
mod metrics;
mod options;
mod producer;
mod record;
mod sealing;
mod shard_map;
mod sink;
mod task;
mod wrapping;

#[cfg(feature = "aws")]
pub use aws::KinesisSink;
pub use fate::{Copies, Delivery, Fate, NotAccepted, PutFailure, Receipt};
pub use hot::{HotKey, HotShard};
pub use kcl_records::hash_key;
pub use metrics::ProducerMetrics;
pub use options::{Aggregation, LostReply, Misplaced, Order, ProducerOptions};
pub use producer::{Builder, Producer, PutError, Shutdown};
pub use record::{NewRecord, validate_record};
pub use sink::{Outcome, Placed, PutSink, Refusal, SinkError, SinkLimits, SinkOrder, SinkRecord};

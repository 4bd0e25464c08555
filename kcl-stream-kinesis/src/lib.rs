//! Amazon Kinesis Data Streams as a [`StreamSource`](kcl_core::StreamSource), by polling or by
//! enhanced fan-out.
//!
//! The crate takes a ready client: region, credentials, TLS and endpoint are its user's. Retries
//! belong to the worker that reads, so the client's own are switched off for the copy used here.
//!
//! ```no_run
//! use kcl_stream_kinesis::{FanOut, KinesisSource};
//!
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), kcl_core::SourceError> {
//! let polled = KinesisSource::builder(client.clone(), "orders").build();
//! let pushed =
//!     KinesisSource::builder(client, "orders").fan_out(FanOut::register("shop")).build();
//! let description = kcl_core::StreamSource::describe(&pushed).await?;
//! # let _ = (polled, description);
//! # Ok(())
//! # }
//! ```

pub mod api;
mod counters;
mod fan_out;
pub mod limits;
mod options;
mod pace;
mod polling;
mod sdk;
mod source;
mod spare;
mod stream_ref;

pub use counters::SourceCounters;
pub use fan_out::FanOut;
pub use options::Builder;
pub use source::KinesisSource;
pub use stream_ref::StreamRef;

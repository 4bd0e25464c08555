//! Amazon Kinesis Data Streams as a [`StreamSource`](kcl_core::StreamSource), by polling.
//!
//! The crate takes a ready client: region, credentials, TLS and endpoint are its user's. Retries
//! belong to the worker that reads, so the client's own are switched off for the copy used here.
//!
//! ```no_run
//! use kcl_stream_kinesis::KinesisSource;
//!
//! # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), kcl_core::SourceError> {
//! let source = KinesisSource::builder(client, "orders").build();
//! let description = kcl_core::StreamSource::describe(&source).await?;
//! # let _ = description;
//! # Ok(())
//! # }
//! ```

mod decode;
mod errors;
pub mod limits;
mod listing;
mod options;
mod pace;
mod polling;
mod service_time;
mod source;
mod stream_ref;

pub use options::Builder;
pub use source::KinesisSource;

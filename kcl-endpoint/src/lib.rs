//! The bundled stream engine behind the wire protocol of Kinesis Data Streams, so that official
//! clients read and write it.
//!
//! ```no_run
//! use kcl_endpoint::{Endpoint, EndpointConfig};
//!
//! # async fn run() -> Result<(), kcl_endpoint::StartError> {
//! let endpoint = Endpoint::start(EndpointConfig::default()).await?; // a free port
//! let url = endpoint.url(); // for the client's endpoint_url
//! # let _ = url;
//! # Ok(())
//! # }
//! ```
//!
//! What it does of the protocol: `docs/endpoint.md`.

mod arrivals;
mod auth;
mod body;
mod bounds;
mod cbor;
mod collect;
mod config;
mod connection;
mod dispatch;
mod error;
mod event;
pub mod limits;
mod model;
mod names;
mod ops;
mod out;
mod request;
mod server;
mod state;
mod tls;
mod token;
mod validate;
mod wire;

pub use auth::{AccessKeys, KeysError};
pub use bounds::Bounds;
pub use config::{EndpointConfig, StartError, TlsFiles};
pub use server::Endpoint;

//! The lease table on Amazon DynamoDB.
//!
//! Leases live in one table, named after the application, with the attribute names and types of
//! the Java KCL wherever it has the field. Rows of workers, streams and the table itself live in a
//! second one, so that readers of a KCL table find nothing there but leases. [`schema`] names every
//! attribute. Reads are strongly consistent, nothing needs an index, no row expires by itself.
//!
//! The crate takes a ready client: region, credentials, TLS and endpoint are its user's.
//!
//! ```no_run
//! use kcl_core::LeaseTable;
//! use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
//!
//! # async fn run(client: aws_sdk_dynamodb::Client) -> Result<(), kcl_core::TableError> {
//! let table = DynamoLeaseTable::builder(client, "orders-app")
//!     .create_if_missing(TableOptions::default())
//!     .build();
//! let id = table.prepare().await?;
//! # let _ = id;
//! # Ok(())
//! # }
//! ```

mod attributes;
mod codec;
mod coordination;
mod counts;
mod effects;
mod errors;
mod expressions;
pub mod limits;
mod options;
mod own_thread;
mod render;
mod requests;
pub mod schema;
mod send;
mod setup;
mod table;
mod transact;

pub use counts::RequestCounts;
pub use effects::DynamoEffects;
pub use options::{Billing, Builder, TableOptions};
pub use table::DynamoLeaseTable;

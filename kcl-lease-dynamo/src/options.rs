//! How tables are made, and the builder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;

use crate::counts::Counters;
use crate::limits::{REQUEST_TIMEOUT, SCAN_SEGMENTS};
use crate::requests::Requests;
use crate::table::DynamoLeaseTable;

/// How the tables are paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Billing {
    /// Per request.
    #[default]
    OnDemand,
    /// A fixed number of capacity units a second, for each of the two tables.
    Provisioned {
        /// Read units.
        read: u32,
        /// Write units.
        write: u32,
    },
}

/// How the tables are made. The default is on demand and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// How the tables are paid for. Existing tables keep what they have.
    pub billing: Billing,
    /// Refuse deletion of the tables. Existing tables get it too; it is never taken away.
    pub deletion_protection: bool,
    /// Continuous backups. A service without them is tolerated, with a warning in the log.
    pub point_in_time_recovery: bool,
    /// Tags of the tables, added to those they have. Tolerated as above.
    pub tags: BTreeMap<String, String>,
}

/// Builds a [`DynamoLeaseTable`]; from [`DynamoLeaseTable::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    client: Client,
    lease_table: String,
    coordination_table: String,
    create_if_missing: Option<TableOptions>,
    request_timeout: Duration,
    scan_segments: Option<u32>,
}

impl Builder {
    pub(crate) fn new(client: Client, application: &str) -> Self {
        Self {
            client,
            lease_table: application.to_owned(),
            coordination_table: format!("{application}-workers"),
            create_if_missing: None,
            request_timeout: REQUEST_TIMEOUT,
            scan_segments: None,
        }
    }
    /// Another name for the table of leases (default: the application's).
    pub fn lease_table(mut self, name: impl Into<String>) -> Self {
        self.lease_table = name.into();
        self
    }
    /// Another name for the table of workers and streams (default: the application's with
    /// `-workers` after it).
    pub fn coordination_table(mut self, name: impl Into<String>) -> Self {
        self.coordination_table = name.into();
        self
    }
    /// Lets `prepare` make tables that are missing. Without it a worker needs no permission to
    /// make tables, and a missing one is refused: then [`DynamoLeaseTable::setup`] makes them.
    pub fn create_if_missing(mut self, options: TableOptions) -> Self {
        self.create_if_missing = Some(options);
        self
    }
    /// The longest one request may take (default 2 s). A write cut off by it has an unknown
    /// outcome.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }
    /// A fixed number of segments for scans, 1 to 16. Default: by the size of the table.
    pub fn scan_segments(mut self, segments: u32) -> Self {
        self.scan_segments = Some(segments.clamp(1, SCAN_SEGMENTS));
        self
    }
    /// The lease table. Sends nothing yet.
    pub fn build(self) -> DynamoLeaseTable {
        let Self { client, lease_table, coordination_table, .. } = self;
        DynamoLeaseTable::new(Requests {
            client: without_retries(&client, self.request_timeout),
            leases: lease_table.into(),
            coordination: coordination_table.into(),
            create_if_missing: self.create_if_missing.map(Arc::new),
            owed_options: Arc::default(),
            fixed_segments: self.scan_segments,
            segments: Arc::new([AtomicU32::new(1), AtomicU32::new(1)]),
            counters: Arc::new(Counters::default()),
        })
    }
}

/// The user's client with one attempt a request. Retries in two layers multiply, and a retry
/// hides that the first attempt may have applied.
pub(crate) fn without_retries(client: &Client, timeout: Duration) -> Client {
    let config = client.config();
    let timeouts = config.timeout_config().map_or_else(TimeoutConfig::builder, |t| t.to_builder());
    let timeouts = timeouts.operation_timeout(timeout).operation_attempt_timeout(timeout).build();
    let config =
        config.to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
    Client::from_conf(config)
}

//! The lease table as others see it: every request on the table's own thread.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use kcl_core::{Effects, LeaseTable, Scan, TableError, async_trait};
use kcl_protocol::{CasOutcome, ConditionalWrite, Row, RowKey};

use crate::counts::{Counters, RequestCounts};
use crate::errors::Intent;
use crate::options::{Builder, TableOptions, without_retries};
use crate::own_thread::OwnThread;
use crate::requests::Requests;

/// A lease table on DynamoDB: leases in one table, the rows of workers, streams and the table
/// itself in another.
///
/// Cheap to clone; clones share the client, the counts and one thread, on which all requests run:
/// an HTTP connection belongs to the runtime that opened it, and a lease table is used from
/// several, of which one may be busy and another end. No request is repeated: retries belong to
/// the caller.
#[derive(Clone, Debug)]
pub struct DynamoLeaseTable {
    requests: Requests,
    thread: Arc<OwnThread>,
}

impl DynamoLeaseTable {
    /// Starts to describe the lease table of an application. Region, credentials, TLS and
    /// endpoint are the client's; its retries are switched off for every call made here. Use the
    /// client's HTTP client for nothing else: its connections would belong to another thread.
    pub fn builder(client: Client, application: impl AsRef<str>) -> Builder {
        Builder::new(client, application.as_ref())
    }

    pub(crate) fn new(requests: Requests) -> Self {
        Self { requests, thread: Arc::default() }
    }

    /// The same tables through another client and on another thread, for heartbeats: give it an
    /// HTTP client of its own, so that no scan stands before a heartbeat, and the heartbeat
    /// interval as timeout. Requests are counted apart.
    pub fn for_liveness(&self, client: &Client, request_timeout: Duration) -> Self {
        Self::new(Requests {
            client: without_retries(client, request_timeout),
            counters: Arc::new(Counters::default()),
            ..self.requests.clone()
        })
    }

    /// Requests sent so far, by kind.
    pub fn requests(&self) -> RequestCounts {
        self.requests.counters.snapshot()
    }

    /// Name of the table of leases.
    pub fn lease_table_name(&self) -> &str {
        &self.requests.leases
    }

    /// Name of the table of workers and streams.
    pub fn coordination_table_name(&self) -> &str {
        &self.requests.coordination
    }

    /// Makes the tables that are missing, waits until both can be used, and applies the options.
    /// Needs the set-up policy of `docs/policies`; running needs less. Idempotent. Returns the
    /// tables' id, as `prepare` does.
    ///
    /// # Errors
    /// [`TableError::Refused`] if a table of that name is not a lease table, or permissions are
    /// missing; otherwise as for any request.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn setup(&self, options: &TableOptions) -> Result<String, TableError> {
        let (requests, options) = (self.requests.clone(), options.clone());
        self.thread.run(Intent::Write, async move { requests.setup(&options).await }).await
    }
}

#[async_trait]
impl LeaseTable for DynamoLeaseTable {
    async fn prepare(&self) -> Result<String, TableError> {
        let requests = self.requests.clone();
        self.thread.run(Intent::Write, async move { requests.prepare().await }).await
    }

    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let requests = self.requests.clone();
        self.thread.run(Intent::Read, async move { requests.scan(scope).await }).await
    }

    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        let (requests, key) = (self.requests.clone(), key.clone());
        self.thread.run(Intent::Read, async move { requests.read(&key).await }).await
    }

    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        let (requests, write) = (self.requests.clone(), write.clone());
        self.thread.run(Intent::Write, async move { requests.write(&write).await }).await
    }

    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        let (requests, writes) = (self.requests.clone(), writes.to_vec());
        self.thread.run(Intent::Write, async move { requests.write_all(&writes).await }).await
    }

    fn supports_effects(&self) -> bool {
        true
    }

    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        let (requests, write, effects) = (self.requests.clone(), write.clone(), effects.clone());
        let request = async move { requests.write_with(&write, &effects).await };
        self.thread.run(Intent::Write, request).await
    }
}

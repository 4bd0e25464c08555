//! How a source is made.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use kcl_core::{Clock, SystemClock};

use crate::limits::{
    IDLE, LONGEST_INTERVAL, READ_INTERVAL, RECORDS_PER_READ, REQUEST_TIMEOUT, SHORTEST_INTERVAL,
};
use crate::pace::Intervals;
use crate::source::KinesisSource;
use crate::stream_ref::StreamRef;

/// Makes a [`KinesisSource`].
#[derive(Clone)]
pub struct Builder {
    client: Client,
    stream: String,
    intervals: Intervals,
    records: usize,
    clock: Arc<dyn Clock>,
}

impl Builder {
    pub(crate) fn new(client: Client, stream: String) -> Self {
        Self {
            client,
            stream,
            intervals: Intervals { idle: IDLE, read: READ_INTERVAL },
            records: RECORDS_PER_READ,
            clock: Arc::new(SystemClock),
        }
    }

    /// The wait at the tip of a shard: 1 ms to 60 s, default 250 ms. Below 200 ms the service
    /// throttles.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.intervals.idle = idle.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        self
    }

    /// The shortest time between two reads of a shard that has more to give: 1 ms to 60 s, default
    /// 200 ms, five reads a second. The service allows those five to all applications together:
    /// with three of them, 600 ms is fair.
    #[must_use]
    pub fn read_interval(mut self, interval: Duration) -> Self {
        self.intervals.read = interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        self
    }

    /// The most records one read asks for: 1 to 10,000, default 10,000.
    #[must_use]
    pub fn records_per_read(mut self, records: usize) -> Self {
        self.records = records.clamp(1, RECORDS_PER_READ);
        self
    }

    /// The clock by which reads are paced. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source. Nothing is sent yet.
    pub fn build(self) -> KinesisSource {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(REQUEST_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let config = self.client.config().to_builder();
        let config = config.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
        KinesisSource {
            client: Client::from_conf(config),
            stream: StreamRef::parse(self.stream),
            intervals: self.intervals,
            records: self.records,
            clock: self.clock,
        }
    }
}

//! How a source is made.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use kcl_core::{Clock, SystemClock};

use crate::api::KinesisApi;
use crate::counters::Counting;
use crate::fan_out::{Contests, FanOut, Recent, Troubles};
use crate::limits::{
    IDLE, LONGEST_INTERVAL, READ_INTERVAL, RECORDS_PER_READ, REQUEST_TIMEOUT, SHORTEST_INTERVAL,
};
use crate::pace::Intervals;
use crate::sdk::{Consumer, LeaveSilent, SdkApi};
use crate::source::{KinesisSource, Rolls};
use crate::stream_ref::StreamRef;

/// How the records of a source come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Polling,
    FanOut,
}

/// How the service is reached.
#[derive(Clone)]
enum Access {
    Client { client: Client, stream: StreamRef },
    Other(Arc<dyn KinesisApi>),
}

/// Makes a [`KinesisSource`].
#[derive(Clone)]
pub struct Builder {
    access: Access,
    fan_out: Option<FanOut>,
    intervals: Intervals,
    records: usize,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl Builder {
    pub(crate) fn new(client: Client, stream: StreamRef) -> Self {
        Self::with(Access::Client { client, stream })
    }

    pub(crate) fn over(api: Arc<dyn KinesisApi>) -> Self {
        Self::with(Access::Other(api))
    }

    fn with(access: Access) -> Self {
        Self {
            access,
            fan_out: None,
            intervals: Intervals { idle: IDLE, read: READ_INTERVAL, has_byte_rate: true },
            records: RECORDS_PER_READ,
            clock: Arc::new(SystemClock),
            seed: None,
        }
    }

    /// Records are pushed, to this consumer of the stream. Default: they are polled for.
    #[must_use]
    pub fn fan_out(mut self, consumer: FanOut) -> Self {
        self.fan_out = Some(consumer);
        self
    }

    /// The wait at the tip of a shard that is polled: 1 ms to 60 s, default 250 ms. Below 200 ms
    /// the service throttles.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.intervals.idle = idle.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        self
    }

    /// The shortest time between two reads of a shard that has more to give: 1 ms to 60 s, default
    /// 200 ms, five reads a second. The service allows those five to all applications together; a
    /// reader finds its share by itself, and a longer interval is a smaller one from the start.
    #[must_use]
    pub fn read_interval(mut self, interval: Duration) -> Self {
        self.intervals.read = interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        self
    }

    /// For engines without the service's rates, as `kcl serve --unlimited`: a shard that has more
    /// to give is read again at once, and a read takes as much as there is room for.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.intervals.read = Duration::ZERO;
        self.intervals.has_byte_rate = false;
        self
    }

    /// The most records one read asks for: 1 to 10,000, default 10,000.
    #[must_use]
    pub fn records_per_read(mut self, records: usize) -> Self {
        self.records = records.clamp(1, RECORDS_PER_READ);
        self
    }

    /// The clock by which requests are paced. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The seed of jitter, for a run that comes out the same each time. Default: from the system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The source. Nothing is sent yet.
    pub fn build(self) -> KinesisSource {
        let way = if self.fan_out.is_some() { Way::FanOut } else { Way::Polling };
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let (name, api): (_, Arc<dyn KinesisApi>) = match self.access {
            Access::Other(api) => ("not through the client".to_owned(), api),
            Access::Client { client, stream } => {
                let name = stream.to_string();
                let api = SdkApi {
                    client: without_retries(&client),
                    stream,
                    clock: Arc::clone(&self.clock),
                    consumer: self.fan_out.map(Consumer::new),
                    created: OnceLock::new(),
                };
                (name, Arc::new(api))
            }
        };
        KinesisSource {
            api,
            name: name.into(),
            way,
            intervals: self.intervals,
            records: self.records,
            clock: self.clock,
            counting: Counting::default(),
            rolls: Rolls::seeded(seed),
            troubles: Troubles::default(),
            recent: Recent::default(),
            contests: Contests::default(),
        }
    }
}

/// The client with retries off: they are the worker's. Its connections are shared with the user's.
fn without_retries(client: &Client) -> Client {
    // There is one attempt, and its timeout tells the interceptor for certain: some versions of the
    // client skip it after one of the whole operation, which may be the user's.
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(REQUEST_TIMEOUT)
        .disable_operation_timeout()
        // What is not said stays as the user set it. The time to connect does: it is a part of the
        // ten seconds, and another value would be another pool of connections. So would one be here
        // where the user's client has none.
        .disable_read_timeout()
        .build();
    let config = client.config().to_builder();
    let config = config
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .interceptor(LeaveSilent)
        // A subscription whose reader is busy is not stalled; a silent one is told otherwise.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};

    use super::*;

    #[test]
    fn a_request_has_its_ten_seconds_whatever_the_users_client_allows() {
        let hasty = TimeoutConfig::builder()
            .operation_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .connect_timeout(Duration::from_secs(1))
            .build();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .timeout_config(hasty);
        let client = without_retries(&Client::from_conf(config.build()));
        let timeouts = client.config().timeout_config().expect("they were set");
        assert_eq!(timeouts.operation_timeout(), None);
        assert_eq!(timeouts.read_timeout(), None);
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(1)), "the user's");
        assert_eq!(timeouts.operation_attempt_timeout(), Some(REQUEST_TIMEOUT));
    }
}

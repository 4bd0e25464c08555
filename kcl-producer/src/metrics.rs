//! What a producer did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::fate::{Fate, PutFailure};
use crate::sink::{Refusal, SinkError};

/// What a producer did since it was made. Each number by itself is exact; together they may be a
/// few records apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerMetrics {
    /// Records taken in.
    pub accepted_records: u64,
    /// Bytes of their data and keys, as they are put.
    pub accepted_bytes: u64,
    /// Records with a receipt.
    pub put_records: u64,
    /// Bytes of their data and keys.
    pub put_bytes: u64,
    /// Records that failed and are not in the stream.
    pub failed_records: u64,
    /// Records of which nobody knows whether they are in the stream.
    pub unknown_records: u64,
    /// Records taken in and without a fate so far.
    pub waiting_records: u64,
    /// Requests sent.
    pub requests: u64,
    /// Records of the stream in them: aggregates, and records by themselves.
    pub stream_records: u64,
    /// Records of the stream that were refused because a rate was used up.
    pub throttled_stream_records: u64,
    /// Records of the stream that were refused for another reason, or lost one by one.
    pub refused_stream_records: u64,
    /// Requests that failed as a whole.
    pub failed_requests: u64,
    /// Of them, those whose reply was lost.
    pub lost_replies: u64,
    /// Times a record was put again.
    pub retried_records: u64,
    /// Aggregates that came into another shard than they were made for.
    pub misplaced_aggregates: u64,
    /// Listings of shards that failed.
    pub failed_listings: u64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// The same, to count with.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
            last_failure: Mutex<Option<PutFailure>>,
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> ProducerMetrics {
                let metrics = ProducerMetrics {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    waiting_records: 0,
                };
                metrics.with_waiting()
            }
        }
    };
}

counters!(
    accepted_records,
    accepted_bytes,
    put_records,
    put_bytes,
    failed_records,
    unknown_records,
    requests,
    stream_records,
    throttled_stream_records,
    refused_stream_records,
    failed_requests,
    lost_replies,
    retried_records,
    misplaced_aggregates,
    failed_listings,
);

impl ProducerMetrics {
    fn with_waiting(self) -> Self {
        let settled = self.put_records + self.failed_records + self.unknown_records;
        Self { waiting_records: self.accepted_records.saturating_sub(settled), ..self }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn accepted(&self, bytes: usize) {
        add(&self.accepted_records, 1);
        add(&self.accepted_bytes, bytes);
    }
    pub(crate) fn last_failure(&self) -> Option<PutFailure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(crate) fn settled(&self, fate: &Fate, bytes: usize) {
        if let Err(failure) = fate {
            let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(failure.clone());
        }
        match fate {
            Ok(_) => {
                add(&self.put_records, 1);
                add(&self.put_bytes, bytes);
            }
            Err(PutFailure::Unknown { .. } | PutFailure::Stopped) => add(&self.unknown_records, 1),
            Err(_) => add(&self.failed_records, 1),
        }
    }
    pub(crate) fn launched(&self, stream_records: usize) {
        add(&self.requests, 1);
        add(&self.stream_records, stream_records);
    }
    pub(crate) fn refused(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Throttled(_) => add(&self.throttled_stream_records, 1),
            Refusal::NotNow(_) | Refusal::Never(_) | Refusal::Unknown(_) => {
                add(&self.refused_stream_records, 1);
            }
        }
    }
    pub(crate) fn request_failed(&self, error: &SinkError) {
        add(&self.failed_requests, 1);
        if matches!(error, SinkError::Unknown(_)) {
            add(&self.lost_replies, 1);
        }
    }
    pub(crate) fn retried(&self, records: usize) {
        add(&self.retried_records, records);
    }
    pub(crate) fn strayed(&self) {
        add(&self.misplaced_aggregates, 1);
    }
    pub(crate) fn listing_failed(&self) {
        add(&self.failed_listings, 1);
    }
}

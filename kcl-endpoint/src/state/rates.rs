//! How often operations that are not about records may be called.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::protocol::Moment;
use kcl_stream_local::Throughput;

use super::State;
use crate::error::ApiError;
use crate::limits::ACCOUNT;

const SECOND: Duration = Duration::from_secs(1);

/// Calls of the whole account in a second (Kinesis API, at each operation); `None` where the
/// service states no rate.
fn per_account(operation: &str) -> Option<usize> {
    Some(match operation {
        "CreateStream" | "DeleteStream" | "ListStreams" => 5,
        "DescribeStream" => 10,
        "DescribeStreamSummary" => 20,
        "DescribeLimits" => 1,
        "DescribeAccountSettings" | "UpdateAccountSettings" => 5,
        "RegisterStreamConsumer" | "DeregisterStreamConsumer" => 5,
        "SplitShard" | "MergeShards" => 5,
        "UpdateShardCount" => 10,
        "UpdateStreamWarmThroughput" => 5,
        "AddTagsToStream" | "RemoveTagsFromStream" | "ListTagsForStream" => 5,
        _ => return None,
    })
}

/// Calls within the last second, by operation and what they were about; `most` each.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<BTreeMap<(String, String), VecDeque<Moment>>>);

/// Keys kept before those of which nothing was heard for a second are dropped.
const KEYS: usize = 4096;

impl Rates {
    fn calls(&self) -> MutexGuard<'_, BTreeMap<(String, String), VecDeque<Moment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, unless there were `most` within the last second.
    fn take(&self, operation: &str, about: &str, most: usize, now: Moment) -> bool {
        let is_past = |at: &Moment| now.since(*at) >= SECOND;
        let mut all = self.calls();
        if all.len() >= KEYS {
            all.retain(|_, calls| !calls.back().is_none_or(is_past));
        }
        let calls = all.entry((operation.to_owned(), about.to_owned())).or_default();
        while calls.pop_front_if(|at| is_past(at)).is_some() {}
        let fits = calls.len() < most;
        if fits {
            calls.push_back(now);
        }
        fits
    }
}

impl State {
    fn takes(&self, operation: &str, about: &str, most: usize) -> bool {
        self.options.throughput == Throughput::Unlimited
            || self.rates.take(operation, about, most, self.clock.monotonic())
    }

    /// Counts a call against the account's rate.
    pub fn take_account_rate(&self, operation: &str) -> Result<(), ApiError> {
        let Some(most) = per_account(operation) else { return Ok(()) };
        if self.takes(operation, "", most) {
            return Ok(());
        }
        Err(ApiError::limit_exceeded(format!(
            "Rate exceeded for {operation} under account {ACCOUNT}: at most {most} calls a second."
        )))
    }

    /// Counts a call against a stream's rate.
    pub fn take_stream_rate(
        &self,
        operation: &str,
        stream: &str,
        most: usize,
    ) -> Result<(), ApiError> {
        if self.takes(operation, stream, most) {
            return Ok(());
        }
        Err(ApiError::limit_exceeded(format!(
            "Rate exceeded for {operation} of stream {stream} under account {ACCOUNT}: at most \
             {most} calls a second."
        )))
    }

    /// Counts an iterator of a shard.
    pub fn take_iterator_rate(
        &self,
        stream: &str,
        shard: &str,
        most: usize,
    ) -> Result<(), ApiError> {
        if self.takes("GetShardIterator", &format!("{stream}/{shard}"), most) {
            return Ok(());
        }
        Err(ApiError::throughput_exceeded(format!(
            "Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}."
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_in_any_second() {
        let rates = Rates::default();
        let at = |millis| Moment(Duration::from_millis(millis));
        let take = |about, millis| rates.take("X", about, 2, at(millis));
        assert!(take("a", 0) && take("a", 900) && !take("a", 999));
        assert!(take("b", 999), "of its own");
        assert!(take("a", 1000) && !take("a", 1001) && take("a", 1900));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let rates = Rates::default();
        for number in 0..3 * KEYS as u64 {
            let now = Moment(Duration::from_millis(number));
            assert!(rates.take("X", &number.to_string(), 1, now));
        }
        assert!(rates.calls().len() <= KEYS + 1);
    }
}

//! A producer behind a line that is too slow for as many requests as it may have under way.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::{HashKeyRange, SequenceNumber};
use kcl_core::{Clock, Shard, TokioClock, async_trait};
use kcl_producer::{Fate, Outcome, Placed, Producer, PutFailure, PutSink, SinkError, SinkRecord};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::sink::{fates, options};

const PIECE: usize = 64 << 10;
/// As `KinesisSink` has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests take turns on one line, a piece each; what is not through in time is lost.
struct Uplink {
    line: Mutex<()>,
    /// How long a piece takes.
    pace: Duration,
}

/// A producer on the clock, behind a line of this pace.
fn behind(clock: TokioClock, pace: Duration) -> Producer {
    let uplink = Uplink { line: Mutex::default(), pace };
    Producer::builder(Arc::new(uplink)).options(options()).clock(Arc::new(clock)).start()
}

#[async_trait]
impl PutSink for Uplink {
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let range = HashKeyRange { start: 0, end: u128::MAX };
        let parents = Default::default();
        Ok(vec![Shard { id: "whole".into(), parents, range, is_open: true, tip: None }])
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        let bytes: usize = records.iter().map(SinkRecord::size_bytes).sum();
        let sent = timeout(TIMEOUT, async {
            for _ in 0..bytes.div_ceil(PIECE) {
                let _turn = self.line.lock().await;
                sleep(self.pace).await;
            }
        });
        sent.await.map_err(|_| SinkError::Unknown("no answer in time".into()))?;
        let place = || Placed { shard: "whole".into(), sequence: SequenceNumber::ZERO };
        Ok(records.iter().map(|_| Ok(place())).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_gets_through_a_line_that_is_too_slow_for_all_requests_at_once() {
    let clock = TokioClock::starting_at(0);
    // Eight requests of 1 MiB take 16 s together.
    let producer = behind(clock, Duration::from_millis(125));
    let mut deliveries = Vec::new();
    // 32 MiB, twice what the producer's memory holds: 64 s of the line.
    for number in 0..64 {
        deliveries.push(producer.put(format!("k{number}"), vec![0; 510 << 10]).await.unwrap());
    }
    for fate in fates(deliveries).await {
        assert!(fate.is_ok(), "{fate:?}");
    }
    let seconds = clock.wall_millis() / 1000;
    assert!(seconds < 128, "at half of the line's rate, or less: {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn tens_of_thousands_of_keys_behind_requests_that_time_out_have_their_fates_in_time() {
    let clock = TokioClock::starting_at(0);
    let producer = behind(clock, TIMEOUT * 2);
    let mut deliveries = Vec::new();
    for number in 0..30_000 {
        deliveries.push(producer.put(format!("k{number}"), "x").await.unwrap());
    }
    let fates = fates(deliveries).await;
    assert!(fates.iter().all(Result::is_err));
    let never_put = |fate: &Fate| matches!(fate, Err(PutFailure::GivenUp { attempts: 0, .. }));
    assert!(fates.iter().any(never_put));
    let seconds = clock.wall_millis() / 1000;
    assert!(seconds < 60 + 12, "patience, and a request: {seconds} s");
    assert_eq!(producer.metrics().waiting_records, 0);
}

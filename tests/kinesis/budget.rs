//! What a worker reads while its processors do not come back stays within its read budget.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::protocol::Moment;
use kcl_core::{
    Checkpointer, Clock, Config, ProcessorError, ReadLimit, RecordBatch, RecordProcessor,
    Scheduler, SystemClock, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_stream_kinesis::{FanOut, KinesisSource};

use crate::local;

const BUDGET: usize = 8 << 20;
const SHARDS: usize = 4;
const RECORD: usize = 10_000;
/// Far more than either bound of the budget, if they are of [`RECORD`] bytes.
const RECORDS: usize = 4_000;
/// All of them are less than the bytes of the budget.
const SMALL_RECORD: usize = 100;
/// More than an event for each shard holds.
const SMALL_RECORDS: usize = 60_000;
/// What the served engine puts into one event, at most.
const EVENT: usize = 1 << 20;
/// Nothing new for so long: nothing more is read. Below the 10 s after which a subscription of a
/// reader that is not asked is given up.
const STILL: Duration = Duration::from_secs(2);

struct Stuck;

#[async_trait]
impl RecordProcessor for Stuck {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        std::future::pending().await
    }
}

async fn fill(client: &Client, size: usize, count: usize) {
    for batch in 0..count / 400 {
        let entry = |number: usize| {
            let entry = PutRecordsRequestEntry::builder().data(Blob::new(vec![0; size]));
            entry.partition_key(format!("{batch}-{number}")).build().unwrap()
        };
        let put = client.put_records().stream_name("s");
        put.set_records(Some((0..400).map(entry).collect())).send().await.unwrap();
    }
}

/// What is read of so many records of this size behind stuck processors.
async fn read_ahead(
    fan_out: Option<FanOut>,
    (count, size): (usize, usize),
    records: usize,
) -> ReadLimit {
    let endpoint = local::endpoint(SHARDS as u32).await;
    let client = local::client(&endpoint);
    fill(&client, size, count).await;
    let builder = KinesisSource::builder(client, "s").unlimited();
    let source = match fan_out {
        Some(consumer) => builder.fan_out(consumer).build(),
        None => builder.build(),
    };
    let config = Config::new("app").read_budget(records, BUDGET);
    let (table, reading) = (Arc::new(MemoryLeaseTable::new()), Arc::new(source.clone()));
    let scheduler = Scheduler::new(config, table, reading, |_: &_| Stuck).unwrap();
    let running = tokio::spawn(scheduler.run());
    let (mut bytes, mut since) = (0, Moment::default());
    loop {
        let now = SystemClock.monotonic();
        let read = source.counters();
        if read.bytes > bytes {
            (bytes, since) = (read.bytes, now);
        } else if bytes > 0 && now.since(since) > STILL {
            // The processors do not return, so the worker is not asked to leave.
            running.abort();
            return ReadLimit { records: read.records as usize, bytes: read.bytes as usize };
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn polling_behind_stuck_processors_stays_within_the_budget_but_for_a_record_a_shard() {
    let ReadLimit { bytes, .. } = read_ahead(None, (RECORDS, RECORD), 1_000_000).await;
    assert!((BUDGET / 4..=BUDGET + SHARDS * RECORD).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn polling_behind_stuck_processors_stays_within_the_records_of_the_budget_too() {
    let bound = 1_000;
    let read = read_ahead(None, (RECORDS, SMALL_RECORD), bound).await;
    // Shards that are opened one after the other each have a first piece of what the budget then
    // has for them: a half, a quarter, a sixth and an eighth of it.
    assert!((bound / 4..=bound * 25 / 24).contains(&read.records), "{read:?}");
}

#[tokio::test]
async fn fan_out_behind_stuck_processors_stays_within_the_budget_but_for_an_event_a_shard() {
    let fan_out = Some(FanOut::register("app"));
    let ReadLimit { bytes, .. } = read_ahead(fan_out, (RECORDS, RECORD), 1_000_000).await;
    assert!((BUDGET / 4..=BUDGET + SHARDS * EVENT).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn fan_out_behind_stuck_processors_reads_an_event_a_shard_above_the_records_of_the_budget() {
    let (fan_out, bound) = (Some(FanOut::register("app")), 1_000);
    let read = read_ahead(fan_out, (SMALL_RECORDS, SMALL_RECORD), bound).await;
    let most = bound + SHARDS * EVENT / SMALL_RECORD;
    assert!((bound..=most).contains(&read.records) && most < SMALL_RECORDS, "{read:?}");
}

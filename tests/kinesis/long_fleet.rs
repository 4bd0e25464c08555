//! The day of `long_run`, read by workers: leases move with every reshard, processors get stuck,
//! and every hour a worker is killed and another takes its place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kcl_core::{
    Checkpointer, Clock, Config, ConsumerConfig, Placement, ProcessorError, RecordBatch,
    RecordProcessor, Scheduler, ShardStart, WorkerError, async_trait,
};
use kcl_lease_local::MemoryLeaseTable;
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::KinesisSource;
use tokio::task::JoinHandle;

use crate::long_run::{DAY, Day, KEYS};

const HOUR: Duration = Duration::from_secs(3600);
const HOURS: u64 = 24;
/// Long, so that a day has fewer reads to simulate.
const IDLE: Duration = Duration::from_secs(10);

struct Reading(Arc<Day>);

#[async_trait]
impl RecordProcessor for Reading {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        _: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.0.note(batch.records.to_vec());
        if self.0.rolls.one_in(1_000) {
            // Until iterators have run out, and subscriptions are given up.
            self.0.clock.sleep(Duration::from_secs(600)).await;
        }
        Ok(())
    }
}

struct Fleet {
    day: Arc<Day>,
    table: MemoryLeaseTable,
    is_fan_out: bool,
    /// Of every worker there was.
    sources: Vec<KinesisSource>,
}

impl Fleet {
    fn start(&mut self) -> JoinHandle<Result<(), WorkerError>> {
        let number = self.sources.len() as u64;
        let kinesis = self.day.another(self.is_fan_out, IDLE, number);
        self.sources.push(kinesis.clone());
        let seed = 2 * number + u64::from(self.is_fan_out);
        let config = Config::new("app")
            .worker_name(format!("w{number}"))
            .lease_duration(Duration::from_secs(30))
            // Few, so that soon nothing is read behind a stuck processor.
            .consumer(ConsumerConfig { prefetch_records: 10, ..ConsumerConfig::default() })
            .placement(Placement::Inline)
            .seed(seed)
            .clock(Arc::new(self.day.clock));
        let (table, source) = (self.table.clone(), UnpackedSource::new(kinesis));
        let day = Arc::clone(&self.day);
        let reading = move |_: &ShardStart| Reading(Arc::clone(&day));
        let scheduler = Scheduler::new(config, Arc::new(table), Arc::new(source), reading);
        tokio::spawn(scheduler.unwrap().run())
    }
}

/// How often an expired place was taken up anew, or a subscription that was not read given up; and
/// how often something was refused for the rate.
async fn a_day(is_fan_out: bool, seed: u64) -> [u64; 2] {
    let day = Arc::new(Day::new(is_fan_out, seed));
    let table = MemoryLeaseTable::new();
    let mut fleet = Fleet { day: Arc::clone(&day), table, is_fan_out, sources: Vec::new() };
    let mut workers = [fleet.start(), fleet.start()];
    let putting = Arc::clone(&day);
    let putting = tokio::spawn(async move { putting.put().await });
    for hour in 0..HOURS {
        day.clock.sleep(DAY / HOURS as u32).await;
        let [one, two] = workers;
        // Without a word, and the older one.
        one.abort();
        assert!(!two.is_finished(), "hour {hour}");
        workers = [two, fleet.start()];
    }
    let count = putting.await.unwrap();
    day.clock.sleep(HOUR).await;
    assert!(workers.iter().all(|worker| !worker.is_finished()));
    let seen = day.seen.lock().unwrap();
    assert_eq!(seen.len() as u64, KEYS);
    for (key, numbers) in &*seen {
        let mut before = BTreeSet::new();
        let first: Vec<_> = numbers.iter().copied().filter(|it| before.insert(*it)).collect();
        let wrong = first.iter().zip(0..).position(|(number, expected)| *number != expected);
        assert_eq!(wrong, None, "key {key}: a gap, or out of order");
        assert_eq!(first.len() as u64, count, "key {key}");
        // What was under way when a worker was killed, and no more.
        assert!(numbers.len() < first.len() + first.len() / 10, "key {key}: repeats");
    }
    let counters = fleet.sources.iter().map(KinesisSource::counters);
    counters.fold([0, 0], |[lost, throttled], it| {
        [lost + it.expired + it.stalled, throttled + it.throttled]
    })
}

#[tokio::test(start_paused = true)]
async fn a_day_of_workers_that_poll_and_are_killed_loses_and_reorders_nothing() {
    let [lost, throttled] = a_day(false, 7).await;
    assert!(lost > 10 && throttled > 100, "{lost} places lost, {throttled} refusals");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_workers_with_fan_out_that_are_killed_loses_and_reorders_nothing() {
    let [lost, throttled] = a_day(true, 8).await;
    assert!(lost > 10 && throttled > 10, "{lost} subscriptions given up, {throttled} refusals");
}

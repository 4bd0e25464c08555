//! A user's own application in a simulated fleet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use kcl_core::protocol::LeaseKey;
use kcl_core::{
    Checkpointer, Config, ProcessorError, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
};
use kcl_stream_local::NewRecord;

use super::faults::Kind;
use super::run::{Options, Report, run_work};
use super::work::{Bench, End, Host, Work};

/// What the simulated fleet runs, and when it did right. One value stands for one application and
/// the world outside of it: a database, say, that outlives its workers.
///
/// Workers crash, pause, sleep, leave and come back while processors run; a call may end for ever
/// at any of its await points, as if the process had been killed there. Shards are split and
/// merged. The lease table and the stream fail in every way of [`Kind`].
pub trait Application: Send + Sync + 'static {
    /// Processes records, as it would in production.
    type Processor: RecordProcessor;

    /// A processor for a shard.
    fn processor(&self, start: &ShardStart, host: &Host) -> Self::Processor;

    /// Settings of every worker: acks, error policy, limits, effects. The harness sets names,
    /// clock, seed, lease duration, observer and dead letters itself.
    fn config(&self, config: Config) -> Config {
        config
    }

    /// A record to put; `draw` is a random number of its own, the same in every run of a seed.
    fn record(&self, number: u64, draw: u64) -> NewRecord {
        NewRecord::new(format!("key-{}", draw % 5000), number.to_be_bytes().to_vec())
    }

    /// What is wrong in the end, for people; nothing, if all is well. At this point the faults
    /// have been over for 150 simulated seconds, and every record was delivered and could be
    /// checkpointed.
    fn check(&self, end: &End<'_>) -> Vec<String>;
}

/// Runs the application in the fleet of these options, on this thread.
///
/// # Panics
/// If its configuration is out of bounds, or if a processor panics outside of its calls.
pub fn run_application(options: &Options, application: impl Application) -> Report {
    run_work(options, Some(Arc::new(Users(application))))
}

struct Users<A>(A);

impl<A: Application> Work for Users<A> {
    fn config(&self, config: Config) -> Config {
        self.0.config(config)
    }
    fn record(&self, number: u64, draw: u64) -> NewRecord {
        self.0.record(number, draw)
    }
    fn processor(&self, start: &ShardStart, bench: &Bench) -> Box<dyn RecordProcessor> {
        let inner = self.0.processor(start, &bench.host);
        let lease = LeaseKey::new(start.shard.as_str());
        Box::new(Observed { inner, lease, bench: bench.clone() })
    }
    fn leaves_within(&self) -> Option<u64> {
        // Its shutdown timeout may be any.
        None
    }
    fn wants_put(&self) -> bool {
        true
    }
    fn judge(&self, end: &End<'_>) -> Vec<(&'static str, String)> {
        self.0.check(end).into_iter().map(|what| ("application", what)).collect()
    }
}

/// A user's processor, with notes of what it is given, and with what befalls its process.
struct Observed<P> {
    inner: P,
    lease: LeaseKey,
    bench: Bench,
}

/// In so many of a thousand batches the process is killed, if crashes are on.
const KILLED_PERMILLE: u64 = 4;
/// So many of a thousand other calls, which are fewer.
const SELDOM_PERMILLE: u64 = 20;
/// So many of a thousand ends of shards: a run has a handful.
const ENDS_PERMILLE: u64 = 100;
/// It is killed at one of so many first await points.
const KILLED_WITHIN: u64 = 12;

/// A call that may end for ever before it returns.
struct Mortal<'a, T> {
    call: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    end: Option<Death>,
    bench: &'a Bench,
}

/// How a process is killed in the middle of a call.
struct Death {
    /// The number of the fault.
    id: u64,
    /// Polls until then; a call that returns before is none the worse.
    polls: u64,
}

impl<T> Future for Mortal<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let bench = self.bench;
        match &mut self.end {
            Some(Death { polls: 0, .. }) if bench.gate.is_doomed() => return Poll::Pending,
            // Its time may come when faults are over.
            Some(Death { id, polls: 0 }) if bench.faults.are_on() => {
                bench.faults.note(Kind::Crash, &bench.actor, *id);
                bench.gate.doom();
                return Poll::Pending;
            }
            Some(Death { polls, .. }) => *polls = polls.saturating_sub(1),
            None => {}
        }
        self.call.as_mut().poll(context)
    }
}

impl Bench {
    /// What a processor does in this call, in a process that may be killed meanwhile.
    fn mortal<'a, T>(
        &'a self,
        call: u64,
        permille: u64,
        running: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    ) -> Mortal<'a, T> {
        let drawn = self.faults.drawn(Kind::Crash, &self.actor, call, permille);
        let end = drawn.map(|id| Death { id, polls: 1 + (id >> 8) % KILLED_WITHIN });
        Mortal { call: running, end, bench: self }
    }
}

#[async_trait]
impl<P: RecordProcessor> RecordProcessor for Observed<P> {
    async fn initialize(&mut self, start: &ShardStart) -> Result<(), ProcessorError> {
        let call = self.bench.calls.next("initialize", self.lease.as_str());
        self.bench.mortal(call, SELDOM_PERMILLE, self.inner.initialize(start)).await
    }
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let _call = self.bench.given(&self.lease, &batch.records);
        let call = self.bench.calls.next("process", self.lease.as_str());
        self.bench.dawdle(&self.lease, checkpointer, call).await;
        self.bench
            .mortal(call, KILLED_PERMILLE, self.inner.process_records(batch, checkpointer))
            .await
    }
    async fn shard_ended(&mut self, end: &ShardEnd) -> Result<(), ProcessorError> {
        let call = self.bench.calls.next("shard ended", self.lease.as_str());
        self.bench.mortal(call, ENDS_PERMILLE, self.inner.shard_ended(end)).await
    }
    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) {
        let call = self.bench.calls.next("shutdown requested", self.lease.as_str());
        self.bench.mortal(call, SELDOM_PERMILLE, self.inner.shutdown_requested(checkpointer)).await;
    }
    async fn lease_lost(&mut self) {
        let call = self.bench.calls.next("lease lost", self.lease.as_str());
        self.bench.mortal(call, SELDOM_PERMILLE, self.inner.lease_lost()).await;
    }
}

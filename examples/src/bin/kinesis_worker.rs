//! A worker as one would run it: records from Kinesis, leases in DynamoDB, a file or memory. What
//! producers put in aggregates (KPL or ours) comes as the records inside.
//!
//! It prints what it does as `kcl drill` asks of a worker (`kcl drill --contract`), so it can be
//! drilled:
//!
//! ```text
//! kcl drill stop --worker-cmd "target/release/kinesis_worker --lease-ms 1500 --hints 127.0.0.1:0"
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use examples::aws;
use kcl_core::protocol::{Checkpoint, LeaseKey, Moment};
use kcl_core::{
    Checkpointer, Clock, Config, ConsumerConfig, Event, EventKind, HintAddress, InitialPosition,
    LeaseTable, Observer, ProcessorError, RecordBatch, RecordProcessor, Scheduler, ShardEnd,
    ShardStart, SystemClock, async_trait,
};
use kcl_lease_dynamo::{DynamoLeaseTable, TableOptions};
use kcl_lease_local::{FileLeaseTable, MemoryLeaseTable};
use kcl_records::UnpackedSource;
use kcl_stream_kinesis::{FanOut, KinesisSource};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Processes a Kinesis stream until SIGTERM or SIGINT, then hands its shards over.
#[derive(Debug, Parser)]
struct Args {
    /// The stream: a name or an ARN
    #[arg(long, env = "STREAM")]
    stream: String,
    /// The application: its workers share the shards, and its name is the lease table's
    #[arg(long, env = "APP")]
    application: String,
    /// This worker's name in logs and rows
    #[arg(long, env = "WORKER_ID", default_value = "worker")]
    worker: String,
    /// Where a new application begins
    #[arg(long, env = "START_POSITION", value_enum, default_value = "TRIM_HORIZON")]
    start: Start,
    /// Read by enhanced fan-out, as this consumer (registered if there is none) or its ARN;
    /// without it by polling
    #[arg(long)]
    consumer: Option<String>,
    /// Where leases are kept
    #[arg(long, value_enum, default_value = "dynamodb")]
    leases: Leases,
    /// The file of `--leases file`
    #[arg(long, default_value = "leases.redb")]
    lease_file: PathBuf,
    /// A dead worker's shards move on after about this
    #[arg(long, default_value_t = 3000, value_parser = lease_bounds())]
    lease_ms: u64,
    /// Listen here for hints of the application's other workers, so that planned moves of shards
    /// wait for no heartbeat: an address of this machine that they reach, or a name by which they
    /// do; port 0 takes a free one
    #[arg(long, env = "HINTS", value_name = "HOST:PORT", value_parser = hint_address)]
    hints: Option<HintAddress>,
    /// Another Kinesis than that of AWS
    #[arg(long, env = "KINESIS_ENDPOINT", value_name = "URL")]
    kinesis: Option<String>,
    /// Another DynamoDB than that of AWS
    #[arg(long, env = "DYNAMODB_ENDPOINT", value_name = "URL")]
    dynamodb: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Start {
    #[value(name = "TRIM_HORIZON")]
    TrimHorizon,
    #[value(name = "LATEST")]
    Latest,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Leases {
    /// Any number of workers anywhere
    Dynamodb,
    /// This process alone; checkpoints survive it
    File,
    /// This process alone; a restart begins anew
    Memory,
}

fn lease_bounds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(500..=60_000)
}

fn hint_address(text: &str) -> Result<HintAddress, String> {
    if let Ok(address) = text.parse() {
        return Ok(HintAddress::new(address));
    }
    let (host, port) = text.rsplit_once(':').ok_or("use HOST:PORT")?;
    let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
    Ok(HintAddress::new(([0, 0, 0, 0], port).into()).reached_under(host))
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Warnings of all crates, and when a shard that was in trouble goes on again.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn,kcl_stream_kinesis=info"))
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no thread can be started: {error}")),
    };
    runtime
        .block_on(run(args))
        .map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS)
}

/// What was read so far, and throttled.
fn tell_counters(kinesis: &KinesisSource) {
    eprintln!("kinesis_worker: {:?}", kinesis.counters());
}

fn fail(why: &str) -> ExitCode {
    eprintln!("kinesis_worker: {why}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let lease = Duration::from_millis(args.lease_ms);
    let says = Says { worker: args.worker.as_str().into() };
    let mut config = Config::new(&args.application)
        .observer(Arc::new(Observing { says: says.clone(), unread: Mutex::default() }))
        .worker_name(&args.worker)
        .lease_duration(lease)
        .initial_position(match args.start {
            Start::TrimHorizon => InitialPosition::TrimHorizon,
            Start::Latest => InitialPosition::Latest,
        })
        .consumer(ConsumerConfig {
            checkpoint_interval: Duration::from_secs(1),
            ..ConsumerConfig::default()
        });
    if let Some(address) = &args.hints {
        config = config.hint_address(address.clone());
    }
    let (table, liveness) = lease_table(&args, lease).await?;
    // Its clones count together.
    let kinesis = source(&args).await;
    let source = Arc::new(UnpackedSource::new(kinesis.clone()));
    let told = says.clone();
    let factory = move |start: &ShardStart| Worker::new(start, told.clone());
    let mut scheduler = Scheduler::new(config, table, source, factory)?;
    if let Some(liveness) = liveness {
        scheduler = scheduler.liveness_table(liveness);
    }
    let handle = scheduler.handle();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut running = tokio::spawn(scheduler.run());
    loop {
        tokio::select! { biased;
            ended = &mut running => {
                tell_counters(&kinesis);
                return Ok(ended??);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = SystemClock.sleep(MINUTE) => tell_counters(&kinesis),
        }
    }
    handle.shutdown().await;
    let ended = running.await;
    tell_counters(&kinesis);
    ended??;
    says.line("shutdown", json!({}));
    Ok(())
}

async fn source(args: &Args) -> KinesisSource {
    let client = aws_sdk_kinesis::Client::new(&aws::config(args.kinesis.as_deref(), None).await);
    let builder = KinesisSource::builder(client, args.stream.as_str());
    match &args.consumer {
        Some(arn) if arn.starts_with("arn:") => builder.fan_out(FanOut::arn(arn)),
        Some(name) => builder.fan_out(FanOut::register(name)),
        None => builder,
    }
    .build()
}

type Table = Arc<dyn LeaseTable>;

/// The lease table, and with DynamoDB a second way to it, so that heartbeats wait behind nothing.
async fn lease_table(
    args: &Args,
    lease: Duration,
) -> Result<(Table, Option<Table>), Box<dyn Error>> {
    Ok(match args.leases {
        Leases::Memory => (Arc::new(MemoryLeaseTable::new()), None),
        Leases::File => (Arc::new(FileLeaseTable::open(&args.lease_file)?), None),
        Leases::Dynamodb => {
            let heartbeat = lease / 3;
            let config = aws::config(args.dynamodb.as_deref(), None).await;
            let client = aws_sdk_dynamodb::Client::new(&config);
            let table = DynamoLeaseTable::builder(client, &args.application)
                .create_if_missing(TableOptions::default())
                .request_timeout(heartbeat * 2)
                .build();
            // Loaded anew, so that it has connections of its own.
            let config = aws::config(args.dynamodb.as_deref(), None).await;
            let apart = aws_sdk_dynamodb::Client::new(&config);
            let liveness = table.for_liveness(&apart, heartbeat);
            (Arc::new(table), Some(Arc::new(liveness)))
        }
    })
}

/// Lines of JSON on standard output.
#[derive(Clone)]
struct Says {
    worker: Arc<str>,
}

impl Says {
    fn line(&self, event: &str, more: Value) {
        let mut line = json!({ "ts": unix_seconds(), "worker": &*self.worker, "event": event });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        println!("{line}");
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// What the framework tells: that the worker is ready, and on standard error each trouble, which is
/// in no log otherwise.
struct Observing {
    says: Says,
    /// The leases whose reads fail, and when that was last said: every try is an event.
    unread: Mutex<BTreeMap<LeaseKey, Moment>>,
}

impl Observing {
    /// True once a minute for each lease.
    fn is_due(&self, lease: &LeaseKey, now: Moment) -> bool {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.retain(|_, said| now.since(*said) < MINUTE);
        let is_due = !unread.contains_key(lease);
        if is_due {
            unread.insert(lease.clone(), now);
        }
        is_due
    }
}

impl Observer for Observing {
    fn observe(&self, event: &Event) {
        match &event.kind {
            EventKind::Registered => return self.says.line("ready", json!({})),
            EventKind::ReadFailed { lease, .. } if self.is_due(lease, event.at) => {}
            EventKind::ControlStalled
            | EventKind::HeartbeatsFail { .. }
            | EventKind::WorkersUnreadable { .. }
            | EventKind::StreamRefused { .. }
            | EventKind::SourceFailed { .. }
            | EventKind::SyncFailed { .. }
            | EventKind::ShardDropped { .. }
            | EventKind::LeaseRowDeleted { .. }
            | EventKind::HashRangeFault { .. }
            | EventKind::ConsumerPanicked { .. }
            | EventKind::CheckpointFailed { .. }
            | EventKind::ProcessorFailed { .. }
            | EventKind::Parked { .. }
            | EventKind::Unparked { .. }
            | EventKind::Stuck { .. } => {}
            _ => return,
        }
        eprintln!("kinesis_worker: {}", event.kind);
    }
}

/// Finer than milliseconds: a shard may change hands within one.
fn unix_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processes one shard: here it only tells of the records.
struct Worker {
    shard: String,
    fence: u64,
    says: Says,
}

impl Worker {
    fn new(start: &ShardStart, says: Says) -> Self {
        Self { shard: start.shard.to_string(), fence: start.fence.0, says }
    }
}

#[async_trait]
impl RecordProcessor for Worker {
    async fn initialize(&mut self, start: &ShardStart) -> Result<(), ProcessorError> {
        let seq = match start.checkpoint {
            Checkpoint::At(position) => Some(position.to_string()),
            _ => None,
        };
        let (shard, fence) = (&self.shard, self.fence);
        self.says.line("shard_start", json!({ "shard": shard, "seq": seq, "fence": fence }));
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let now = SystemClock.monotonic();
        let started = unix_seconds();
        // As it stands now: the right that the batch begins under.
        let valid_until = started + checkpointer.valid_until().since(now).as_secs_f64();
        let ids: Vec<_> =
            batch.records.iter().map(|record| String::from_utf8_lossy(&record.data)).collect();
        let last = batch.records.last().map(|record| record.position.to_string());
        self.says.line(
            "records",
            json!({ "shard": self.shard, "fence": self.fence, "n": ids.len(), "seq": last,
                    "ids": ids, "started": started, "valid_until": valid_until }),
        );
        Ok(())
    }

    async fn shard_ended(&mut self, _: &ShardEnd) -> Result<(), ProcessorError> {
        self.says.line("shard_end", json!({ "shard": self.shard }));
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.says.line("lease_lost", json!({ "shard": self.shard }));
    }
}

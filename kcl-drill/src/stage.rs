//! What a drill plays on: the services, the stream, the fleet, and what all of them said.

use std::error::Error;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_kinesis::Client as Kinesis;
use kcl_core::protocol::{
    ConditionalWrite, Row, WorkerChange, WorkerCondition, WorkerState, WorkerWrite,
};
use kcl_core::{Clock, LeaseTable, Scan, Shard, StreamSource, SystemClock};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_stream_kinesis::KinesisSource;
use kcl_testkit::DynamoDbLocal;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::args::Args;
use crate::clients;
use crate::fleet::{Fleet, Recipe};
use crate::ledger::{Ledger, Producer};
use crate::limits::PATIENCE;
use crate::proxy::{Proxy, Traffic};
use crate::record::{Journal, Loss};
use crate::sink::Sink;
use crate::worker::unix_seconds;

/// Something that keeps a drill from going on.
pub(crate) type Trouble = Box<dyn Error>;

/// The services under every drill of one command.
pub(crate) struct Services {
    pub dynamodb: String,
    local: Option<DynamoDbLocal>,
    pub kinesis: String,
    _serve: Child,
}

impl Services {
    /// Starts what was not given. A durable table can be restarted.
    ///
    /// # Errors
    /// Which service does not start, and why.
    pub async fn start(args: &Args, durable: bool) -> Result<Self, Trouble> {
        let (dynamodb, local) = match &args.dynamodb {
            Some(url) => (url.clone(), None),
            None => {
                let start = move || match durable {
                    true => DynamoDbLocal::start_in(fresh_folder()?).map_err(|e| e.to_string()),
                    false => DynamoDbLocal::start().map_err(|e| e.to_string()),
                };
                let local = tokio::task::spawn_blocking(start).await??;
                (local.endpoint().to_owned(), Some(local))
            }
        };
        let program = std::env::current_exe()?;
        let mut serve = Command::new(&program);
        serve.args(["serve", "--port", "0", "--transition-ms", "0"]);
        if !args.limits {
            serve.arg("--unlimited");
        }
        let mut serve = serve
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} serve: {error}", program.display()))?;
        let output = serve.stdout.take().ok_or("kcl serve has no output")?;
        let first = BufReader::new(output).lines().next_line().await?.unwrap_or_default();
        let kinesis = first.strip_prefix("listening on ").ok_or("kcl serve did not start")?;
        Ok(Self { dynamodb, local, kinesis: kinesis.to_owned(), _serve: serve })
    }
}

/// One drill's world.
pub(crate) struct Stage {
    pub args: Args,
    pub stream: String,
    pub kinesis: Kinesis,
    pub table: DynamoLeaseTable,
    pub proxy: Proxy,
    pub journal: Journal,
    pub ledger: Ledger,
    pub sink: Sink,
    pub fleet: Fleet,
    pub traffic: Traffic,
    local: Option<DynamoDbLocal>,
    producer: Option<Producer>,
}

impl Stage {
    /// Makes a stream and a table of their own, and starts the fleet and the producer.
    ///
    /// # Errors
    /// What cannot be made.
    pub async fn set(args: &Args, services: &Services, name: &str) -> Result<Self, Trouble> {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let stream = format!("drill-{name}-{}", &run[..8]);
        let kinesis = clients::kinesis(&services.kinesis);
        let count = i32::try_from(args.shards)?;
        kinesis.create_stream().stream_name(&stream).shard_count(count).send().await?;
        await_active(&kinesis, &stream).await?;
        let sink = Sink::start().await?;
        let proxy = Proxy::new(&services.dynamodb);
        let journal = Journal::default();
        let recipe = Recipe {
            command: args.worker_command()?,
            environment: args.environment(&stream, &services.kinesis, sink.address),
            log: log_file(&stream),
        };
        let table =
            DynamoLeaseTable::builder(clients::dynamodb(&services.dynamodb), &stream).build();
        let ledger = Ledger::default();
        let fleet = Fleet::new(recipe, proxy.clone(), journal.clone());
        let mut stage = Self {
            args: args.clone(),
            stream,
            kinesis,
            table,
            proxy,
            journal,
            ledger,
            sink,
            fleet,
            traffic: Traffic::default(),
            local: services.local.clone(),
            producer: None,
        };
        stage.produce();
        for _ in 0..args.workers {
            stage.fleet.start().await?;
        }
        Ok(stage)
    }

    fn produce(&mut self) {
        let client = self.kinesis.clone();
        let producer = Producer::start(client, &self.stream, self.args.shards, self.ledger.clone());
        self.producer = Some(producer);
    }

    /// Waits until something is so.
    ///
    /// # Errors
    /// It did not come about, or a worker or the producer fell over meanwhile.
    pub async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<Duration, Trouble> {
        let started = SystemClock.monotonic();
        loop {
            if is_so(self) {
                return Ok(SystemClock.monotonic().since(started));
            }
            if let Some(fallen) = self.fleet.fallen() {
                let log = log_file(&self.stream);
                return Err(format!("{fallen}; its log is in {}", log.display()).into());
            }
            if self.producer.as_ref().is_some_and(Producer::has_failed) {
                return Err("the producer could not go on".into());
            }
            if SystemClock.monotonic().since(started) > patience {
                return Err(format!("waited {patience:?} in vain until {what}").into());
            }
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every open shard is processed by a worker of the fleet, evenly, for a while.
    ///
    /// # Errors
    /// As for [`Stage::until`].
    pub async fn settle(&mut self) -> Result<Duration, Trouble> {
        let shards = usize::try_from(self.args.shards)?;
        let calm = self.args.lease_duration() / 3;
        let mut since = None;
        self.until("the fleet is settled", PATIENCE, |stage| {
            let now = SystemClock.monotonic();
            if !stage.is_even(shards) {
                since = None;
                return false;
            }
            now.since(*since.get_or_insert(now)) >= calm
        })
        .await
    }

    fn is_even(&self, shards: usize) -> bool {
        let owners = self.journal.owners();
        let names = self.fleet.names();
        let loads: Vec<_> = names
            .iter()
            .map(|name| owners.values().filter(|owner| *owner == name).count())
            .collect();
        let (most, least) = (loads.iter().max(), loads.iter().min());
        let held: usize = loads.iter().sum();
        held == owners.len()
            && held >= shards.min(owners.len())
            && !owners.is_empty()
            && self.is_every_shard_owned()
            && most.zip(least).is_some_and(|(most, least)| most - least <= 1)
    }

    fn is_every_shard_owned(&self) -> bool {
        let (owners, ended) = (self.journal.owners(), self.journal.ended());
        let puts = self.ledger.puts();
        let shards: std::collections::BTreeSet<_> =
            puts.values().map(|put| put.shard.as_str()).collect();
        let mut shards = shards.into_iter().filter(|shard| !ended.contains(*shard));
        shards.all(|shard| owners.contains_key(shard))
    }

    /// Notes that a worker is gone, and waits until others process its shards.
    ///
    /// # Errors
    /// As for [`Stage::until`].
    pub async fn moved(&mut self, loss: Loss) -> Result<(), Trouble> {
        self.journal.note_loss(loss.clone());
        let mut left = loss.shards.len();
        self.until("the lost shards are processed again", PATIENCE, |stage| {
            left = stage.journal.unmoved(&loss).len();
            left == 0
        })
        .await?;
        Ok(())
    }

    /// What a worker holds, as of now.
    pub fn loss_of(&self, place: usize, round: usize) -> Loss {
        let worker = self.fleet.workers[place].name.clone();
        let shards = self.journal.held_by(&worker);
        Loss { worker, at: unix_seconds(), shards, round }
    }

    /// Declares a worker dead that was reaped: proof, not suspicion.
    ///
    /// # Errors
    /// The table does not answer.
    pub async fn fence(&self, worker: &str) -> Result<(), Trouble> {
        let prefix = format!("{worker}-");
        for row in self.table.scan(Scan::Coordination).await? {
            let Row::Worker(row) = row else { continue };
            if row.state == WorkerState::Live && row.id.as_str().starts_with(&prefix) {
                let write = WorkerWrite::Update {
                    id: row.id,
                    when: vec![WorkerCondition::StateIs(WorkerState::Live)],
                    change: vec![WorkerChange::State(WorkerState::Fenced)],
                };
                self.table.write(&ConditionalWrite::Worker(write)).await?;
            }
        }
        Ok(())
    }

    /// Waits until everything put by now is processed; how long that took.
    ///
    /// # Errors
    /// As for [`Stage::until`].
    pub async fn catch_up(&mut self) -> Result<Duration, Trouble> {
        let put = self.ledger.puts().len();
        self.until("the fleet has caught up", PATIENCE, |stage| stage.journal.processed() >= put)
            .await
    }

    /// Splits the widest open shard or merges the two narrowest neighbours, in turns.
    ///
    /// # Errors
    /// The stream refuses it.
    pub async fn split_or_merge(&mut self, turn: usize) -> Result<(), Trouble> {
        let mut open: Vec<_> =
            self.list_shards().await?.into_iter().filter(|shard| shard.is_open).collect();
        open.sort_by_key(|shard| shard.range);
        let width = |shard: &Shard| shard.range.end - shard.range.start;
        if turn.is_multiple_of(2) {
            let widest = open.iter().max_by_key(|shard| width(shard)).ok_or("no open shard")?;
            let middle = widest.range.start + width(widest) / 2 + 1;
            let split = self.kinesis.split_shard().stream_name(&self.stream);
            let split = split.shard_to_split(widest.id.as_str());
            split.new_starting_hash_key(middle.to_string()).send().await?;
        } else {
            let pair = open.windows(2).min_by_key(|pair| width(&pair[0]) / 2 + width(&pair[1]) / 2);
            let pair = pair.ok_or("no two shards touch")?;
            let merge = self.kinesis.merge_shards().stream_name(&self.stream);
            let merge = merge.shard_to_merge(pair[0].id.as_str());
            merge.adjacent_shard_to_merge(pair[1].id.as_str()).send().await?;
        }
        await_active(&self.kinesis, &self.stream).await
    }

    /// Every shard of the stream.
    ///
    /// # Errors
    /// The stream does not answer.
    pub async fn list_shards(&self) -> Result<Vec<Shard>, Trouble> {
        let source = KinesisSource::builder(self.kinesis.clone(), &self.stream).build();
        Ok(source.list_shards().await?)
    }

    /// Stops the table and starts it again where it was.
    ///
    /// # Errors
    /// It is not ours, or does not start.
    pub async fn restart_table(&mut self) -> Result<(), Trouble> {
        let restarted = self.local.clone().ok_or(
            "table-restart needs a DynamoDB Local of the drill's own: leave --dynamodb out",
        )?;
        tokio::task::spawn_blocking(move || restarted.restart()).await??;
        Ok(())
    }

    /// True if the table itself was so slow since this was last asked that a round says nothing of
    /// the workers.
    pub fn was_table_slow(&mut self) -> bool {
        let traffic = self.proxy.take_traffic();
        let bound = self.args.lease_duration().mul_f64(crate::limits::TABLE_SHARE / 3.0);
        let is_slow = traffic.p99() > bound;
        self.traffic.add(&traffic);
        is_slow
    }

    /// Stops the producer, lets the fleet process the rest, and ends it.
    ///
    /// # Errors
    /// As for [`Stage::until`]; records that are never processed are no error here, but lost.
    pub async fn end(&mut self) -> Result<(), Trouble> {
        if let Some(producer) = self.producer.take() {
            producer.stop().await?;
        }
        let put = self.ledger.puts().len();
        let rest = Duration::from_secs(30);
        // What is still missing then is counted as lost.
        let _ =
            self.until("all is processed", rest, |stage| stage.journal.processed() >= put).await;
        while !self.fleet.workers.is_empty() {
            let place = self.fleet.workers.len() - 1;
            self.fleet.stop(place).await?;
        }
        self.was_table_slow();
        Ok(())
    }
}

/// A new folder for a table that survives its server.
fn fresh_folder() -> Result<PathBuf, String> {
    let name = format!("kcl-drill-{}", uuid::Uuid::new_v4().simple());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// Where the workers of a stream log.
pub(crate) fn log_file(stream: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{stream}.log"))
}

async fn await_active(kinesis: &Kinesis, stream: &str) -> Result<(), Trouble> {
    for _ in 0..1000 {
        let answer = kinesis.describe_stream_summary().stream_name(stream).send().await?;
        let status = answer.stream_description_summary().map(|summary| summary.stream_status());
        if status == Some(&aws_sdk_kinesis::types::StreamStatus::Active) {
            return Ok(());
        }
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    Err(format!("stream {stream} does not become active").into())
}

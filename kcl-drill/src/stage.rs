//! What a drill plays on: the services, the stream, the fleet, and what all of them said.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_kinesis::Client as Kinesis;
use kcl_core::{Clock, Shard, StreamSource, SystemClock, reaped};
use kcl_lease_dynamo::DynamoLeaseTable;
use kcl_stream_kinesis::KinesisSource;
use kcl_testkit::DynamoDbLocal;

use crate::args::Args;
use crate::audit::audit;
use crate::board::Board;
use crate::clients;
use crate::fleet::{Fleet, Recipe};
use crate::kinds::Scenario;
use crate::ledger::{Ledger, Producer};
use crate::limits::REST_PATIENCE;
use crate::measure::{RoundSpan, invalid};
use crate::probe::Probe;
use crate::proxy::{Harm, Proxy, Traffic};
use crate::record::{Journal, Loss};
use crate::services::Services;
use crate::sink::Sink;
use crate::stall::Stalls;
use crate::worker::unix_seconds;

/// Something that keeps a drill from going on.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

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
    pub board: Board,
    /// Of all rounds.
    pub traffic: Traffic,
    pub rounds: Vec<RoundSpan>,
    /// What went wrong, for people.
    pub broken: Vec<String>,
    /// What is wrong with the rows at the end, counted, if that could be judged.
    pub bad_rows: Option<usize>,
    stalls: Stalls,
    probe: Option<Probe>,
    local: Option<DynamoDbLocal>,
    producer: Option<Producer>,
}

impl Stage {
    /// Makes a stream and a table of their own. Nobody works on them yet.
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
        let proxy = Proxy::new(&services.dynamodb, args.harm.clone());
        let (journal, board) = (Journal::default(), Board::default());
        let recipe = Recipe {
            command: args.worker_command()?,
            environment: args.environment(&stream, &services.kinesis, sink.address),
            log: log_file(&stream),
            patience: args.patience(),
        };
        // Through the proxy too, which has to know of every fence.
        let door = proxy.open("supervisor").await?;
        let table = DynamoLeaseTable::builder(clients::dynamodb(&door.url()), &stream).build();
        let fleet = Fleet::new(recipe, proxy.clone(), journal.clone(), board.clone());
        let is_probed = args.scenario.is_some_and(Scenario::is_of_requests_alone);
        let probe = is_probed.then(|| Probe::start(table.clone()));
        Ok(Self {
            args: args.clone(),
            stream,
            kinesis,
            table,
            proxy,
            journal,
            ledger: Ledger::default(),
            sink,
            fleet,
            board,
            traffic: Traffic::default(),
            rounds: Vec::new(),
            broken: Vec::new(),
            bad_rows: None,
            stalls: Stalls::start(),
            probe,
            local: services.local.clone(),
            producer: None,
        })
    }

    /// Puts records from now on.
    pub fn produce(&mut self) {
        let (client, shards) = (self.kinesis.clone(), self.args.shards);
        let producer = Producer::start(client, &self.stream, shards, self.ledger.clone());
        self.producer = Some(producer);
    }

    /// Starts the fleet.
    ///
    /// # Errors
    /// No process can be started.
    pub async fn open(&mut self) -> Result<(), Trouble> {
        for _ in 0..self.args.workers {
            self.fleet.start().await?;
        }
        Ok(())
    }

    /// Puts nothing more.
    ///
    /// # Errors
    /// Why the producer could not go on before.
    pub async fn stop_producing(&mut self) -> Result<(), Trouble> {
        match self.producer.take() {
            Some(producer) => Ok(producer.stop().await?),
            None => Ok(()),
        }
    }

    /// Begins a round: what follows is measured.
    pub fn begin_round(&mut self) {
        self.proxy.take_traffic();
        self.stalls.take();
        self.probe.as_ref().and_then(Probe::take_median);
        let (from, to) = (unix_seconds(), f64::INFINITY);
        self.rounds.push(RoundSpan { from, to, invalid: None });
    }

    /// Ends a round, and judges whether it says anything of the workers.
    pub fn end_round(&mut self) {
        let (traffic, stalled) = (self.proxy.take_traffic(), self.stalls.take());
        let heartbeat = self.args.heartbeat();
        let minds = self.args.scenario.is_none_or(Scenario::needs_a_quick_table);
        let p50 = self.probe.as_ref().and_then(Probe::take_median);
        let p99 = Some(traffic.p99()).filter(|_| minds);
        let invalid = invalid(p50, p99, stalled, heartbeat);
        self.traffic.add(&traffic);
        if let Some(round) = self.rounds.last_mut() {
            round.to = unix_seconds();
            round.invalid = invalid;
        }
        let mut notes = self.board.notes();
        notes.round = u32::try_from(self.rounds.len()).unwrap_or(u32::MAX);
        notes.invalid = self.rounds.iter().filter(|round| round.invalid.is_some()).count();
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
                return Err(fallen.into());
            }
            if self.producer.as_ref().is_some_and(Producer::has_failed) {
                self.stop_producing().await?;
                return Err("the producer stopped".into());
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
        let (calm, patience) = (self.args.heartbeat(), self.args.patience());
        let mut since = None;
        self.until("the fleet is settled", patience, |stage| {
            let now = SystemClock.monotonic();
            if !stage.is_settled() {
                since = None;
                return false;
            }
            now.since(*since.get_or_insert(now)) >= calm
        })
        .await
    }

    fn is_settled(&self) -> bool {
        let owners = self.journal.owners();
        let names = self.fleet.names();
        let loads: Vec<_> = names
            .iter()
            .map(|name| owners.values().filter(|owner| *owner == name).count())
            .collect();
        let (most, least) = (loads.iter().max(), loads.iter().min());
        // Other programs may have other notions of what is even.
        let is_even = self.args.worker_cmd.is_some()
            || most.zip(least).is_some_and(|(most, least)| most - least <= 1);
        let is_ours = loads.iter().sum::<usize>() == owners.len();
        let have_joined = self.journal.are_ready(&names);
        have_joined && is_even && is_ours && self.is_every_shard_owned(&owners)
    }

    fn is_every_shard_owned(&self, owners: &BTreeMap<String, String>) -> bool {
        let (shards, ended) = (self.ledger.shards(), self.journal.ended());
        if self.args.scenario.is_some_and(|scenario| !scenario.has_records()) {
            return owners.len() >= self.args.shards as usize;
        }
        let mut open = shards.iter().filter(|shard| !ended.contains(*shard));
        !shards.is_empty() && open.all(|shard| owners.contains_key(shard))
    }

    /// Notes that a worker is gone, and waits until others process its shards.
    ///
    /// # Errors
    /// As for [`Stage::until`].
    pub async fn moved(&mut self, loss: Loss) -> Result<(), Trouble> {
        self.journal.note_loss(loss.clone());
        let mut left = loss.shards.len();
        let patience = self.args.patience();
        self.until("the lost shards are processed again", patience, |stage| {
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
        reaped(&self.table, worker).await?;
        Ok(())
    }

    /// Waits until everything put by now is processed; how long that took.
    ///
    /// # Errors
    /// As for [`Stage::until`].
    pub async fn catch_up(&mut self) -> Result<Duration, Trouble> {
        let put = self.ledger.puts().len();
        let patience = self.args.patience();
        self.until("the fleet has caught up", patience, |stage| stage.journal.processed() >= put)
            .await
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

    /// Stops the producer, lets the fleet process the rest, and ends it.
    ///
    /// # Errors
    /// The producer could not go on; records that are never processed are no error here, but lost.
    pub async fn end(&mut self) -> Result<(), Trouble> {
        self.proxy.set_harm(Harm::default());
        self.stop_producing().await?;
        let put = self.ledger.puts().len();
        let (mut best, mut since) = (0, SystemClock.monotonic());
        while best < put && SystemClock.monotonic().since(since) < REST_PATIENCE {
            let processed = self.journal.processed();
            if processed > best {
                (best, since) = (processed, SystemClock.monotonic());
            }
            if let Some(fallen) = self.fleet.fallen() {
                self.broken.push(fallen);
                break;
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        self.audit().await;
        while !self.fleet.workers.is_empty() {
            let place = self.fleet.workers.len() - 1;
            self.stop_worker(place).await?;
        }
        Ok(())
    }

    /// Judges the rows of a fleet that works and has come to rest; other programs' rows mean
    /// nothing to it.
    async fn audit(&mut self) {
        if self.fleet.workers.is_empty()
            || self.args.worker_cmd.is_some()
            || !self.broken.is_empty()
        {
            return;
        }
        let audited = match self.settle().await {
            Ok(_) => audit(self).await,
            Err(error) => Err(error),
        };
        match audited {
            Ok(found) => {
                self.bad_rows = Some(found.len());
                self.broken.extend(found.iter().map(ToString::to_string));
            }
            Err(error) => self.broken.push(error.to_string()),
        }
    }

    /// Removes the workers' log: nobody needs it.
    pub fn forget_log(&self) {
        // In the system's folder for such things, which is cleared anyhow.
        let _ = std::fs::remove_file(&self.fleet.recipe.log);
    }

    /// Asks a worker to leave; what it does wrong is noted.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub async fn stop_worker(&mut self, place: usize) -> Result<(), Trouble> {
        let wrong = self.fleet.stop(place).await?;
        self.broken.extend(wrong);
        Ok(())
    }
}

/// Where the workers of a stream log.
fn log_file(stream: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{stream}.log"))
}

/// Waits until a stream can be used.
///
/// # Errors
/// It does not come about, or the stream does not answer.
pub(crate) async fn await_active(kinesis: &Kinesis, stream: &str) -> Result<(), Trouble> {
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

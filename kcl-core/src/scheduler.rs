//! The scheduler: one worker of an application, from registration to goodbye.

use std::sync::Arc;

use futures_util::TryFutureExt;
use kcl_protocol::{LeaseKey, Liveness, RowKey, ShardId, StreamName, WorkerId};
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, Placement};
use crate::consumer::{Budget, ConsumerContext, OutOfBounds};
use crate::consumers::Consumers;
use crate::control::{Control, ControlEnd};
use crate::event::EventKind;
use crate::handle::{Command, Handle, HandleShared, WorkerPhase};
use crate::hints::Listener;
use crate::limits::{TAKES_AT_ONCE, WORKER_COMMANDS};
use crate::liveness::LivenessLoop;
use crate::processor::{ProcessorError, ProcessorFactory};
use crate::random::{Random, WorkerIds};
use crate::registration::{Registrar, Registration};
use crate::retry::Backoff;
use crate::source::{SourceError, StreamSource};
use crate::streams::{Binding, StreamRequest, Streams};
use crate::table::{LeaseTable, TableError};

/// One worker. Build it, keep a [`Handle`], and run it.
pub struct Scheduler {
    settings: Arc<Settings>,
    requests: Vec<StreamRequest>,
    several: bool,
    commands: mpsc::Receiver<Command>,
    handle: Handle,
}

/// What every part of a worker is told.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) table: Arc<dyn LeaseTable>,
    pub(crate) liveness_table: Arc<dyn LeaseTable>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) budget: Arc<Budget>,
}

impl Settings {
    pub(crate) fn binding(&self, several: bool) -> Binding<'_> {
        let (initial, rules) = (self.config.initial_position, self.config.rules);
        Binding { table: &*self.table, initial, rules, several }
    }

    pub(crate) fn consumer_context(
        &self,
        factory: Arc<dyn ProcessorFactory>,
        worker: &WorkerId,
    ) -> ConsumerContext {
        ConsumerContext {
            table: Arc::clone(&self.table),
            clock: Arc::clone(&self.config.clock),
            factory,
            policy: Arc::clone(&self.config.policy),
            dead_letters: self.config.dead_letters.clone(),
            config: self.config.consumer.clone(),
            budget: Arc::clone(&self.budget),
            observer: Arc::clone(&self.config.observer),
            worker: worker.clone(),
            rules: self.config.rules,
        }
    }
}

/// The keys of streams' rows, as a list for people.
fn rows_of(streams: &[StreamName]) -> String {
    let keys: Vec<_> =
        streams.iter().map(|name| RowKey::Stream(name.clone()).to_string()).collect();
    keys.join(", ")
}

/// Why a worker stopped, other than on purpose.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    /// A configured value is out of bounds.
    #[error(transparent)]
    Config(#[from] OutOfBounds),
    /// The lease table refuses this worker.
    #[error(transparent)]
    Table(TableError),
    /// A stream does not exist or refuses to be read.
    #[error(transparent)]
    Source(SourceError),
    /// A stream was deleted and made again: its sequence numbers mean nothing to the checkpoints.
    #[error(
        "stream {stream} was created at {found_millis} ms, but row {} of the lease table is bound \
         to the one created at {bound_to_millis} ms: give the workers a new lease table, or \
         delete this one",
        RowKey::Stream(stream.clone())
    )]
    StreamRecreated {
        /// The stream.
        stream: StreamName,
        /// Creation time the table is bound to (Unix milliseconds).
        bound_to_millis: u64,
        /// Creation time of the stream that was found (Unix milliseconds).
        found_millis: u64,
    },
    /// The lease table is the one of other streams.
    #[error(
        "the lease table is bound to other streams by its rows {}, this worker reads {stream} \
         alone: give each application a name and a lease table of its own, or delete this one if \
         those streams are done with",
        rows_of(bound_to)
    )]
    OtherStream {
        /// The worker's stream.
        stream: StreamName,
        /// Those in the table.
        bound_to: Vec<StreamName>,
    },
    /// The worker was given one stream twice, or two that the lease table cannot tell apart.
    #[error(
        "stream {stream} has the lease keys of stream {first} ({prefix}:..), which this worker \
         reads too: give it each stream once, however it is named; for two streams of one account \
         and name, in two regions, use an application each"
    )]
    StreamTwice {
        /// The second.
        stream: StreamName,
        /// The one before.
        first: StreamName,
        /// What stands before the shard in the lease keys of both.
        prefix: String,
    },
    /// The table's lease keys are not of this worker's kind.
    #[error(
        "the lease table holds {lease}, and this worker, which reads {stream}, would {}: its keys \
         {} their stream. All workers of an application are built for one stream or for several \
         (`Scheduler::several_streams`); give this one a table of its own, or build it alike",
        if *several { "name streams" } else { "name none" },
        if *several { "do not name" } else { "name" }
    )]
    OtherKeys {
        /// The worker's stream.
        stream: StreamName,
        /// A lease of the other kind.
        lease: LeaseKey,
        /// True if this worker was built for several streams.
        several: bool,
    },
    /// The configured start lies ahead of the stream's own time: all that comes before would be
    /// skipped, or the service refuses to read.
    #[error(
        "initial_position is AtTimestamp({at_millis}), but stream {stream} says it is {now_millis} \
         ms now: choose a time that has passed, or Latest"
    )]
    StartInFuture {
        /// The stream.
        stream: StreamName,
        /// The configured start (Unix milliseconds).
        at_millis: u64,
        /// The time by the service's clock (Unix milliseconds).
        now_millis: u64,
    },
    /// A reset, or accepting a restored table, needs every worker of the application stopped.
    #[error("workers {workers:?} still run: stop them first; nothing was changed")]
    StillRunning {
        /// Which.
        workers: Vec<WorkerId>,
    },
    /// A reset to positions must say where each open shard goes on.
    #[error(
        "no position for the open shards {missing:?}: name each of them, or reset to a start \
         position; nothing was changed"
    )]
    IncompleteReset {
        /// Open shards without a position.
        missing: Vec<ShardId>,
    },
    /// The error policy said to stop the worker.
    #[error("processing {lease} failed and the error policy stops the worker: {error}")]
    Processor {
        /// The lease.
        lease: LeaseKey,
        /// What the processor said.
        error: ProcessorError,
    },
    /// The address for hints is taken, or not this machine's.
    #[error("cannot listen for hints on {address}: {reason}; choose another or port 0")]
    Hints {
        /// Where it was to listen.
        address: std::net::SocketAddr,
        /// Why it cannot.
        reason: String,
    },
    /// A thread of the worker's own could not be started, or died.
    #[error("a thread of the worker failed: {0}")]
    Thread(String),
}

impl WorkerError {
    /// True if the same request may work later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Table(error) => error.is_transient(),
            Self::Source(error) => error.is_transient(),
            _ => false,
        }
    }
}

impl Scheduler {
    /// A worker that reads one stream.
    ///
    /// # Errors
    /// The first configured value that is out of bounds, by name.
    pub fn new(
        config: Config,
        table: Arc<dyn LeaseTable>,
        source: Arc<dyn StreamSource>,
        factory: impl ProcessorFactory,
    ) -> Result<Self, OutOfBounds> {
        Self::empty(config, table).map(|scheduler| scheduler.stream(source, factory))
    }

    /// A worker that reads no stream yet; add some with [`Scheduler::stream`].
    ///
    /// # Errors
    /// As for [`Scheduler::new`].
    pub fn empty(config: Config, table: Arc<dyn LeaseTable>) -> Result<Self, OutOfBounds> {
        config.validate()?;
        if config.effects && !table.supports_effects() {
            return Err(OutOfBounds {
                field: "effects",
                value: "true".to_owned(),
                bounds: "false with this lease table: it has no transactions with user effects"
                    .to_owned(),
            });
        }
        let (sender, commands) = mpsc::channel(WORKER_COMMANDS);
        let handle = Handle {
            commands: sender,
            shutdown: CancellationToken::new(),
            shared: HandleShared::new(Arc::clone(&config.clock)),
        };
        let slots = Arc::new(Semaphore::new(TAKES_AT_ONCE));
        let liveness_table = Arc::clone(&table);
        let budget = Budget::new(config.read_budget);
        let settings = Arc::new(Settings { config, table, liveness_table, slots, budget });
        let requests = Vec::new();
        Ok(Self { settings, requests, several: false, commands, handle })
    }

    /// Reads one more stream, with processors of its own.
    pub fn stream(mut self, source: Arc<dyn StreamSource>, factory: impl ProcessorFactory) -> Self {
        self.requests.push(StreamRequest { source, factory: Arc::new(factory) });
        self
    }

    /// Lets lease keys name their stream even while this worker reads one or none, so that streams
    /// can be added and removed while it runs ([`Handle::add_stream`]). Implied by more than one
    /// stream. All workers of an application, always: its table has keys of one kind.
    pub fn several_streams(mut self) -> Self {
        self.several = true;
        self
    }

    /// Sends heartbeats, and watches those of others, through this table: the same rows over
    /// connections of its own, so that no scan stands before a heartbeat and no stall of the
    /// processors' runtime holds one up. Default: the table given to [`Scheduler::new`].
    pub fn liveness_table(mut self, table: Arc<dyn LeaseTable>) -> Self {
        // Nothing shares the settings before the worker runs.
        if let Some(settings) = Arc::get_mut(&mut self.settings) {
            settings.liveness_table = table;
        }
        self
    }

    /// A handle on this worker.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs the worker until it is shut down or cannot go on. Processors run on the runtime this
    /// is called on. While it starts and the table or a stream cannot be reached it tries for ever,
    /// and says so through `tracing` alone. Dropping the future kills the worker without a word, as
    /// a crash would.
    ///
    /// # Errors
    /// What stopped it.
    pub async fn run(self) -> Result<(), WorkerError> {
        let kill = CancellationToken::new();
        let shared = Arc::clone(&self.handle.shared);
        let _killed = OnDrop { kill: Some(kill.clone().drop_guard()), shared };
        let placement = self.settings.config.placement;
        let worker = Worker {
            settings: self.settings,
            several: self.several || self.requests.len() > 1,
            requests: self.requests,
            commands: self.commands,
            shutdown: self.handle.shutdown.clone(),
            shared: Arc::clone(&self.handle.shared),
            runtime: Runtime::current(),
            kill: kill.clone(),
        };
        match placement {
            Placement::Inline => worker.run().await,
            Placement::OwnThreads => on_thread("kcl-control", kill, worker.run()).await?,
        }
    }
}

/// Stops the worker's threads when the future of [`Scheduler::run`] is dropped.
struct OnDrop {
    kill: Option<DropGuard>,
    shared: Arc<HandleShared>,
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.kill.take();
        let worker = self.shared.worker.lock().ok().and_then(|worker| worker.clone());
        self.shared.post(worker, WorkerPhase::Stopped);
    }
}

/// Runs a future on a thread and runtime of its own, until it ends or `kill` is cancelled.
async fn on_thread<T: Send + 'static>(
    name: &str,
    kill: CancellationToken,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, WorkerError> {
    let failed = |error: std::io::Error| WorkerError::Thread(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (sender, receiver) = oneshot::channel();
    let body = move || {
        let ended = runtime.block_on(async {
            tokio::select! { biased;
                () = kill.cancelled() => None,
                ended = future => Some(ended),
            }
        });
        if let Some(ended) = ended {
            // Nobody waits any more if the worker was killed meanwhile.
            let _ = sender.send(ended);
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(failed)?;
    receiver.await.map_err(|_| WorkerError::Thread(format!("{name} ended without an answer")))
}

/// A worker's life: one registration after the other.
struct Worker {
    settings: Arc<Settings>,
    requests: Vec<StreamRequest>,
    several: bool,
    commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
    shared: Arc<HandleShared>,
    runtime: Runtime,
    kill: CancellationToken,
}

impl Worker {
    async fn run(mut self) -> Result<(), WorkerError> {
        let config = &self.settings.config;
        let random = config.seed.map_or_else(Random::from_system, Random::from_seed);
        let registrar = Registrar {
            ids: WorkerIds::new(&config.worker_name, config.seed, config.rules),
            timing: config.timing(),
            max_leases: config.max_leases,
            table: Arc::clone(&self.settings.table),
            clock: Arc::clone(&config.clock),
            observer: Arc::clone(&config.observer),
            random: Arc::new(random),
            hints: config.hints,
            listener: self.listen().await?,
            rules: config.rules,
            unreadable: Arc::clone(&self.shared.unreadable),
        };
        let mut consumers = Consumers::new(self.runtime.clone(), Arc::clone(&self.shared.board));
        let Some(streams) = self.until_shutdown(self.bind(&registrar.random)).await.transpose()?
        else {
            return Ok(());
        };
        let streams = Arc::new(streams);
        loop {
            let registered = self.until_shutdown(registrar.register(&streams)).await;
            let Some(registered) = registered.transpose().map_err(WorkerError::Table)? else {
                return Ok(());
            };
            let (registration, liveness) = registered;
            let worker = Some(registration.me.clone());
            self.shared.post(worker.clone(), WorkerPhase::Running);
            let end = self.live(registration, liveness, &streams, &mut consumers).await;
            match end {
                ControlEnd::Left => return Ok(()),
                ControlEnd::Failed(error) => return Err(error),
                ControlEnd::Over if self.shutdown.is_cancelled() => return Ok(()),
                ControlEnd::Over => self.shared.post(worker, WorkerPhase::Starting),
            }
        }
    }

    async fn listen(&self) -> Result<Option<Listener>, WorkerError> {
        let config = &self.settings.config;
        let Some(at) = &config.hint_address else { return Ok(None) };
        let listener = Listener::bind(at, &config.clock).await;
        let failed = |error| WorkerError::Hints { address: at.bind, reason: format!("{error}") };
        listener.map(Some).map_err(|error: std::io::Error| failed(error))
    }

    async fn until_shutdown<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! { biased;
            () = self.shutdown.cancelled() => None,
            answer = future => Some(answer),
        }
    }

    /// Binds the streams, each tried again by itself while the table or the stream cannot be
    /// reached: where one request in four fails, all of them together hardly ever succeed.
    async fn bind(&self, random: &Random) -> Result<Streams, WorkerError> {
        let table = &self.settings.table;
        let prepare = || table.prepare().map_err(WorkerError::Table);
        self.again(random, prepare).await?;
        let binding = self.settings.binding(self.several);
        let streams = Streams::new(self.several);
        for request in &self.requests {
            streams.insert(self.again(random, || binding.bind(request)).await?)?;
        }
        Ok(streams)
    }

    async fn again<T, F: Future<Output = Result<T, WorkerError>>>(
        &self,
        random: &Random,
        step: impl Fn() -> F,
    ) -> Result<T, WorkerError> {
        let mut attempt = 0;
        loop {
            match step().await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "binding the streams failed; trying again");
                }
                done => return done,
            }
            attempt += 1;
            let pause = Backoff::REQUEST.delay(attempt, random.next());
            self.settings.config.clock.sleep(pause).await;
        }
    }

    /// One registration, from its first heartbeat to its end.
    async fn live(
        &mut self,
        registration: Arc<Registration>,
        liveness: Liveness,
        streams: &Arc<Streams>,
        consumers: &mut Consumers,
    ) -> ControlEnd {
        let config = &self.settings.config;
        let beats = LivenessLoop::new(
            Arc::clone(&registration),
            liveness,
            Arc::clone(&self.settings.liveness_table),
            config.max_control_stall,
        );
        let stop = self.kill.child_token();
        let control = Control::new(
            Arc::clone(&registration),
            Arc::clone(&self.settings),
            Arc::clone(streams),
            consumers,
        );
        let control = async {
            let end = control.run(&mut self.commands, &self.shutdown).await;
            stop.cancel();
            end
        };
        let end = match config.placement {
            Placement::Inline => tokio::join!(beats.run(stop.clone()), control).1,
            Placement::OwnThreads => {
                let beats = on_thread("kcl-liveness", self.kill.clone(), beats.run(stop.clone()));
                let (beats, end) = tokio::join!(beats, control);
                match beats {
                    Ok(()) => end,
                    Err(error) => ControlEnd::Failed(error),
                }
            }
        };
        registration.drop_all();
        registration.observe(EventKind::Deregistered);
        end
    }
}

//! What a worker can be told, with defaults, units and bounds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kcl_protocol::{Lease, LeaseTiming, Rules, limits};

use crate::clock::{Clock, SystemClock};
use crate::consumer::{Acks, ConsumerConfig, OutOfBounds, ProcessorKind};
use crate::dead_letter::DeadLetterSink;
use crate::event::{Observer, Unobserved};
use crate::hints::HintAddress;
use crate::policy::{ErrorPolicy, RetryThenStop};
use crate::source::ReadLimit;

/// How much a lease weighs in balancing.
pub type Weight = Arc<dyn Fn(&Lease) -> u64 + Send + Sync>;

/// Where the leases of an application's first shard sync start. Fixed for the application by
/// whoever comes first; a restart goes on from the checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialPosition {
    /// The oldest record retained.
    #[default]
    TrimHorizon,
    /// Records that arrive after the application first started; where no shard tells its tip
    /// (Kinesis), also those of the last 5 s.
    Latest,
    /// The first record that arrived at or after this time (Unix milliseconds).
    AtTimestamp(u64),
}

/// On which threads a worker's own loops run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Liveness and control each on a thread of their own, so that a processor that blocks every
    /// thread of the runtime costs no lease.
    #[default]
    OwnThreads,
    /// Inside `Scheduler::run`, for simulations on one thread and a paused clock.
    Inline,
}

/// The configuration of one worker. Values are checked when the scheduler is built.
#[derive(Clone)]
pub struct Config {
    pub(crate) application: String,
    pub(crate) worker_name: String,
    pub(crate) lease_duration: Duration,
    pub(crate) grace: Duration,
    pub(crate) max_leases: u32,
    pub(crate) initial_position: InitialPosition,
    pub(crate) consumer: ConsumerConfig,
    pub(crate) read_budget: ReadLimit,
    pub(crate) max_control_stall: Duration,
    pub(crate) reconcile_every: Duration,
    pub(crate) yield_for: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) placement: Placement,
    pub(crate) hints: bool,
    pub(crate) hint_address: Option<HintAddress>,
    pub(crate) effects: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) weight: Option<Weight>,
    pub(crate) policy: Arc<dyn ErrorPolicy>,
    pub(crate) dead_letters: Option<Arc<dyn DeadLetterSink>>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Has no size, and breaks nothing, without the feature `mutants`.
    pub(crate) rules: Rules,
}

/// Grace of processors declared [`ProcessorKind::Blocking`]: they cannot be cancelled.
const BLOCKING_GRACE: Duration = Duration::from_millis(250);

impl Config {
    /// The defaults for an application: 1 to 255 letters, digits, `-`, `_` or `.`. The name is for
    /// people; nothing is decided by it. Workers are of one application because they are given the
    /// same lease table: name the table after it.
    pub fn new(application: impl Into<String>) -> Self {
        Self {
            application: application.into(),
            worker_name: "worker".to_owned(),
            lease_duration: Duration::from_secs(3),
            grace: BLOCKING_GRACE,
            max_leases: u32::MAX,
            initial_position: InitialPosition::default(),
            consumer: ConsumerConfig::default(),
            read_budget: ReadLimit { records: 1_000_000, bytes: 256 << 20 },
            max_control_stall: Duration::from_secs(5),
            reconcile_every: limits::RECONCILE_EVERY,
            yield_for: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(30),
            placement: Placement::default(),
            hints: true,
            hint_address: None,
            effects: false,
            seed: None,
            weight: None,
            policy: Arc::new(RetryThenStop::default()),
            dead_letters: None,
            observer: Arc::new(Unobserved),
            clock: Arc::new(SystemClock),
            rules: Rules::ALL,
        }
    }

    /// First part of the worker's id; 1 to 64 letters, digits, `-`, `_` or `.`. Default `worker`.
    /// Give each process its own: logs, `kcl table show` and [`reaped`](crate::reaped) go by it.
    pub fn worker_name(mut self, name: impl Into<String>) -> Self {
        self.worker_name = name.into();
        self
    }
    /// `D`: how long a worker may go unheard before others take its shards. 300 ms to 300 s,
    /// default 3 s. A failover takes about as long; each worker writes one heartbeat every third
    /// of it.
    pub fn lease_duration(mut self, duration: Duration) -> Self {
        self.lease_duration = duration;
        self
    }
    /// How long a processor declared blocking may overrun a lost lease before another worker
    /// starts. 0 to 60 s, default 250 ms. Asynchronous processors need none: they are cancelled.
    pub fn blocking_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
    /// The most leases this worker holds; at least 1, default no bound. Leases that nobody holds
    /// and no worker has room for stay so. When a reshard leaves this worker with more, it gives
    /// the excess to others with room, or else keeps it: a crowded worker is better than none.
    pub fn max_leases_per_worker(mut self, leases: u32) -> Self {
        self.max_leases = leases;
        self
    }
    /// Where a new application starts. Default the trim horizon, so that nothing is missed. A time
    /// ahead of the stream's own is refused.
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.initial_position = position;
        self
    }
    /// Batches, prefetch, acknowledgements and checkpoints; defaults and bounds are those of
    /// [`ConsumerConfig`].
    pub fn consumer(mut self, consumer: ConsumerConfig) -> Self {
        self.consumer = consumer;
        self
    }
    /// The most that all shards of the worker together have read and not finished: queued, in a
    /// batch that runs, or with a reader whose stream sent more than was asked for. So many
    /// records, 1,000 to 1,000,000,000, default 1,000,000; so many bytes of data and keys, 1 MiB to
    /// 1 TiB, default 256 MiB, up to one record, and one answer or event of the stream, more a
    /// shard. On top of the bounds of each shard; every shard may always read one piece of up to
    /// 256 KiB.
    pub fn read_budget(mut self, records: usize, bytes: usize) -> Self {
        self.read_budget = ReadLimit { records, bytes };
        self
    }
    /// When records count as done: on the return of `process_records` (default), or one by one.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.consumer.acks = acks;
        self
    }
    /// Whether processors come to await points often (default), or block their thread.
    pub fn processor_kind(mut self, kind: ProcessorKind) -> Self {
        self.consumer.kind = kind;
        self
    }
    /// How long the worker's own control loop may stand still before its heartbeats stop and
    /// others take over. 1 s to 300 s, default 5 s.
    pub fn max_control_stall(mut self, stall: Duration) -> Self {
        self.max_control_stall = stall;
        self
    }
    /// How often the fleet compares the rows with the stream and with what workers hold. 1 s to
    /// 1 h, default 60 s; one worker does it for all.
    pub fn reconcile_every(mut self, every: Duration) -> Self {
        self.reconcile_every = every;
        self
    }
    /// How long this worker leaves a shard alone that it yielded. 1 s to 1 h, default 60 s.
    pub fn yield_for(mut self, duration: Duration) -> Self {
        self.yield_for = duration;
        self
    }
    /// How long a clean shutdown may take before the worker leaves the rest to expiry. 1 s to
    /// 1 h, default 30 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }
    /// On which threads the worker's own loops run. Default: threads of their own.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }
    /// Whether workers tell each other to look now. Default true; without hints every move waits
    /// for a heartbeat.
    pub fn hints(mut self, hints: bool) -> Self {
        self.hints = hints;
        self
    }
    /// Listens for hints of workers in other processes, over TCP; its address stands in the
    /// worker's row. What it saves: without it a shard whose move is planned (a worker that leaves,
    /// joins or has too many) pauses up to `H`, a third of the lease duration, longer, since the
    /// receiver finds out by its next heartbeat. Default none: hints then come from workers of this
    /// process only. A hint is signed with the table's key and makes the worker read, nothing else;
    /// the port need be open to the application's other workers alone.
    pub fn hint_address(mut self, address: HintAddress) -> Self {
        self.hint_address = Some(address);
        self
    }
    /// Says that processors use `Checkpointer::checkpoint_with`: building the scheduler then fails
    /// on a lease table that cannot put the user's writes into one transaction with a checkpoint.
    /// Default false.
    pub fn effects(mut self, used: bool) -> Self {
        self.effects = used;
        self
    }
    /// Makes jitter and ids follow from a seed. For simulations only: two workers with one seed
    /// collide. Default none: drawn from the system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
    /// How much a lease weighs in balancing. Default 1 each. Must be the same function in every
    /// worker.
    pub fn weight(mut self, weight: impl Fn(&Lease) -> u64 + Send + Sync + 'static) -> Self {
        self.weight = Some(Arc::new(weight));
        self
    }
    /// What happens when a processor fails. Default: retry five times, then park the shard.
    pub fn error_policy(mut self, policy: impl ErrorPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }
    /// Where records go that the policy gives up on. Default none: the shard is parked instead.
    pub fn dead_letters(mut self, sink: Arc<dyn DeadLetterSink>) -> Self {
        self.dead_letters = Some(sink);
        self
    }
    /// Who is told of every event, and must return at once: see [`Observer`]. Default nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }
    /// The clock; default the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Breaks one rule of the protocol, to prove that somebody notices.
    #[cfg(feature = "mutants")]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    pub(crate) fn weigh(&self, lease: &Lease) -> u64 {
        self.weight.as_ref().map_or(1, |weight| weight(lease))
    }

    pub(crate) fn timing(&self) -> LeaseTiming {
        let grace = match self.consumer.kind {
            ProcessorKind::Async => Duration::ZERO,
            ProcessorKind::Blocking => self.grace,
        };
        LeaseTiming::new(self.lease_duration, grace)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first field out of bounds, by name.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3600);
        name("application", &self.application, 255)?;
        name("worker_name", &self.worker_name, 64)?;
        OutOfBounds::check(
            "lease_duration",
            self.lease_duration,
            limits::MIN_LEASE_DURATION,
            limits::MAX_LEASE_DURATION,
        )?;
        OutOfBounds::check("blocking_grace", self.grace, Duration::ZERO, second * 60)?;
        OutOfBounds::check("max_leases_per_worker", self.max_leases, 1, u32::MAX)?;
        OutOfBounds::check("max_control_stall", self.max_control_stall, second, second * 300)?;
        OutOfBounds::check("reconcile_every", self.reconcile_every, second, hour)?;
        OutOfBounds::check("yield_for", self.yield_for, second, hour)?;
        OutOfBounds::check("shutdown_timeout", self.shutdown_timeout, second, hour)?;
        if let Some(address) = &self.hint_address
            && address.bind.ip().is_unspecified()
            && address.host.is_none()
        {
            return Err(OutOfBounds {
                field: "hint_address",
                value: address.bind.to_string(),
                bounds: "an address others can reach, or one with `reached_under`".to_owned(),
            });
        }
        let ReadLimit { records, bytes } = self.read_budget;
        OutOfBounds::check("read_budget records", records, 1_000, 1_000_000_000)?;
        OutOfBounds::check("read_budget bytes", bytes, 1 << 20, 1 << 40)?;
        self.policy.validate()?;
        self.consumer.validate()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("application", &self.application)
            .field("worker_name", &self.worker_name)
            .field("lease_duration", &self.lease_duration)
            .field("max_leases", &self.max_leases)
            .field("initial_position", &self.initial_position)
            .finish_non_exhaustive()
    }
}

fn name(field: &'static str, value: &str, longest: usize) -> Result<(), OutOfBounds> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !value.is_empty() && value.len() <= longest && value.chars().all(is_allowed) {
        return Ok(());
    }
    let bounds = format!("1 to {longest} letters, digits, '-', '_' or '.'");
    Err(OutOfBounds { field, value: format!("{value:?}"), bounds })
}

//! What one state of the model is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_protocol::{
    CasOutcome, ConditionalWrite, EntryId, Fence, Holdings, InboxEntry, Lease, LeaseKey,
    LeaseTiming, Liveness, Moment, Ordinal, Row, RowKey, Watch, WorkerId, WorkerRow,
};

use super::checks::Flaw;
use super::data::Run;
use super::shared::Shared;

/// One tick of the model's clock.
pub const TICK: Duration = Duration::from_nanos(1);

/// Everything at one moment: the table, the workers, and what travels between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Ticks that passed; no worker sees them, each has a clock of its own.
    pub now: u64,
    /// The rows.
    pub table: Shared<BTreeMap<RowKey, Row>>,
    /// Each with its memory.
    pub workers: Vec<Shared<Worker>>,
    /// Writes that were sent and may still apply, oldest first.
    pub pool: Shared<Vec<Request>>,
    /// How much may still go wrong.
    pub left: Left,
    /// What an all-seeing observer knows.
    pub seen: Shared<Seen>,
}

/// How often each kind of fault or move may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Ticks one clock misses.
    pub drifts: u8,
    /// Worker rows deleted by hand.
    pub deletions: u8,
    /// Processes that die.
    pub crashes: u8,
    /// Requests that apply twice.
    pub repeats: u8,
    /// Answers given up on.
    pub lost: u8,
    /// Registrations under a new id.
    pub registrations: u8,
    /// Asks.
    pub asks: u8,
    /// Leases let go without an ask: handed over or released.
    pub leaves: u8,
    /// Reads of a lease.
    pub reads: u8,
    /// Takes of a lease.
    pub takes: u8,
    /// Checkpoints and effects sent.
    pub writes: u8,
    /// Heartbeats.
    pub beats: u8,
    /// Times the stream drops the shards that it closed long ago.
    pub drops: u8,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its id; drawn anew at every registration.
    pub id: WorkerId,
    /// How many registrations it has made.
    pub lives: u8,
    /// None while it is not registered.
    pub life: Option<Liveness>,
    /// Ticks its clock has missed.
    pub lag: u64,
    /// What it saw of others.
    pub watch: Watch,
    /// What it holds.
    pub holdings: Holdings,
    /// What a broken rule adds to its validity.
    pub extra: Moment,
    /// Requests whose answers it waits for.
    pub awaited: Vec<Token>,
    /// Answers on their way to it.
    pub answers: Vec<Answer>,
    /// Its inbox as the last answered heartbeat showed it.
    pub inbox: BTreeMap<EntryId, InboxEntry>,
    /// Asks it has decided.
    pub decided: BTreeSet<EntryId>,
    /// The ask it made.
    pub asked: Option<Asked>,
    /// The shards it works on.
    pub runs: BTreeMap<LeaseKey, Run>,
    /// A lease row it read a while ago; only a broken rule uses it.
    pub cached: Option<Lease>,
}

/// An ask of this worker, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The entry.
    pub id: EntryId,
    /// Whom it asked.
    pub owner: WorkerId,
    /// For which lease, as it was then.
    pub lease: Lease,
    /// A revocation was sent.
    pub forced: bool,
    /// When it was known to stand in the owner's row.
    pub revoked_at: Option<Moment>,
}

/// Names a request to the worker that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// A registration sent at this moment.
    Register(Moment),
    /// A heartbeat sent at this moment.
    Beat(Moment),
    /// Others' rows; no answer is used.
    Other,
    /// An ownership write that makes this worker the owner of the lease with this index.
    Gain(u8),
    /// An ownership write by which it lets the lease go.
    LetGo(u8),
    /// A read of the lease.
    Read(u8),
    /// A revocation.
    Revoke,
    /// A checkpoint at this ordinal.
    Checkpoint(Ordinal),
    /// Effects of this record with a checkpoint, at this ordinal, by who works under this fence.
    Effects(u8, Ordinal, Fence),
}

/// A write on its way to the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The process that sent it.
    pub from: usize,
    /// Under which id.
    pub id: WorkerId,
    /// What it is to its sender.
    pub token: Token,
    /// All or none.
    pub writes: Vec<ConditionalWrite>,
    /// The ask that moved a lease this way.
    pub because: Option<EntryId>,
}

/// An answer on its way back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// To which request.
    pub token: Token,
    /// What it says.
    pub outcome: CasOutcome,
}

/// What an all-seeing observer knows and no worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Highest checkpoint that ever stood, in records.
    pub high: u8,
    /// Highest watermark any worker had.
    pub acked: u8,
    /// Effects applied: record to fence.
    pub effects: BTreeMap<u8, Fence>,
    /// Asks that moved a lease.
    pub moved: BTreeSet<EntryId>,
    /// Shards whose reading began while the stream still had them; noted where it drops any.
    pub begun: BTreeSet<LeaseKey>,
    /// What went wrong.
    pub flaws: BTreeSet<Flaw>,
}

impl World {
    /// The lease under this key.
    pub fn lease(&self, key: &LeaseKey) -> Option<&Lease> {
        match self.table.get(&RowKey::Lease(key.clone())) {
            Some(Row::Lease(lease)) => Some(lease),
            _ => None,
        }
    }
    /// The row of this worker.
    pub fn worker_row(&self, id: &WorkerId) -> Option<&WorkerRow> {
        match self.table.get(&RowKey::Worker(id.clone())) {
            Some(Row::Worker(row)) => Some(row),
            _ => None,
        }
    }
    /// What the clock of this worker shows.
    pub fn clock(&self, worker: usize) -> Moment {
        Moment::default() + TICK * u32::try_from(self.now - self.workers[worker].lag).unwrap_or(0)
    }
    /// True if this worker may act on the lease now.
    pub fn permits(&self, worker: usize, key: &LeaseKey) -> bool {
        let it = &self.workers[worker];
        let Some(life) = &it.life else { return false };
        it.holdings.fence(key).is_some() && self.clock(worker) < life.valid_until().max(it.extra)
    }
}

impl Worker {
    /// A process without a registration.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            lives: 0,
            life: None,
            lag: 0,
            watch: Watch::default(),
            holdings: Holdings::default(),
            extra: Moment::default(),
            awaited: Vec::new(),
            answers: Vec::new(),
            inbox: BTreeMap::new(),
            decided: BTreeSet::new(),
            asked: None,
            runs: BTreeMap::new(),
            cached: None,
        }
    }
    /// Forgets everything but its clock: it died, or its row says that it is dead.
    pub fn forget(&mut self) {
        let (lives, lag) = (self.lives, self.lag);
        *self = Self { lives, lag, ..Self::new(self.id.clone()) };
    }
    /// True if it waits for such an answer.
    pub fn awaits(&self, is: impl Fn(&Token) -> bool) -> bool {
        self.awaited.iter().any(is)
    }
    /// The durations it lives by, once registered.
    pub fn timing(&self) -> Option<LeaseTiming> {
        self.life.as_ref().map(Liveness::timing)
    }
}

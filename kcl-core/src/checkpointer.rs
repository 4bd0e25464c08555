//! How a processor says what is done.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use kcl_protocol::acks::{Acked, Acks as Watermark};
use kcl_protocol::gate::{Gate, Progress};
use kcl_protocol::{Checkpoint, Fence, Moment, Parked, Position, Prepared};
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::consumer::Acks;
use crate::permit::{Denied, Permit};
use crate::table::Effects;

/// Acknowledges records of one shard under one fence. Clone it into any task; it is valid until the
/// lease is lost or handed on, and answers [`CheckpointError::LeaseLost`] from then on.
#[derive(Clone)]
pub struct Checkpointer {
    ledger: Arc<Ledger>,
    /// The last record of the batch it was handed out with.
    batch: Option<Position>,
}

/// Why a checkpointer did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The lease is no longer held under this fence: stop working on the shard. What was not
    /// written is delivered again, to the next owner.
    #[error("the lease is no longer held under fence {fence}: stop working on the shard")]
    LeaseLost {
        /// The fence that is over.
        fence: Fence,
    },
    /// No such record is out: ack only what was delivered.
    #[error("record {position} was not delivered, or will be delivered again: nothing was acked")]
    NotDelivered {
        /// The position that was acked.
        position: Position,
    },
    /// Single acks belong to [`Acks::Explicit`].
    #[error("acks are OnReturn, so returning Ok acks the batch: set acks to Explicit to ack alone")]
    NotExplicit,
    /// Every record up to this one must be acked before a checkpoint there can be committed.
    #[error("{first_open} is not acked yet: ack everything up to {position}, then commit")]
    NotAcked {
        /// The prepared position.
        position: Position,
        /// The first record that is not acked.
        first_open: Position,
    },
    /// The record is acked already: a checkpoint is prepared before its records are acked.
    #[error("record {position} is acked already: prepare before acking")]
    AlreadyAcked {
        /// The position to prepare.
        position: Position,
    },
    /// The state to keep is too large.
    #[error("the state is {bytes} bytes, at most {most} are kept: keep a reference instead")]
    StateTooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// The lease table refused the write, and will next time: nothing was applied.
    #[error("the lease table refused the write, nothing was applied: {0}")]
    Refused(String),
}

impl Checkpointer {
    pub(crate) fn new(ledger: Arc<Ledger>, batch: Option<Position>) -> Self {
        Self { ledger, batch }
    }

    /// The fence it is valid for: the fencing token to pass on to whatever you write to.
    pub fn fence(&self) -> Fence {
        self.ledger.permit.fence()
    }

    /// Until when this worker may act on the shard, as far as is known now, on its monotonic
    /// clock; each answered heartbeat moves it on. Whatever must end before another worker may
    /// start takes its deadline from here.
    pub fn valid_until(&self) -> Moment {
        self.ledger.permit.valid_until()
    }

    /// Notes that a record is done, with [`Acks::Explicit`]. Any order, any task; the checkpoint
    /// stays below the first unacked record. Acking a record again changes nothing and is `Ok`.
    /// Writes nothing by itself.
    ///
    /// # Errors
    /// [`CheckpointError::NotDelivered`] for a position that is not out: never delivered, or about
    /// to be delivered again after a failure.
    pub fn ack(&self, position: Position) -> Result<(), CheckpointError> {
        if self.ledger.mode == Acks::OnReturn {
            return Err(CheckpointError::NotExplicit);
        }
        let mut entries = self.entries()?;
        match entries.acks.ack(position) {
            Acked::NotDelivered => return Err(CheckpointError::NotDelivered { position }),
            Acked::Before => {}
            Acked::Now => {
                let now = self.ledger.clock.monotonic();
                entries.gate.moved(now);
            }
        }
        drop(entries);
        self.ledger.consumer.wake();
        Ok(())
    }

    /// Writes the acked watermark now, and returns once it is in the lease table.
    ///
    /// # Errors
    /// [`CheckpointError::LeaseLost`], [`CheckpointError::Refused`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the write to go on by itself.
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let (target, refusals) = {
            let entries = self.entries()?;
            (entries.acks.watermark(), entries.refusals)
        };
        loop {
            let settled = self.ledger.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let mut entries = self.entries()?;
                if entries.gate.written().checkpoint >= target {
                    return Ok(());
                }
                if entries.refusals > refusals {
                    return Err(CheckpointError::Refused(entries.refusal.clone()));
                }
                entries.flush = true;
            }
            self.ledger.consumer.wake();
            settled.await;
        }
    }

    /// Puts writes of your own and the checkpoint into one transaction: both apply, once, or
    /// neither, whatever happens to replies and owners on the way. Returns once that is decided.
    ///
    /// With [`Acks::OnReturn`] the checkpoint is the end of the batch that this checkpointer came
    /// with: all of it counts as acked from then on, also if the call returns an error later. So
    /// put all effects of a batch into one call.
    ///
    /// With [`Acks::Explicit`] it is the acked watermark. A checkpoint may be written at any time
    /// between an ack and this call, and then covers that record without its effects: effects that
    /// must never be missed belong to `OnReturn`.
    ///
    /// # Errors
    /// [`CheckpointError::Refused`] also if the table takes no such effects;
    /// [`CheckpointError::LeaseLost`]: if the effects were sent, they may have been applied, and
    /// then the next owner starts behind them.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws what was not sent yet. What was sent goes on by itself, and
    /// no record is delivered again before it is decided.
    pub async fn checkpoint_with(&self, effects: Effects) -> Result<(), CheckpointError> {
        let (answer, decided) = oneshot::channel();
        let mut request = Some(EffectsRequest { effects, through: self.batch, answer });
        loop {
            let settled = self.ledger.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            {
                let mut entries = self.entries()?;
                if entries.effects.is_none() {
                    entries.effects = request.take();
                }
            }
            if request.is_none() {
                self.ledger.consumer.wake();
                break;
            }
            settled.await;
        }
        decided.await.unwrap_or_else(|_| Err(self.ledger.lost()))
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn entries(&self) -> Result<MutexGuard<'_, Entries>, CheckpointError> {
        let entries = self.ledger.lock();
        let is_lost = entries.closed || self.ledger.permit.check() == Err(Denied::Lost);
        if is_lost { Err(self.ledger.lost()) } else { Ok(entries) }
    }
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpointer({} at fence {})", self.ledger.permit.lease(), self.fence())
    }
}

/// What a consumer and its checkpointers share.
pub(crate) struct Ledger {
    pub mode: Acks,
    pub permit: Permit,
    pub clock: Arc<dyn Clock>,
    /// Wakes the consumer's task after a change made elsewhere.
    pub consumer: AtomicWaker,
    /// Tells waiting checkpointers that a write is decided, or the ledger closed.
    pub settled: Notify,
    entries: Mutex<Entries>,
}

pub(crate) struct Entries {
    pub acks: Watermark,
    pub gate: Gate,
    /// What the row should say.
    pub parked: Option<Parked>,
    /// Somebody waits for the watermark to be written.
    pub flush: bool,
    /// Effects to send next.
    pub effects: Option<EffectsRequest>,
    /// A prepared checkpoint to write next.
    pub prepare: Option<PrepareRequest>,
    /// Plain checkpoints refused so far, and what the table said last.
    pub refusals: u64,
    pub refusal: String,
    pub closed: bool,
}

pub(crate) struct PrepareRequest {
    pub prepared: Prepared,
    pub answer: oneshot::Sender<Result<(), CheckpointError>>,
}

pub(crate) struct EffectsRequest {
    pub effects: Effects,
    /// With acks on return: the last record it covers.
    pub through: Option<Position>,
    pub answer: oneshot::Sender<Result<(), CheckpointError>>,
}

impl Ledger {
    pub fn new(
        mode: Acks,
        permit: Permit,
        clock: Arc<dyn Clock>,
        start: Checkpoint,
        gate: Gate,
    ) -> Arc<Self> {
        let entries = Entries {
            acks: Watermark::new(start),
            gate,
            parked: None,
            flush: false,
            effects: None,
            prepare: None,
            refusals: 0,
            refusal: String::new(),
            closed: false,
        };
        let (consumer, settled) = (AtomicWaker::new(), Notify::new());
        Arc::new(Self { mode, permit, clock, consumer, settled, entries: Mutex::new(entries) })
    }

    pub fn lock(&self) -> MutexGuard<'_, Entries> {
        // Every change of the entries is one call of a pure type; a panic leaves none half made.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every checkpointer answers that the lease is lost.
    pub fn close(&self) {
        let dropped = {
            let mut entries = self.lock();
            entries.closed = true;
            (entries.effects.take(), entries.prepare.take())
        };
        drop(dropped);
        self.settled.notify_waiters();
    }

    pub fn lost(&self) -> CheckpointError {
        CheckpointError::LeaseLost { fence: self.permit.fence() }
    }
}

impl Entries {
    /// What the row should say now.
    pub fn progress(&self) -> Progress {
        let checkpoint = self.acks.checkpoint(self.gate.rules());
        self.gate.progress(checkpoint, self.parked.clone())
    }
}

//! Sends what the gate lets through to the lease table, one write at a time.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use kcl_protocol::gate::{Answer, Carries, Pending, Ruling};
use kcl_protocol::{CasOutcome, Checkpoint, ConditionalWrite, Prepared, Row, RowKey, Rules};

use super::alarm::Alarm;
use super::{ConsumerContext, Reporter};
use crate::checkpointer::{CheckpointError, EffectsRequest, Entries, Ledger, PrepareRequest};
use crate::consumer::Acks;
use crate::event::EventKind;
use crate::limits::WRITE_TIMEOUT;
use crate::permit::Denied;
use crate::retry::Backoff;
use crate::table::{Effects, LeaseTable};

pub(super) struct Writer {
    ctx: Arc<ConsumerContext>,
    report: Reporter,
    ledger: Arc<Ledger>,
    out: Option<BoxFuture<'static, (Answer, String)>>,
    /// The effects that are out or have to be repeated.
    effects: Option<EffectsRequest>,
    /// The prepared checkpoint that is out or has to be repeated.
    prepare: Option<PrepareRequest>,
    retry: Alarm,
    due: Alarm,
    failures: u32,
    granted: Option<BoxFuture<'static, ()>>,
}

/// The lease turned out to be another's.
pub(super) struct LeaseLost;

impl Writer {
    pub fn new(ctx: &Arc<ConsumerContext>, report: Reporter, ledger: &Arc<Ledger>) -> Self {
        Self {
            ctx: Arc::clone(ctx),
            report,
            ledger: Arc::clone(ledger),
            out: None,
            effects: None,
            prepare: None,
            retry: Alarm::new(&ctx.clock),
            due: Alarm::new(&ctx.clock),
            failures: 0,
            granted: None,
        }
    }

    /// True while effects wait to be sent or decided.
    pub fn is_undecided(&self) -> bool {
        let entries = self.ledger.lock();
        entries.gate.is_undecided() || entries.effects.is_some()
    }

    /// Writes what is due. Ready only when the lease is lost.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<LeaseLost> {
        loop {
            if let Some(out) = &mut self.out {
                let (answer, error) = std::task::ready!(out.as_mut().poll(cx));
                self.out = None;
                if self.answered(answer, error).is_err() {
                    self.ledger.permit.revoke();
                    return Poll::Ready(LeaseLost);
                }
                continue;
            }
            if self.retry.is_set() && self.retry.poll(cx).is_pending() {
                // A flush does not jump the queue: the table has just asked for patience.
                return Poll::Pending;
            }
            if !self.has_work(cx) {
                return Poll::Pending;
            }
            match self.ledger.permit.check() {
                Ok(_) => self.send(),
                Err(Denied::Lost) => return Poll::Pending,
                Err(Denied::Expired) => std::task::ready!(self.poll_granted(cx)),
            }
        }
    }

    fn poll_granted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let permit = self.ledger.permit.clone();
        let granted = self.granted.get_or_insert_with(|| {
            Box::pin(async move {
                // Loss is told by the permit's own signal.
                if permit.granted().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        std::task::ready!(granted.as_mut().poll(cx));
        self.granted = None;
        Poll::Ready(())
    }

    /// True if something is to be sent now; otherwise arms the timer for what is due later.
    fn has_work(&mut self, cx: &mut Context<'_>) -> bool {
        let due = {
            let mut entries = self.ledger.lock();
            if entries.effects.as_ref().is_some_and(|request| request.answer.is_closed()) {
                // Its call was dropped, and the batch will come again: it would apply twice.
                entries.effects = None;
                self.ledger.settled.notify_waiters();
            }
            if entries.prepare.as_ref().is_some_and(|request| request.answer.is_closed()) {
                entries.prepare = None;
                self.ledger.settled.notify_waiters();
            }
            let asked = entries.effects.is_some() || entries.prepare.is_some();
            if asked || entries.gate.pending().is_some() {
                return true;
            }
            if entries.parked != entries.gate.written().parked {
                return true;
            }
            let behind = entries.gate.written().checkpoint != entries.acks.watermark();
            if entries.flush && behind {
                return true;
            }
            if entries.flush {
                entries.flush = false;
                self.ledger.settled.notify_waiters();
            }
            if behind { entries.gate.due() } else { None }
        };
        self.due.set(due);
        due.is_some() && self.due.poll(cx).is_ready()
    }

    fn send(&mut self) {
        let ledger = Arc::clone(&self.ledger);
        let mut entries = ledger.lock();
        let fixed = entries.gate.is_fixed();
        if !fixed && let Some(request) = entries.effects.take() {
            let watermark = entries.acks.watermark();
            let checkpoint = match (self.ledger.mode, request.through) {
                (Acks::OnReturn, Some(last)) => watermark.max(Checkpoint::At(last)),
                (Acks::OnReturn, None) | (Acks::Explicit, _) => watermark,
            };
            let progress = entries.gate.progress(checkpoint, entries.parked.clone());
            let write = entries.gate.send(progress, Carries::Effects);
            self.effects = Some(request);
            drop(entries);
            self.start(write);
            // The slot is free for the next request.
            self.ledger.settled.notify_waiters();
            return;
        }
        if !fixed && let Some(request) = entries.prepare.take() {
            let write = prepare(&mut entries, &request.prepared);
            self.prepare = Some(request);
            drop(entries);
            self.start(write);
            self.ledger.settled.notify_waiters();
            return;
        }
        let progress = entries.progress();
        let write = entries.gate.send(progress, Carries::CheckpointOnly);
        entries.flush = false;
        drop(entries);
        self.start(write);
    }

    fn start(&mut self, write: ConditionalWrite) {
        let table = Arc::clone(&self.ctx.table);
        let carries = self.ledger.lock().gate.is_undecided();
        let effects = self.effects.as_ref().filter(|_| carries);
        let effects = effects.map(|request| request.effects.clone());
        let clock = Arc::clone(&self.ctx.clock);
        self.out = Some(Box::pin(async move {
            tokio::select! { biased;
                answer = execute(table, write, effects) => answer,
                () = clock.sleep(WRITE_TIMEOUT) => {
                    (Answer::Unknown, format!("no reply for {WRITE_TIMEOUT:?}"))
                }
            }
        }));
    }

    fn answered(&mut self, answer: Answer, error: String) -> Result<(), LeaseLost> {
        let now = self.ctx.clock.monotonic();
        let mut entries = self.ledger.lock();
        match entries.gate.answered(answer, now) {
            Ruling::Written(pending) => {
                self.failures = 0;
                if pending.carries == Carries::Effects
                    && let Checkpoint::At(position) = pending.progress.checkpoint
                {
                    entries.acks.ack_through(position);
                }
                drop(entries);
                self.written(&pending);
            }
            Ruling::Again => {
                drop(entries);
                self.failures = self.failures.saturating_add(1);
                let delay = Backoff::REQUEST.delay(self.failures, self.report.roll(self.failures));
                self.retry.set(Some(now + delay));
                self.report.tell(|lease, fence| EventKind::CheckpointFailed {
                    lease,
                    fence,
                    error,
                });
            }
            Ruling::Refused(pending) => {
                if pending.carries == Carries::CheckpointOnly {
                    (entries.refusals, entries.flush) = (entries.refusals + 1, false);
                    entries.refusal.clone_from(&error);
                }
                entries.gate.moved(now);
                drop(entries);
                self.refused(&pending, error);
            }
            Ruling::LeaseLost => return Err(LeaseLost),
        }
        self.ledger.settled.notify_waiters();
        Ok(())
    }

    fn written(&mut self, pending: &Pending) {
        let (checkpoint, ordinal) = (pending.progress.checkpoint, pending.ordinal);
        self.report.tell(|lease, fence| EventKind::Checkpointed {
            lease,
            fence,
            checkpoint,
            ordinal,
        });
        let asked = match pending.carries {
            Carries::Effects => self.effects.take().map(|request| request.answer),
            Carries::Prepare => {
                if let Some(Prepared { checkpoint: Checkpoint::At(at), .. }) =
                    pending.progress.prepared
                {
                    self.report.tell(|lease, fence| EventKind::Prepared { lease, fence, at });
                }
                self.prepare.take().map(|request| request.answer)
            }
            Carries::CheckpointOnly => None,
        };
        if let Some(answer) = asked {
            // Nobody may wait any more; it is applied all the same.
            let _ = answer.send(Ok(()));
        }
    }

    fn refused(&mut self, pending: &Pending, error: String) {
        let asked = match pending.carries {
            Carries::Effects => self.effects.take().map(|request| request.answer),
            Carries::Prepare => self.prepare.take().map(|request| request.answer),
            Carries::CheckpointOnly => None,
        };
        if let Some(answer) = asked {
            let _ = answer.send(Err(CheckpointError::Refused(error.clone())));
        } else {
            // What is wrong with the table will be wrong for a while; a parked mark waits as long.
            let now = self.ctx.clock.monotonic();
            self.retry.set(Some(now + self.ctx.config.checkpoint_interval));
        }
        self.report.tell(|lease, fence| EventKind::CheckpointFailed { lease, fence, error });
    }
}

/// The write of a prepared checkpoint; the watermark may have passed it since it was asked for, and
/// then it is over as soon as it is written.
fn prepare(entries: &mut Entries, prepared: &Prepared) -> ConditionalWrite {
    let mut progress = entries.progress();
    progress.prepared = Prepared::beyond(Some(prepared.clone()), progress.checkpoint, Rules::ALL);
    entries.gate.send(progress, Carries::Prepare)
}

async fn execute(
    table: Arc<dyn LeaseTable>,
    write: ConditionalWrite,
    effects: Option<Effects>,
) -> (Answer, String) {
    let outcome = match &effects {
        Some(effects) => table.write_with(&write, effects).await,
        None => table.write(&write).await,
    };
    let error = match outcome {
        Ok(CasOutcome::Won(_)) => return (Answer::Won, String::new()),
        Ok(CasOutcome::Lost(Some(row))) => {
            return (Answer::Lost(row.into_lease()), String::new());
        }
        Ok(CasOutcome::Lost(None)) => return reread(&*table, write.key()).await,
        Err(error) => error,
    };
    let answer = if error.may_have_applied() {
        Answer::Unknown
    } else if error.is_transient() {
        Answer::NotApplied
    } else {
        Answer::Refused
    };
    (answer, error.to_string())
}

/// A store may not say which row stood against the write; a strong read does.
async fn reread(table: &dyn LeaseTable, key: RowKey) -> (Answer, String) {
    match table.read(&key).await {
        Ok(row) => (Answer::Lost(row.and_then(Row::into_lease)), String::new()),
        Err(error) => (Answer::NotApplied, error.to_string()),
    }
}

//! Carries out what the state machine asks for, in one task.
//!
//! Everything a consumer waits for is polled from here: commands, the permit, the running call,
//! reads, checkpoint writes and timers. Nothing is spawned but the calls of blocking processors,
//! so dropping the consumer's future ends all of it.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use kcl_protocol::consumer::{
    Call, Calls, Consumer as Machine, Event, Instance, State, Step, Verdict, Why,
};
use kcl_protocol::gate::Gate;
use kcl_protocol::retry::Attempts;
use kcl_protocol::{Checkpoint, Moment, Parked, Position, Prepared, Rules};
use tokio::sync::{mpsc, watch};

use super::alarm::Alarm;
use super::calls::{CallArgs, CallEnd};
use super::fetcher::Fetcher;
use super::guarded::caught;
use super::polling::Heard;
use super::report::Reporter;
use super::writer::Writer;
use super::{
    Acks, Assignment, ConsumerCommand, ConsumerContext, ConsumerStatus, Exit, ProcessorKind,
};
use crate::checkpointer::{Checkpointer, Ledger};
use crate::event::EventKind;
use crate::limits::PARKED_REASON_BYTES;
use crate::permit::{Denied, Permit};
use crate::policy::{Action, Attempt};
use crate::processor::{ProcessorError, RecordBatch, RecordProcessor, ShardEnd, ShardStart};
use crate::source::SourceError;

/// One consumer at work.
pub(super) struct Consumer {
    pub(super) ctx: Arc<ConsumerContext>,
    pub(super) report: Reporter,
    pub(super) start: ShardStart,
    pub(super) permit: Permit,
    pub(super) ledger: Arc<Ledger>,
    pub(super) machine: Machine,
    pub(super) fetcher: Fetcher,
    pub(super) instance: Option<Box<dyn RecordProcessor>>,
    /// The batch that runs, or is to be delivered again.
    pub(super) batch: Option<RecordBatch>,
    /// The last failure, and how often it came.
    pub(super) failure: Option<(ProcessorError, u32)>,
    /// Ends the time that a stop leaves to a call.
    pub(super) stop: Alarm,
    /// The first record last delivered, and how often before.
    pub(super) redelivered: Option<(Position, u32)>,
    pub(super) delivered: u64,
    pub(super) progress_at: Moment,
    /// The watermark at the last look, to tell progress by.
    pub(super) seen: Checkpoint,
    pub(super) attempts: Attempts,
    pub(super) writer: Writer,
    pub(super) commands: Option<mpsc::Receiver<ConsumerCommand>>,
    pub(super) revoked: Option<BoxFuture<'static, ()>>,
    pub(super) granted: Option<BoxFuture<'static, ()>>,
    pub(super) retry: Alarm,
    pub(super) stuck: Alarm,
    pub(super) source_error: Option<SourceError>,
    pub(super) status: watch::Sender<ConsumerStatus>,
}

impl Consumer {
    pub fn new(
        ctx: Arc<ConsumerContext>,
        assignment: Assignment,
        commands: mpsc::Receiver<ConsumerCommand>,
        status: watch::Sender<ConsumerStatus>,
    ) -> Self {
        let Assignment { lease, stream, source, permit } = assignment;
        let (clock, worker) = (&ctx.clock, &ctx.worker);
        let start = ShardStart {
            stream,
            shard: lease.key.shard(),
            worker: worker.clone(),
            fence: lease.fence,
            checkpoint: lease.checkpoint,
            prepared: Prepared::beyond(lease.prepared.clone(), lease.checkpoint, Rules::ALL),
        };
        let report = Reporter {
            observer: Arc::clone(&ctx.observer),
            clock: Arc::clone(clock),
            worker: worker.clone(),
            lease: lease.key.clone(),
            fence: lease.fence,
        };
        let gate =
            Gate::new(&lease, worker.clone(), ctx.config.checkpoint_interval).with_rules(ctx.rules);
        let ledger =
            Ledger::new(ctx.config.acks, permit.clone(), Arc::clone(clock), lease.checkpoint, gate);
        let calls = match ctx.config.kind {
            ProcessorKind::Async => Calls::Cancellable,
            ProcessorKind::Blocking => Calls::Blocking,
        };
        let (shard, roll, share) = (start.shard.clone(), report.roll(0), ctx.budget.share());
        let holder = permit.clone();
        Self {
            machine: Machine::new(calls),
            fetcher: Fetcher::new(
                source,
                shard,
                lease.checkpoint,
                &ctx.config,
                clock,
                (roll, share),
            ),
            writer: Writer::new(&ctx, report.clone(), &ledger),
            instance: None,
            batch: None,
            failure: None,
            stop: Alarm::new(clock),
            redelivered: None,
            delivered: 0,
            progress_at: clock.monotonic(),
            seen: lease.checkpoint,
            attempts: Attempts::default(),
            commands: Some(commands),
            revoked: Some(Box::pin(async move { holder.revoked().await })),
            granted: None,
            retry: Alarm::new(clock),
            stuck: Alarm::new(clock),
            source_error: None,
            start,
            permit,
            ledger,
            report,
            status,
            ctx,
        }
    }

    pub async fn run(mut self) -> Exit {
        let checkpoint = self.start.checkpoint;
        self.report.tell(|lease, fence| EventKind::ConsumerStarted { lease, fence, checkpoint });
        let why = if checkpoint.is_shard_end() {
            let ended = format!("shard {} has already ended", self.start.shard);
            self.source_error = Some(SourceError::Refused(ended));
            Why::SourceFailed
        } else {
            self.work().await
        };
        self.exit(why)
    }

    async fn work(&mut self) -> Why {
        loop {
            self.show();
            match self.machine.state() {
                State::Done(why) => return why,
                State::Calling(call) => self.call(call).await,
                State::DeadLettering => self.dead_letter().await,
                State::Idle if self.machine.may_deliver() && self.next_work() => {}
                _ => {
                    if let Heard::Event(event) = poll_fn(|cx| self.poll_all(cx)).await {
                        self.machine.on(event);
                    }
                }
            }
        }
    }

    /// Moves on if there is something to deliver, or a reason not to.
    fn next_work(&mut self) -> bool {
        if let Err(denied) = self.permit.check() {
            self.machine.on(denied_event(denied));
            return true;
        }
        if self.is_being_decided() {
            return false;
        }
        self.redeliver();
        if self.batch.is_none() {
            self.fetcher.batch_done();
            let most = match self.step() {
                Step::Wait => return false,
                Step::End => {
                    self.machine.on(Event::Drained);
                    return true;
                }
                Step::Deliver { most } => most,
                Step::Fail => 1,
            };
            let Some(records) = self.fetcher.take(most) else { return false };
            // Lag and attempt are those of the moment of delivery.
            self.batch = Some(RecordBatch { records, behind_millis: 0, attempt: 0 });
        }
        match self.unreadable() {
            Some(error) => self.failed(error, Event::Unreadable),
            None => self.machine.on(Event::Ready),
        }
        true
    }

    /// What to do with what was read ahead.
    pub(super) fn step(&self) -> Step {
        let limit = match self.ledger.mode {
            Acks::OnReturn => usize::MAX,
            Acks::Explicit => self.ctx.config.max_unacked_records,
        };
        self.fetcher.ahead().step(self.ledger.lock().acks.unacked(), limit)
    }

    /// Whether the records of the batch that is to come again are done is being decided.
    pub(super) fn is_being_decided(&self) -> bool {
        self.batch.is_some() && self.ledger.lock().gate.is_undecided()
    }

    /// The failure that a record which cannot be opened stands for. It is alone in its batch.
    fn unreadable(&self) -> Option<ProcessorError> {
        let record = self.batch.as_ref()?.records.first()?;
        let why = record.unreadable.as_ref()?;
        Some(ProcessorError::at(record.position, &why.reason))
    }

    /// Somebody resumed a parked shard: perhaps what could not be opened now can, read again.
    pub(super) fn read_anew(&mut self) {
        if self.unreadable().is_some() {
            self.batch = None;
            let watermark = self.ledger.lock().acks.watermark();
            self.fetcher.rewind(watermark);
        }
    }

    /// Makes what is left of a batch that did not get through ready to be delivered again.
    fn redeliver(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        let mut entries = self.ledger.lock();
        let first = batch.records.first().map(|record| record.position);
        // Records delivered before this batch and still open come first again: read them anew.
        let earlier = entries.acks.first_open().filter(|open| Some(*open) < first);
        if earlier.is_none() {
            batch.records.retain(|record| !entries.acks.is_acked(record.position));
        }
        entries.acks.rewind();
        let watermark = entries.acks.watermark();
        drop(entries);
        if earlier.is_some() {
            self.fetcher.rewind(watermark);
        } else if !batch.records.is_empty() {
            self.batch = Some(batch);
        }
    }

    /// The arguments for the next call.
    pub(super) fn args(&mut self, call: Call) -> CallArgs {
        let (shard, start) = (self.start.shard.clone(), self.start.clone());
        let batch = self.batch.take();
        // A batch that only waits to come again is no business of a farewell.
        let running = batch.as_ref().filter(|_| call == Call::Process);
        let last = running.and_then(|batch| batch.records.last()).map(|record| record.position);
        let children = self.fetcher.ended().unwrap_or_default();
        let children = children.iter().map(|child| child.id.clone()).collect();
        CallArgs {
            start,
            batch,
            end: ShardEnd { shard, children },
            checkpointer: Checkpointer::new(Arc::clone(&self.ledger), last),
        }
    }

    /// What the end of a call means.
    pub(super) fn call_ended(&mut self, end: CallEnd) {
        self.progressed();
        match end {
            CallEnd::Returned(Ok(())) => {
                self.machine.on(Event::Returned);
            }
            CallEnd::Returned(Err(error)) => self.call_failed(error, Instance::Usable),
            CallEnd::Panicked(message) => {
                self.instance = None;
                let error = ProcessorError::new(format!("the processor panicked: {message}"));
                self.call_failed(error, Instance::Broken);
            }
            CallEnd::Denied(denied) => {
                self.machine.on(denied_event(denied));
                if matches!(self.machine.state(), State::Outwaiting(..)) {
                    // A blocking call that saw the permit go has returned by that.
                    self.machine.on(Event::Failed(Verdict::Retry, Instance::Usable));
                }
            }
            CallEnd::Dropped => {}
        }
    }

    fn call_failed(&mut self, error: ProcessorError, instance: Instance) {
        self.failed(error, |verdict| Event::Failed(verdict, instance));
    }

    /// Asks the error policy.
    fn failed(&mut self, error: ProcessorError, event: impl FnOnce(Verdict) -> Event) {
        let watermark = self.ack_before(error.at);
        let number = self.attempts.fail(watermark);
        let attempt = Attempt { number, roll: self.report.roll(number) };
        let policy = &self.ctx.policy;
        let action = caught(|| policy.decide(&error, attempt)).unwrap_or(Action::StopShard);
        self.report.tell(|lease, fence| EventKind::ProcessorFailed {
            lease,
            fence,
            error: error.message.clone(),
            attempt: number,
        });
        let verdict = match action {
            Action::Retry(delay) => {
                self.retry.set(Some(self.ctx.clock.monotonic() + delay));
                Verdict::Retry
            }
            Action::DeadLetter if self.ctx.dead_letters.is_some() => Verdict::DeadLetter,
            Action::DeadLetter | Action::StopShard => Verdict::Stop,
            Action::YieldShard => Verdict::Yield,
            Action::StopWorker => Verdict::StopWorker,
        };
        self.failure = Some((error, number));
        self.machine.on(event(verdict));
        if self.machine.state() == State::Parked {
            self.park();
        }
    }

    /// Records before the one an error names are done. Returns the watermark.
    fn ack_before(&mut self, at: Option<Position>) -> Checkpoint {
        let mut entries = self.ledger.lock();
        if let (Some(at), Some(batch)) = (at, &self.batch)
            && let Ok(index) = batch.records.binary_search_by_key(&at, |record| record.position)
            && index > 0
        {
            let before = batch.records[..index].iter().map(|record| record.position);
            match self.ledger.mode {
                Acks::OnReturn => {
                    before.last().into_iter().for_each(|p| entries.acks.ack_through(p))
                }
                Acks::Explicit => before.for_each(|p| {
                    entries.acks.ack(p);
                }),
            }
            entries.gate.moved(self.ctx.clock.monotonic());
        }
        entries.acks.watermark()
    }

    /// The first record of the batch that is not done.
    fn first_open(&self) -> Option<&crate::source::Record> {
        let entries = self.ledger.lock();
        let open = |record: &&crate::source::Record| !entries.acks.is_acked(record.position);
        self.batch.as_ref()?.records.iter().find(open)
    }

    /// The record that the last failure is about: the one it names, or else the first of the batch
    /// that is not done. `None` if that one is done by now.
    pub(super) fn failing(&self) -> Option<&crate::source::Record> {
        let records = &self.batch.as_ref()?.records;
        let named = self.failure.as_ref().and_then(|(error, _)| error.at);
        let named = named.and_then(|at| records.binary_search_by_key(&at, |r| r.position).ok());
        let Some(named) = named.map(|index| &records[index]) else { return self.first_open() };
        (!self.ledger.lock().acks.is_acked(named.position)).then_some(named)
    }

    fn park(&mut self) {
        let Some((error, _)) = &self.failure else { return };
        let at = error.at.or_else(|| self.first_open().map(|record| record.position));
        // Every scan of the leases carries it, and a row has an end.
        let end = error.message.floor_char_boundary(PARKED_REASON_BYTES);
        let parked = Parked { reason: error.message[..end].to_owned(), at };
        self.ledger.lock().parked = Some(parked.clone());
        let Parked { reason, at } = parked;
        self.report.tell(|lease, fence| EventKind::Parked { lease, fence, reason, at });
    }

    pub(super) fn progressed(&mut self) {
        self.progress_at = self.ctx.clock.monotonic();
    }
}

pub(super) fn denied_event(denied: Denied) -> Event {
    match denied {
        Denied::Expired => Event::Expired,
        Denied::Lost => Event::Lost,
    }
}

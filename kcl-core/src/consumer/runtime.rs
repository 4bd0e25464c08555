//! Carries out what the state machine asks for, in one task.
//!
//! Everything a consumer waits for is polled from here: commands, the permit, the running call,
//! reads, checkpoint writes and timers. Nothing is spawned but the calls of blocking processors,
//! so dropping the consumer's future ends all of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use kcl_protocol::consumer::{
    Call, Calls, Consumer as Machine, Event, Instance, State, Then, Validity, Verdict, Why,
};
use kcl_protocol::gate::Gate;
use kcl_protocol::retry::Attempts;
use kcl_protocol::{Checkpoint, Moment, Parked, Position};
use tokio::sync::{mpsc, watch};

use super::alarm::Alarm;
use super::calls::{CallArgs, CallEnd};
use super::fetcher::{Fetched, Fetcher};
use super::guarded::caught;
use super::report::Reporter;
use super::writer::{LeaseLost, Writer};
use super::{
    Acks, Assignment, ConsumerCommand, ConsumerContext, ConsumerState, ConsumerStatus, Exit,
    ExitReason, ProcessorKind,
};
use crate::checkpointer::{Checkpointer, Ledger};
use crate::event::EventKind;
use crate::limits::STUCK_AFTER;
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
    progress_at: Moment,
    /// The watermark at the last look, to tell progress by.
    seen: Checkpoint,
    attempts: Attempts,
    writer: Writer,
    commands: Option<mpsc::Receiver<ConsumerCommand>>,
    revoked: Option<BoxFuture<'static, ()>>,
    granted: Option<BoxFuture<'static, ()>>,
    retry: Alarm,
    stuck: Alarm,
    source_error: Option<SourceError>,
    status: watch::Sender<ConsumerStatus>,
}

/// What came of waiting.
enum Heard {
    /// Something for the state machine.
    Event(Event),
    /// Records or acks: look again at what can be done.
    News,
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
        };
        let report = Reporter {
            observer: Arc::clone(&ctx.observer),
            clock: Arc::clone(clock),
            worker: worker.clone(),
            lease: lease.key.clone(),
            fence: lease.fence,
        };
        let gate = Gate::new(&lease, worker.clone(), ctx.config.checkpoint_interval);
        let ledger =
            Ledger::new(ctx.config.acks, permit.clone(), Arc::clone(clock), lease.checkpoint, gate);
        let calls = match ctx.config.kind {
            ProcessorKind::Async => Calls::Cancellable,
            ProcessorKind::Blocking => Calls::Blocking,
        };
        let (shard, roll) = (start.shard.clone(), report.roll(0));
        let holder = permit.clone();
        Self {
            machine: Machine::new(calls),
            fetcher: Fetcher::new(source, shard, lease.checkpoint, &ctx.config, clock, roll),
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
                    let heard = poll_fn(|cx| self.poll_all(cx)).await;
                    self.hear(heard);
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
        self.redeliver();
        if self.batch.is_none() {
            let (unacked, mode) = (self.ledger.lock().acks.unacked(), self.ledger.mode);
            let room = match mode {
                Acks::OnReturn => usize::MAX,
                Acks::Explicit => self.ctx.config.max_unacked_records.saturating_sub(unacked),
            };
            if self.fetcher.ended().is_some() && unacked == 0 {
                self.machine.on(Event::Drained);
                return true;
            }
            if room == 0 {
                return false;
            }
            let Some((records, behind_millis)) = self.fetcher.take(room) else { return false };
            self.batch = Some(RecordBatch { records, behind_millis, attempt: 0 });
        }
        self.machine.on(Event::Ready);
        true
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
    pub(super) fn args(&mut self) -> CallArgs {
        let (shard, start) = (self.start.shard.clone(), self.start.clone());
        let children = self.fetcher.ended().unwrap_or_default();
        let children = children.iter().map(|child| child.id.clone()).collect();
        CallArgs {
            start,
            batch: self.batch.take(),
            end: ShardEnd { shard, children },
            checkpointer: Checkpointer::new(Arc::clone(&self.ledger)),
        }
    }

    /// What the end of a call means.
    pub(super) fn call_ended(&mut self, end: CallEnd) {
        self.progressed();
        match end {
            CallEnd::Returned(Ok(())) => {
                self.machine.on(Event::Returned);
            }
            CallEnd::Returned(Err(error)) => self.failed(error, Instance::Usable),
            CallEnd::Panicked(message) => {
                self.instance = None;
                let error = ProcessorError::new(format!("the processor panicked: {message}"));
                self.failed(error, Instance::Broken);
            }
            CallEnd::Denied(denied) => {
                self.machine.on(denied_event(denied));
                // A blocking call that saw the permit go has returned by that.
                self.machine.on(Event::Failed(Verdict::Retry, Instance::Usable));
            }
            CallEnd::Dropped => {}
        }
    }

    fn failed(&mut self, error: ProcessorError, instance: Instance) {
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
        self.machine.on(Event::Failed(verdict, instance));
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
    pub(super) fn first_open(&self) -> Option<&crate::source::Record> {
        let entries = self.ledger.lock();
        let open = |record: &&crate::source::Record| !entries.acks.is_acked(record.position);
        self.batch.as_ref()?.records.iter().find(open)
    }

    fn park(&mut self) {
        let Some((error, _)) = &self.failure else { return };
        let at = error.at.or_else(|| self.first_open().map(|record| record.position));
        let parked = Parked { reason: error.message.clone(), at };
        self.ledger.lock().parked = Some(parked.clone());
        let Parked { reason, at } = parked;
        self.report.tell(|lease, fence| EventKind::Parked { lease, fence, reason, at });
    }

    pub(super) fn progressed(&mut self) {
        self.progress_at = self.ctx.clock.monotonic();
    }

    fn hear(&mut self, heard: Heard) {
        if let Heard::Event(event) = heard {
            self.machine.on(event);
        }
    }

    /// Everything but a running call. Ready with what changed.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(heard) = self.poll_control_heard(cx) {
            return Poll::Ready(heard);
        }
        self.poll_fetch(cx).map(|event| event.map_or(Heard::News, Heard::Event))
    }

    fn poll_control_heard(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let acks = self.ack_state();
        if let Poll::Ready(event) = self.poll_control(cx) {
            return Poll::Ready(Heard::Event(event));
        }
        // Effects applied by the writer ack records too.
        if self.ack_state() != acks || (self.ledger.mode == Acks::Explicit && self.has_room()) {
            return Poll::Ready(Heard::News);
        }
        Poll::Pending
    }

    fn ack_state(&self) -> (Checkpoint, usize) {
        let entries = self.ledger.lock();
        (entries.acks.watermark(), entries.acks.unacked())
    }

    /// With explicit acks: true if an idle consumer could go on now.
    fn has_room(&self) -> bool {
        let unacked = self.ledger.lock().acks.unacked();
        self.machine.may_deliver()
            && ((self.fetcher.has_records() && unacked < self.ctx.config.max_unacked_records)
                || (self.fetcher.ended().is_some() && unacked == 0))
    }

    /// Commands, the permit, checkpoint writes and timers.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.ledger.consumer.register(cx.waker());
        if let Poll::Ready(event) = self.poll_commands(cx) {
            return Poll::Ready(event);
        }
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(cx).is_ready()
        {
            self.revoked = None;
            return Poll::Ready(self.lost());
        }
        if self.stop.poll(cx).is_ready() {
            return Poll::Ready(Event::StopTimeout);
        }
        if let Poll::Ready(LeaseLost) = self.writer.poll(cx) {
            self.revoked = None;
            return Poll::Ready(self.lost());
        }
        match self.machine.state() {
            State::Settling(_) if !self.writer.is_undecided() => {
                return Poll::Ready(Event::Settled);
            }
            State::Backoff if self.retry.poll(cx).is_ready() => {
                return Poll::Ready(Event::RetryDue);
            }
            State::Suspended | State::Outwaiting(_, Then::GoOn(Validity::Expired)) => {
                if self.poll_granted(cx).is_ready() {
                    return Poll::Ready(Event::Granted);
                }
            }
            _ => {}
        }
        self.poll_stuck(cx)
    }

    fn lost(&mut self) -> Event {
        self.ledger.close();
        self.fetcher.close();
        Event::Lost
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(commands) = &mut self.commands else { return Poll::Pending };
        let Some(command) = std::task::ready!(commands.poll_recv(cx)) else {
            // Nobody is left to command it; the permit and the end of the shard still end it.
            self.commands = None;
            return Poll::Pending;
        };
        Poll::Ready(match command {
            ConsumerCommand::Stop(_) => {
                self.fetcher.close();
                self.stop.set(Some(self.ctx.clock.monotonic() + self.ctx.config.stop_timeout));
                Event::Stop
            }
            ConsumerCommand::Pause => {
                self.report.tell(|lease, fence| EventKind::Paused { lease, fence });
                Event::Pause
            }
            ConsumerCommand::Resume => {
                self.resume();
                Event::Resume
            }
        })
    }

    fn resume(&mut self) {
        self.progressed();
        if self.ledger.lock().parked.take().is_some() {
            self.attempts.reset();
            self.report.tell(|lease, fence| EventKind::Unparked { lease, fence });
        }
        if self.machine.is_paused() {
            self.report.tell(|lease, fence| EventKind::Resumed { lease, fence });
        }
    }

    fn poll_granted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let permit = self.permit.clone();
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

    /// Work that does not move for long is reported, and given up if so configured.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let has_work = match self.machine.state() {
            State::Calling(_) | State::Outwaiting(..) => true,
            State::Idle => self.ledger.lock().acks.unacked() > 0,
            _ => false,
        };
        if !has_work {
            self.stuck.set(None);
            return Poll::Pending;
        }
        let watermark = self.ledger.lock().acks.watermark();
        if watermark != self.seen {
            self.seen = watermark;
            self.progressed();
        }
        let limit = self.ctx.config.max_progress;
        let patience = limit.unwrap_or(STUCK_AFTER);
        self.stuck.set(Some(self.progress_at + patience));
        std::task::ready!(self.stuck.poll(cx));
        self.progressed();
        self.report.tell(|lease, fence| EventKind::Stuck { lease, fence, idle: patience });
        if limit.is_some() {
            let error = ProcessorError::new(format!("no progress for {patience:?}"));
            self.failure = Some((error, 0));
            Poll::Ready(Event::NoProgress)
        } else {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    /// Reads ahead. Ready with an event, or with nothing but news.
    pub(super) fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if !self.machine.wants_records() {
            return Poll::Pending;
        }
        match std::task::ready!(self.fetcher.poll(cx)) {
            Fetched::Something => Poll::Ready(None),
            Fetched::Hiccup(error) => {
                let error = error.to_string();
                self.report.tell(|lease, fence| EventKind::ReadFailed { lease, fence, error });
                Poll::Ready(None)
            }
            Fetched::Failed(error) => {
                let text = error.to_string();
                self.report.tell(|lease, fence| EventKind::ReadFailed {
                    lease,
                    fence,
                    error: text,
                });
                self.source_error = Some(error);
                Poll::Ready(Some(Event::SourceFailed))
            }
        }
    }

    pub(super) fn show(&self) {
        let state = match self.machine.state() {
            _ if self.machine.is_leaving() => ConsumerState::Stopping,
            State::Calling(Call::Initialize) => ConsumerState::Initializing,
            State::Calling(Call::Process) | State::DeadLettering => ConsumerState::Processing,
            State::Calling(Call::End) => ConsumerState::Ending,
            State::Idle if self.machine.is_paused() => ConsumerState::Paused,
            State::Idle => ConsumerState::Waiting,
            State::Backoff => ConsumerState::Retrying,
            State::Parked => ConsumerState::Parked,
            State::Suspended => ConsumerState::Suspended,
            State::Outwaiting(..)
            | State::Calling(Call::Shutdown | Call::LeaseLost)
            | State::Settling(_)
            | State::Done(_) => ConsumerState::Stopping,
        };
        let (lag_millis, delivered) = (self.fetcher.behind_millis(), self.delivered);
        self.status.send_if_modified(|status| {
            let entries = self.ledger.lock();
            let changed = status.state != state || status.parked != entries.parked;
            if changed {
                status.since = self.ctx.clock.monotonic();
                status.parked.clone_from(&entries.parked);
            }
            (status.state, status.lag_millis, status.delivered) = (state, lag_millis, delivered);
            (status.acked, status.unacked) = (entries.acks.watermark(), entries.acks.unacked());
            changed
        });
    }

    fn exit(&mut self, why: Why) -> Exit {
        let error = self.failure.take().map(|(error, _)| error);
        let error = error.unwrap_or_else(|| ProcessorError::new("no reason given"));
        let reason = match why {
            Why::HandedBack => ExitReason::HandedBack,
            Why::Ended => {
                ExitReason::Ended { children: self.fetcher.ended().unwrap_or_default().to_vec() }
            }
            Why::Lost => ExitReason::Lost,
            Why::Yield => ExitReason::Yield { error },
            Why::StopWorker => ExitReason::StopWorker { error },
            Why::SourceFailed => {
                let unnamed = || SourceError::Unavailable("no reason given".into());
                ExitReason::SourceFailed(self.source_error.take().unwrap_or_else(unnamed))
            }
        };
        // Closed before the watermark is read: no ack may be accepted that the exit leaves out.
        self.ledger.close();
        let (acked, ordinal) = {
            let entries = self.ledger.lock();
            (entries.acks.watermark(), entries.gate.ordinal())
        };
        let word = reason.word();
        self.report.tell(|lease, fence| EventKind::ConsumerStopped {
            lease,
            fence,
            acked,
            reason: word,
        });
        let (lease, fence) = (self.report.lease.clone(), self.report.fence);
        Exit { lease, fence, reason, acked, ordinal }
    }
}

impl Drop for Consumer {
    /// However it ends, no checkpointer outlives it. A blocking call that still runs sees the
    /// permit go at its next await point.
    fn drop(&mut self) {
        self.ledger.close();
        if !matches!(self.machine.state(), State::Done(_)) {
            self.permit.revoke();
        }
    }
}

pub(super) fn denied_event(denied: Denied) -> Event {
    match denied {
        Denied::Expired => Event::Expired,
        Denied::Lost => Event::Lost,
    }
}

//! Calls of user code: the processor's methods and the dead-letter sink.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use kcl_protocol::consumer::{Call, Event, State};
use kcl_protocol::{Prepared, Rules};

use super::guarded::{Broken, Guarded, caught};
use super::runtime::Consumer;
use super::{Acks, ProcessorKind};
use crate::checkpointer::Checkpointer;
use crate::dead_letter::DeadLetter;
use crate::event::{BatchOutcome, EventKind, Span};
use crate::permit::{Denied, Permit};
use crate::processor::{ProcessorError, RecordBatch, RecordProcessor, ShardEnd, ShardStart};
use crate::retry::Backoff;

/// What a call may need.
pub(super) struct CallArgs {
    pub start: ShardStart,
    pub batch: Option<RecordBatch>,
    pub end: ShardEnd,
    pub checkpointer: Checkpointer,
}

/// How a call ended.
pub(super) enum CallEnd {
    Returned(Result<(), ProcessorError>),
    Panicked(String),
    Denied(Denied),
    /// The state machine had other plans.
    Dropped,
}

type Instance = Box<dyn RecordProcessor>;

async fn invoke(
    processor: &mut dyn RecordProcessor,
    call: Call,
    args: &CallArgs,
) -> Result<(), ProcessorError> {
    match (call, &args.batch) {
        (Call::Initialize, _) => processor.initialize(&args.start).await,
        (Call::Process, Some(batch)) => processor.process_records(batch, &args.checkpointer).await,
        (Call::Process, None) => Ok(()),
        (Call::End, _) => processor.shard_ended(&args.end).await,
        (Call::Shutdown, _) => {
            processor.shutdown_requested(&args.checkpointer).await;
            Ok(())
        }
        (Call::LeaseLost, _) => {
            processor.lease_lost().await;
            Ok(())
        }
    }
}

fn call_end(result: Result<Result<(), ProcessorError>, Broken>) -> CallEnd {
    match result {
        Ok(returned) => CallEnd::Returned(returned),
        Err(Broken::Panicked(message)) => CallEnd::Panicked(message),
        Err(Broken::Denied(denied)) => CallEnd::Denied(denied),
    }
}

/// The permit a call is polled under: all but the farewell to a lost lease need it.
fn permit_of(call: Call, permit: &Permit) -> Option<&Permit> {
    (call != Call::LeaseLost).then_some(permit)
}

impl Consumer {
    /// Makes a call, and tells the state machine how it went.
    pub(super) async fn call(&mut self, call: Call) {
        let Some(instance) = self.take_instance() else { return };
        if matches!(call, Call::Shutdown | Call::LeaseLost) {
            let patience = self.ctx.config.stop_timeout;
            self.stop.set(Some(self.ctx.clock.monotonic() + patience));
        }
        self.progressed();
        let span = self.deliver(call);
        let args = self.args(call);
        let end = match self.ctx.config.kind {
            ProcessorKind::Async => self.call_async(instance, call, args).await,
            ProcessorKind::Blocking => self.call_blocking(instance, call, args).await,
        };
        if let Some(span) = span {
            self.batch_ended(span, &end);
        }
        self.call_ended(end);
        if span.is_some() {
            // Batches that are there already must not keep the next read from going on.
            if self.fetcher.has_records()
                && let Poll::Ready(Some(event)) =
                    poll_fn(|cx| Poll::Ready(self.poll_fetch(cx))).await
            {
                self.machine.on(event);
            }
            // A processor that is always ready must not keep the thread from other shards.
            tokio::task::yield_now().await;
        }
    }

    fn take_instance(&mut self) -> Option<Instance> {
        if let Some(instance) = self.instance.take() {
            return Some(instance);
        }
        {
            let entries = self.ledger.lock();
            self.start.checkpoint = entries.acks.watermark();
            let prepared = entries.gate.written().prepared.clone();
            self.start.prepared = Prepared::beyond(prepared, self.start.checkpoint, Rules::ALL);
        }
        let (ctx, start) = (Arc::clone(&self.ctx), self.start.clone());
        match caught(move || ctx.factory.make(&start)) {
            Ok(instance) => Some(instance),
            Err(message) => {
                self.call_ended(CallEnd::Panicked(message));
                None
            }
        }
    }

    /// Notes that a batch goes out.
    fn deliver(&mut self, call: Call) -> Option<Span> {
        if call != Call::Process {
            return None;
        }
        let batch = self.batch.as_mut()?;
        let (first, last) = (batch.records.first()?.position, batch.records.last()?.position);
        let count = batch.records.len();
        batch.behind_millis = self.fetcher.taken_lag().millis(self.progress_at);
        batch.attempt = match self.redelivered {
            Some((position, times)) if position == first => times.saturating_add(1),
            _ => 0,
        };
        self.redelivered = Some((first, batch.attempt));
        let positions = match self.ledger.mode {
            Acks::OnReturn => None,
            Acks::Explicit => Some(batch.records.iter().map(|record| record.position).collect()),
        };
        self.delivered += count as u64;
        {
            let mut entries = self.ledger.lock();
            match positions {
                None => entries.acks.deliver_whole(last, count),
                Some(positions) => entries.acks.deliver_each(positions),
            }
        }
        let (span, valid_until) = (Span { first, last, count }, self.permit.valid_until());
        self.report.tell(|lease, fence| EventKind::BatchStarted {
            lease,
            fence,
            span,
            valid_until,
        });
        Some(span)
    }

    fn batch_ended(&mut self, span: Span, end: &CallEnd) {
        let outcome = match end {
            CallEnd::Returned(Ok(())) => {
                self.batch = None;
                if self.ledger.mode == Acks::OnReturn {
                    let now = self.ctx.clock.monotonic();
                    let mut entries = self.ledger.lock();
                    entries.acks.ack_through(span.last);
                    entries.gate.moved(now);
                }
                BatchOutcome::Done
            }
            CallEnd::Returned(Err(error)) => BatchOutcome::Failed(error.message.clone()),
            CallEnd::Panicked(message) => BatchOutcome::Failed(message.clone()),
            CallEnd::Denied(_) | CallEnd::Dropped => BatchOutcome::Dropped,
        };
        self.report.tell(|lease, fence| EventKind::BatchEnded { lease, fence, span, outcome });
    }

    async fn call_async(&mut self, mut instance: Instance, call: Call, args: CallArgs) -> CallEnd {
        let permit = self.permit.clone();
        let end = {
            let invoked = pin!(invoke(&mut *instance, call, &args));
            let mut guarded = Guarded::new(permit_of(call, &permit), invoked);
            poll_fn(|cx| self.poll_call(cx, call, Pin::new(&mut guarded))).await
        };
        self.batch = args.batch;
        self.instance = Some(instance);
        end.map_or(CallEnd::Dropped, call_end)
    }

    /// Polls a call and all else; `None` once the state machine does not want the call any more.
    fn poll_call<F: Future>(
        &mut self,
        cx: &mut Context<'_>,
        call: Call,
        mut future: Pin<&mut F>,
    ) -> Poll<Option<F::Output>> {
        let is_wanted =
            |state| matches!(state, State::Calling(c) | State::Outwaiting(c, _) if c == call);
        while let Poll::Ready(event) = self.poll_control(cx) {
            self.machine.on(event);
            if !is_wanted(self.machine.state()) {
                return Poll::Ready(None);
            }
            self.show();
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        while let Poll::Ready(event) = self.poll_fetch(cx) {
            event.into_iter().for_each(|event| self.machine.on(event));
            if !is_wanted(self.machine.state()) {
                return Poll::Ready(None);
            }
        }
        if self.ledger.mode == Acks::Explicit {
            self.show();
        }
        Poll::Pending
    }

    /// Runs the call on a thread where it may block. It is always waited for.
    async fn call_blocking(&mut self, instance: Instance, call: Call, args: CallArgs) -> CallEnd {
        let (permit, runtime) = (self.permit.clone(), tokio::runtime::Handle::current());
        let mut running = tokio::task::spawn_blocking(move || {
            let mut instance = instance;
            let result = runtime.block_on(async {
                let invoked = pin!(invoke(&mut *instance, call, &args));
                Guarded::new(permit_of(call, &permit), invoked).await
            });
            (instance, args, result)
        });
        let joined = poll_fn(|cx| self.poll_call(cx, call, Pin::new(&mut running))).await;
        let past = self.ctx.clock.monotonic().since(self.permit.valid_until());
        if !past.is_zero() && call != Call::LeaseLost {
            self.report.tell(|lease, fence| EventKind::Overrun { lease, fence, past });
        }
        match joined {
            Some(Ok((instance, args, result))) => {
                self.batch = args.batch;
                self.instance = Some(instance);
                call_end(result)
            }
            Some(Err(error)) => CallEnd::Panicked(error.to_string()),
            None => CallEnd::Dropped,
        }
    }

    /// Gives the failing record to the sink; it counts as done once the sink has it.
    pub(super) async fn dead_letter(&mut self) {
        let (Some(sink), Some(record)) = (self.ctx.dead_letters.clone(), self.failing().cloned())
        else {
            // Everything was acked meanwhile.
            return self.machine.on(Event::DeadLettered);
        };
        let (error, attempts) =
            self.failure.clone().unwrap_or_else(|| (ProcessorError::new("no reason given"), 0));
        let (at, is_unreadable) = (record.position, record.unreadable.is_some());
        let letter = DeadLetter {
            stream: self.start.stream.clone(),
            shard: self.start.shard.clone(),
            worker: self.start.worker.clone(),
            fence: self.start.fence,
            record,
            error: error.message,
            attempts,
        };
        let permit = self.permit.clone();
        let mut failures = 0;
        loop {
            let mut guarded = Guarded::new(Some(&permit), sink.put(&letter));
            let kept = poll_fn(|cx| self.poll_beside(cx, Pin::new(&mut guarded))).await;
            let error = match kept {
                None => return,
                Some(Ok(Ok(()))) => return self.dead_lettered(at, is_unreadable),
                Some(Err(Broken::Denied(denied))) => {
                    return self.machine.on(super::runtime::denied_event(denied));
                }
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(Broken::Panicked(message))) => format!("the sink panicked: {message}"),
            };
            failures += 1;
            self.report.tell(|lease, fence| EventKind::DeadLetterFailed {
                lease,
                fence,
                at,
                error,
            });
            let delay = Backoff::PROCESSOR.delay(failures, self.report.roll(failures));
            let clock = Arc::clone(&self.ctx.clock);
            let mut pause = clock.sleep(delay);
            if poll_fn(|cx| self.poll_beside(cx, pause.as_mut())).await.is_none() {
                return;
            }
        }
    }

    fn dead_lettered(&mut self, at: kcl_protocol::Position, is_unreadable: bool) {
        let now = self.ctx.clock.monotonic();
        {
            let mut entries = self.ledger.lock();
            match self.ledger.mode {
                Acks::OnReturn => entries.acks.ack_through(at),
                // Never delivered, and waited for everything before it.
                Acks::Explicit if is_unreadable => entries.acks.ack_through(at),
                Acks::Explicit => {
                    entries.acks.ack(at);
                }
            }
            entries.gate.moved(now);
        }
        self.progressed();
        self.report.tell(|lease, fence| EventKind::DeadLettered { lease, fence, at });
        self.machine.on(Event::DeadLettered);
    }

    /// Polls work on a dead letter and all else; `None` once the state machine moved on.
    fn poll_beside<F: Future + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        future: Pin<&mut F>,
    ) -> Poll<Option<F::Output>> {
        while let Poll::Ready(event) = self.poll_control(cx) {
            self.machine.on(event);
            if self.machine.state() != State::DeadLettering {
                return Poll::Ready(None);
            }
        }
        future.poll(cx).map(Some)
    }
}

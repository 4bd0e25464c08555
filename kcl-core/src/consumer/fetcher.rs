//! Reads a shard ahead of its processor, within bounds, in the consumer's own task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use kcl_protocol::consumer::Ahead;
use kcl_protocol::{Checkpoint, ShardId};

use super::ConsumerConfig;
use super::alarm::Alarm;
use super::budget::Share;
use super::lag::Lag;
use crate::clock::Clock;
use crate::record_queue::fitting;
use crate::retry::Backoff;
use crate::source::{
    ChildShard, ReadFrom, ReadLimit, ReadOutcome, Record, ShardReader, SourceError, StreamSource,
};

type Reader = Box<dyn ShardReader>;

/// What the fetcher has to tell.
pub(super) enum Fetched {
    /// Records, the tip, or the end of the shard.
    Something,
    /// The stream failed; the fetcher tries again by itself, or has a [`Fetcher::failure`].
    Hiccup(SourceError),
}

pub(super) struct Fetcher {
    source: Arc<dyn StreamSource>,
    shard: ShardId,
    limits: Limits,
    step: Step,
    /// Everything up to here is in the queue, or was.
    enqueued: Checkpoint,
    queue: VecDeque<Chunk>,
    queued: ReadLimit,
    failures: u32,
    roll: u64,
    clock: Arc<dyn Clock>,
    retry: Alarm,
    /// Where reading stands.
    reading: Lag,
    /// Of the last record taken.
    taking: Lag,
    /// Its part of what the worker may have read.
    share: Share,
    /// Taken, and not done yet.
    taken: ReadLimit,
    /// The last read came to the tip.
    at_tip: bool,
}

struct Limits {
    batch: ReadLimit,
    prefetch: ReadLimit,
}

/// Records, or a single one that cannot be opened.
struct Chunk {
    records: Vec<Record>,
    bytes: usize,
    lag: Lag,
}

impl Chunk {
    fn is_unreadable(&self) -> bool {
        self.records.first().is_some_and(|record| record.unreadable.is_some())
    }
}

/// Every future here is kept over the rounds of the consumer's loop, so that a source never sees a
/// read abandoned because a batch ended.
enum Step {
    Closed,
    Unopened,
    Opening(BoxFuture<'static, Result<Reader, SourceError>>),
    Resting(Reader),
    Reading(BoxFuture<'static, (Reader, Result<ReadOutcome, SourceError>)>),
    Retrying(Option<Reader>),
    Broken(SourceError),
    Ended(Vec<ChildShard>),
}

impl Fetcher {
    pub fn new(
        source: Arc<dyn StreamSource>,
        shard: ShardId,
        from: Checkpoint,
        config: &ConsumerConfig,
        clock: &Arc<dyn Clock>,
        (roll, share): (u64, Share),
    ) -> Self {
        let limits = Limits {
            batch: ReadLimit { records: config.batch_records, bytes: config.batch_bytes },
            prefetch: ReadLimit { records: config.prefetch_records, bytes: config.prefetch_bytes },
        };
        let unread = Lag::unread(clock.monotonic());
        Self {
            source,
            shard,
            limits,
            step: Step::Unopened,
            enqueued: from,
            queue: VecDeque::new(),
            queued: ReadLimit::NOTHING,
            failures: 0,
            roll,
            clock: Arc::clone(clock),
            retry: Alarm::new(clock),
            reading: unread,
            taking: unread,
            share,
            taken: ReadLimit::NOTHING,
            at_tip: false,
        }
    }

    /// Stops reading for good and lets go of the reader and everything read ahead.
    pub fn close(&mut self) {
        self.forget();
        if !matches!(self.step, Step::Ended(_)) {
            self.step = Step::Closed;
        }
    }

    /// Forgets everything read ahead and reads again from a checkpoint.
    pub fn rewind(&mut self, to: Checkpoint) {
        self.forget();
        self.reading = self.taking;
        self.enqueued = to;
        // One that failed for good gives nothing again.
        if !matches!(self.step, Step::Broken(_)) {
            self.step = Step::Unopened;
        }
    }

    fn forget(&mut self) {
        self.queue = VecDeque::new();
        self.share.finished(std::mem::replace(&mut self.queued, ReadLimit::NOTHING));
        self.share.give_back_lent();
        self.share.reader_holds(ReadLimit::NOTHING);
    }

    /// What was taken is done with.
    pub fn batch_done(&mut self) {
        self.share.finished(std::mem::replace(&mut self.taken, ReadLimit::NOTHING));
    }

    /// The shards that follow, once the shard is closed and all its records were taken.
    pub fn ended(&self) -> Option<&[ChildShard]> {
        match &self.step {
            Step::Ended(children) if self.queue.is_empty() => Some(children),
            _ => None,
        }
    }

    pub fn has_records(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What [`Fetcher::take`] would give.
    pub fn ahead(&self) -> Ahead {
        match self.queue.front() {
            Some(chunk) if chunk.is_unreadable() => Ahead::Unreadable,
            Some(_) => Ahead::Records,
            None if self.ended().is_some() => Ahead::End,
            None => Ahead::Nothing,
        }
    }

    /// The lag of what was taken last.
    pub fn taken_lag(&self) -> Lag {
        self.taking
    }

    /// The lag of what was not taken yet.
    pub fn lag(&self) -> Lag {
        self.queue.front().map_or(self.reading, |chunk| chunk.lag)
    }

    /// Reads on until there is something to tell, or the bounds are reached.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fetched> {
        loop {
            match std::mem::replace(&mut self.step, Step::Closed) {
                Step::Unopened => self.step = self.open(),
                Step::Opening(mut opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return self.park(Step::Opening(opening)),
                    Poll::Ready(Ok(reader)) => self.step = self.rest(reader),
                    Poll::Ready(Err(error)) => return Poll::Ready(self.failed(None, error)),
                },
                Step::Resting(reader) => match self.lend(cx) {
                    Some(limit) => self.step = read(reader, limit),
                    None => return self.park(Step::Resting(reader)),
                },
                Step::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => return self.park(Step::Reading(reading)),
                    Poll::Ready((reader, Ok(outcome))) => {
                        return Poll::Ready(self.arrived(reader, outcome));
                    }
                    Poll::Ready((reader, Err(error))) => {
                        return Poll::Ready(self.failed(Some(reader), error));
                    }
                },
                Step::Retrying(reader) => {
                    if self.retry.poll(cx).is_pending() {
                        return self.park(Step::Retrying(reader));
                    }
                    self.step = reader.map_or(Step::Unopened, Step::Resting);
                }
                step @ (Step::Closed | Step::Broken(_) | Step::Ended(_)) => return self.park(step),
            }
        }
    }

    fn rest(&mut self, reader: Reader) -> Step {
        self.share.reader_holds(reader.held());
        Step::Resting(reader)
    }

    fn park<T>(&mut self, step: Step) -> Poll<T> {
        self.step = step;
        Poll::Pending
    }

    fn open(&self) -> Step {
        let Some(from) = ReadFrom::checkpoint(self.enqueued) else {
            return Step::Ended(Vec::new());
        };
        let (source, shard) = (Arc::clone(&self.source), self.shard.clone());
        Step::Opening(Box::pin(async move { source.open(&shard, from).await }))
    }

    /// What the next read may bring; `None` while enough is read ahead, here or by all shards.
    fn lend(&mut self, cx: &mut Context<'_>) -> Option<ReadLimit> {
        let most = self.room()?;
        self.share.lend(most, self.at_tip, cx)
    }

    /// What the next read may bring as far as this shard goes; `None` while enough is read ahead.
    fn room(&self) -> Option<ReadLimit> {
        let records = self.limits.prefetch.records.saturating_sub(self.queued.records);
        let bytes = self.limits.prefetch.bytes.saturating_sub(self.queued.bytes);
        (records > 0 && bytes > 0).then(|| ReadLimit {
            records: records.min(self.limits.batch.records),
            bytes: bytes.min(self.limits.batch.bytes),
        })
    }

    fn arrived(&mut self, reader: Reader, outcome: ReadOutcome) -> Fetched {
        self.failures = 0;
        self.at_tip = matches!(outcome, ReadOutcome::CaughtUp);
        let now = self.clock.monotonic();
        self.reading = Lag::none(now);
        self.step = match outcome {
            ReadOutcome::Records { records, behind_millis } => {
                self.reading = Lag::beyond(behind_millis, now);
                self.enqueue(records, Lag::of_records(behind_millis, now));
                self.rest(reader)
            }
            ReadOutcome::CaughtUp => self.rest(reader),
            ReadOutcome::ShardEnd { children } => {
                self.share.reader_holds(ReadLimit::NOTHING);
                Step::Ended(children)
            }
        };
        self.share.give_back_lent();
        Fetched::Something
    }

    fn enqueue(&mut self, records: Vec<Record>, lag: Lag) {
        let Some(last) = records.last() else { return };
        self.enqueued = Checkpoint::At(last.position);
        if records.iter().all(|record| record.unreadable.is_none()) {
            return self.push(records, lag);
        }
        let mut before = Vec::new();
        for record in records {
            if record.unreadable.is_some() {
                self.push(std::mem::take(&mut before), lag);
                self.push(vec![record], lag);
            } else {
                before.push(record);
            }
        }
        self.push(before, lag);
    }

    fn push(&mut self, records: Vec<Record>, lag: Lag) {
        if records.is_empty() {
            return;
        }
        let bytes = records.iter().map(Record::size_bytes).sum();
        self.share.arrived(ReadLimit { records: records.len(), bytes });
        self.queued.records += records.len();
        self.queued.bytes += bytes;
        self.queue.push_back(Chunk { records, bytes, lag });
    }

    fn failed(&mut self, reader: Option<Reader>, error: SourceError) -> Fetched {
        self.share.give_back_lent();
        let reader = match &error {
            SourceError::NotFound(_) | SourceError::Refused(_) => return self.broken(error),
            SourceError::Expired => None,
            SourceError::Throttled { .. } | SourceError::Unavailable(_) => reader,
        };
        self.share.reader_holds(reader.as_ref().map_or(ReadLimit::NOTHING, |reader| reader.held()));
        self.failures = self.failures.saturating_add(1);
        let mut delay = Backoff::REQUEST.delay(self.failures, self.roll);
        if let SourceError::Throttled { retry_after } = &error {
            delay = delay.max(*retry_after);
        }
        // A place lost once is no reason to wait; lost again at once, it is.
        if error == SourceError::Expired && self.failures == 1 {
            self.step = Step::Unopened;
        } else {
            self.retry.set(Some(self.clock.monotonic() + delay));
            self.step = Step::Retrying(reader);
        }
        Fetched::Hiccup(error)
    }

    fn broken(&mut self, error: SourceError) -> Fetched {
        self.share.reader_holds(ReadLimit::NOTHING);
        self.step = Step::Broken(error.clone());
        Fetched::Hiccup(error)
    }

    /// Why the stream failed for good, once all that was read before is taken: it may be nowhere
    /// else any more.
    pub fn failure(&self) -> Option<&SourceError> {
        match &self.step {
            Step::Broken(error) if self.queue.is_empty() => Some(error),
            _ => None,
        }
    }

    /// The next records, at most so many; `None` if none is there. One that cannot be opened
    /// comes alone.
    pub fn take(&mut self, most: usize) -> Option<Vec<Record>> {
        let bound = ReadLimit {
            records: most.min(self.limits.batch.records),
            bytes: self.limits.batch.bytes,
        };
        let mut taken = self.take_front(bound)?;
        while let Some(next) = self.queue.front() {
            let is_apart = taken.is_unreadable() || next.is_unreadable();
            let fits = !is_apart
                && taken.records.len() + next.records.len() <= bound.records
                && taken.bytes + next.bytes <= bound.bytes;
            if !fits {
                break;
            }
            let Some(next) = self.take_front(bound) else { break };
            taken.records.extend(next.records);
            taken.bytes += next.bytes;
            taken.lag = next.lag;
        }
        self.taking = taken.lag;
        Some(taken.records)
    }

    fn take_front(&mut self, bound: ReadLimit) -> Option<Chunk> {
        let mut chunk = self.queue.pop_front()?;
        if chunk.records.len() > bound.records || chunk.bytes > bound.bytes {
            let kept = fitting(&chunk.records, bound);
            let rest = chunk.records.split_off(kept);
            let bytes: usize = rest.iter().map(Record::size_bytes).sum();
            chunk.bytes -= bytes;
            if !rest.is_empty() {
                self.queue.push_front(Chunk { records: rest, bytes, lag: chunk.lag });
            }
        }
        self.queued.records -= chunk.records.len();
        self.queued.bytes -= chunk.bytes;
        self.taken.records += chunk.records.len();
        self.taken.bytes += chunk.bytes;
        Some(chunk)
    }
}

fn read(mut reader: Reader, limit: ReadLimit) -> Step {
    Step::Reading(Box::pin(async move {
        let outcome = reader.next(limit).await;
        (reader, outcome)
    }))
}

#[cfg(test)]
mod tests;

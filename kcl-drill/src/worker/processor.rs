//! Processes a batch: writes it to the sink under its fence, then tells of it.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::protocol::Checkpoint;
use kcl_core::{
    Checkpointer, Clock, ProcessorError, RecordBatch, RecordProcessor, ShardEnd, ShardStart,
    SystemClock, async_trait,
};

use super::lines::{Lines, as_unix};
use super::polls::LastPoll;
use crate::contract::LineEvent;
use crate::sink::SinkClient;

pub(crate) struct Processor {
    shard: String,
    fence: u64,
    lines: Lines,
    sink: Option<Arc<SinkClient>>,
    work: Work,
}

/// What the handler does with each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Waits, and can be cut off.
    Wait(Duration),
    /// Keeps its thread.
    Block(Duration),
}

impl Work {
    async fn on_record(self) {
        match self {
            Self::Wait(time) if time.is_zero() => {}
            Self::Wait(time) => SystemClock.sleep(time).await,
            Self::Block(time) => std::thread::sleep(time),
        }
    }
}

impl Processor {
    pub fn new(
        start: &ShardStart,
        lines: Lines,
        sink: Option<Arc<SinkClient>>,
        work: Work,
    ) -> Self {
        Self { shard: start.shard.to_string(), fence: start.fence.0, lines, sink, work }
    }
}

#[async_trait]
impl RecordProcessor for Processor {
    async fn initialize(&mut self, start: &ShardStart) -> Result<(), ProcessorError> {
        let seq = match start.checkpoint {
            Checkpoint::At(position) => Some(position.to_string()),
            _ => None,
        };
        let (shard, fence) = (self.shard.clone(), Some(self.fence));
        self.lines.say(LineEvent::ShardStart { shard, seq, fence });
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let polls = LastPoll::default();
        polls.of(self.process(batch, checkpointer, &polls)).await
    }

    async fn shard_ended(&mut self, _: &ShardEnd) -> Result<(), ProcessorError> {
        self.lines.say(LineEvent::ShardEnd { shard: self.shard.clone() });
        self.lines.written().await;
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.lines.say(LineEvent::LeaseLost { shard: self.shard.clone() });
    }
}

impl Processor {
    async fn process(
        &self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
        polls: &LastPoll,
    ) -> Result<(), ProcessorError> {
        let started = polls.at();
        // As it stands now: the right that the batch began under.
        let valid_until = as_unix(checkpointer.valid_until());
        let mut ids = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            let id = std::str::from_utf8(&record.data);
            let id = id.map_err(|error| ProcessorError::at(record.position, error))?;
            ids.push(id.to_owned());
            self.work.on_record().await;
        }
        if let Some(sink) = &self.sink {
            sink.put(&self.shard, self.fence, &ids).await.map_err(ProcessorError::new)?;
        }
        let Some(last) = batch.records.last() else { return Ok(()) };
        self.lines.say(LineEvent::Records {
            shard: self.shard.clone(),
            n: ids.len(),
            seq: last.position.to_string(),
            ids,
            fence: Some(self.fence),
            started: Some(started),
            valid_until: Some(valid_until),
            // A handler that keeps its thread has one poll, as long as the batch.
            polled: matches!(self.work, Work::Wait(_)).then(|| polls.at()),
        });
        // `Ok` acks the batch, and a checkpoint may follow at once: the line comes first.
        self.lines.written().await;
        Ok(())
    }
}

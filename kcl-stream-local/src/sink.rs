//! The stream as what a producer puts into.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::{Shard, StreamSource};
use kcl_producer::{
    Outcome, Placed, Producer, ProducerOptions, PutSink, Refusal, SinkError, SinkLimits, SinkOrder,
    SinkRecord,
};

use crate::error::PutError;
use crate::limits::{PUT_BYTES, PUT_RECORDS};
use crate::put::{check_bytes, check_count};
use crate::record::{PutReceipt, RecordRef};
use crate::sequence::ShardNumber;
use crate::stream::Stream;

impl Stream {
    /// A producer for this stream with its own task on the current tokio runtime: it tries records
    /// that a throttled shard refused again, in the order of their puts for each key, also while
    /// the stream is resharded. A throttled shard does not hold up the others.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn producer(&self, options: ProducerOptions) -> Producer {
        let clock = Arc::clone(&self.clock);
        Producer::builder(Arc::new(self.clone())).options(options).clock(clock).start()
    }

    fn put_all(&self, records: &[SinkRecord]) -> Result<Vec<Outcome>, SinkError> {
        let never = |error: crate::EngineError| SinkError::Never(error.to_string());
        self.check_exists().map_err(never)?;
        check_count(records.len()).map_err(never)?;
        check_bytes(records.iter().map(SinkRecord::size_bytes).sum()).map_err(never)?;
        let max_record_bytes = self.state.settings.max_record_bytes();
        let (mut fit, mut hash_keys) = (Vec::new(), Vec::new());
        let mut checked = Vec::new();
        for record in records {
            let of = RecordRef {
                partition_key: record.partition_key.as_str(),
                data: &record.data,
                explicit_hash_key: record.explicit_hash_key,
            };
            // The stream's limit may have been lowered since the producer looked.
            let check = of.validate(max_record_bytes);
            if check.is_ok() {
                fit.push(of);
                hash_keys.push(record.hash_key);
            }
            checked.push(check);
        }
        let routed = self.put_routed(&fit, &hash_keys);
        let mut results = routed.results.into_iter();
        let outcomes = checked.into_iter().map(|check| {
            check.map_err(|error| Refusal::Never(error.to_string()))?;
            let result = results.next().unwrap_or_else(|| Err(self.full()));
            self.outcome(result, &routed.stopped)
        });
        Ok(outcomes.collect())
    }

    /// `stopped` are the shards that were stopped while they wrote this request.
    fn outcome(
        &self,
        result: Result<PutReceipt, PutError>,
        stopped: &BTreeSet<ShardNumber>,
    ) -> Outcome {
        let why = |refusal: PutError| refusal.of_stream(self.name()).to_string();
        Err(match result {
            Ok(PutReceipt { shard, .. }) if stopped.contains(&shard) => {
                Refusal::Unknown(why(PutError::Stopped { shard }))
            }
            Ok(receipt) => {
                return Ok(Placed { shard: receipt.shard.id(), sequence: receipt.sequence });
            }
            Err(refusal @ PutError::Throttled { .. }) => Refusal::Throttled(why(refusal)),
            // Until records expire or somebody gives it more memory.
            Err(refusal @ PutError::StreamFull { .. }) => Refusal::NotNow(why(refusal)),
            // This one met a shard that had stopped before: it was not written.
            Err(refusal @ PutError::Stopped { .. }) => Refusal::Never(why(refusal)),
        })
    }
}

#[async_trait]
impl PutSink for Stream {
    fn limits(&self) -> SinkLimits {
        SinkLimits {
            request_records: PUT_RECORDS,
            request_bytes: PUT_BYTES,
            record_bytes: self.state.settings.max_record_bytes(),
            order: SinkOrder::WithinShard,
            linger: Duration::ZERO,
        }
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let shards = self.source().list_shards().await;
        shards.map_err(|error| SinkError::NotNow(error.to_string()))
    }

    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        if self.state.keeper.is_none() {
            return self.put_all(&records);
        }
        // It waits for the disk, and would hold up the runtime.
        let stream = self.clone();
        let put = tokio::task::spawn_blocking(move || stream.put_all(&records));
        put.await.unwrap_or_else(|error| Err(SinkError::Unknown(error.to_string())))
    }
}

//! What puts the records of a simulation.

use std::collections::BTreeMap;

use kcl_core::Shard;
use kcl_core::protocol::{Position, ShardId};
use kcl_stream_local::{NewRecord, PutReceipt, ShardNumber, Stream};

use super::draw::Draws;
use super::work::{Put, Work};
use crate::history::Recorder;

/// Puts a second's records at once, those of each shard together, so that each reader wakes once.
pub(super) struct Producer {
    stream: Stream,
    recorder: Recorder,
    /// First hash keys of the open shards, in order.
    starts: Vec<u128>,
    /// Of shards that took records.
    ids: BTreeMap<ShardNumber, ShardId>,
    /// Records taken so far.
    records: usize,
    /// What was put, if the application wants to know in the end.
    put: Option<Vec<Put>>,
}

impl Producer {
    pub(super) fn new(stream: Stream, recorder: Recorder, keeps: bool) -> Self {
        let put = keeps.then(Vec::new);
        Self { stream, recorder, starts: Vec::new(), ids: BTreeMap::new(), records: 0, put }
    }

    /// From now on these are the shards.
    pub(super) fn shards_are(&mut self, shards: &[Shard]) {
        let open = shards.iter().filter(|shard| shard.is_open);
        self.starts = open.map(|shard| shard.range.start).collect();
        self.starts.sort_unstable();
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn take_put(&mut self) -> Vec<Put> {
        self.put.take().unwrap_or_default()
    }

    /// Puts so many records. Shards are served in the order in which their first records come.
    pub(super) fn put(&mut self, count: u32, step: u32, work: &dyn Work, draws: &Draws) {
        let mut groups = vec![Vec::new(); self.starts.len()];
        let mut order = Vec::new();
        for number in 0..count {
            let which = u64::from(step) << 32 | u64::from(number);
            let draw = draws.number("producer", "key", which);
            let record = work.record(self.records as u64 + u64::from(number), draw);
            let key = record.hash_key();
            let after = self.starts.partition_point(|start| *start <= key);
            let group = after.saturating_sub(1);
            if groups[group].is_empty() {
                order.push(group);
            }
            groups[group].push(record);
        }
        for group in order {
            self.put_group(std::mem::take(&mut groups[group]));
        }
    }

    fn put_group(&mut self, records: Vec<NewRecord>) {
        let kept = self.put.is_some().then(|| records.clone());
        let results: Vec<Option<PutReceipt>> = match (self.stream.put_many(records), &kept) {
            (Ok(many), _) => many.results.into_iter().map(Result::ok).collect(),
            // A record of the application's own that no stream takes spoils no other.
            (Err(_), Some(records)) => {
                records.iter().map(|record| self.stream.put(record.clone()).ok()).collect()
            }
            (Err(_), None) => Vec::new(),
        };
        for (at, receipt) in results.iter().enumerate() {
            let (Some(receipt), Some(put), Some(records)) = (receipt, &mut self.put, &kept) else {
                continue;
            };
            let (shard, position) = (receipt.shard.id(), Position::from(receipt.sequence));
            put.push(Put { shard, position, record: records[at].clone() });
        }
        let taken: Vec<PutReceipt> = results.into_iter().flatten().collect();
        self.records += taken.len();
        for of_shard in taken.chunk_by(|one, other| one.shard == other.shard) {
            let number = of_shard[0].shard;
            let shard = self.ids.entry(number).or_insert_with(|| number.id());
            self.recorder.put(shard, of_shard.iter().map(|taken| Position::from(taken.sequence)));
        }
    }
}

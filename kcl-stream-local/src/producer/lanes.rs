//! A producer's records by shard, each shard with its own delay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kcl_core::Clock;
use kcl_core::protocol::Moment;
use kcl_core::protocol::hash::mix;

use super::{ProducerOptions, Queued};
use crate::error::{EngineError, PutError};
use crate::limits::PUT_RECORDS;
use crate::record::PutReceipt;
use crate::sequence::ShardNumber;
use crate::stream::Stream;

/// Bounded by the producer's memory: every record here holds its share of it.
pub(super) struct Lanes {
    stream: Stream,
    options: ProducerOptions,
    /// Of the shard map the lanes follow.
    map_version: u64,
    lanes: BTreeMap<ShardNumber, Lane>,
    next_ticket: u64,
}

/// The records for one shard, in order.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// Refusals since a record was last taken.
    attempt: u32,
    due: Moment,
}

struct Waiting {
    /// Rises in the order of sending, so that lanes can be made anew after a reshard.
    ticket: u64,
    since: Moment,
    queued: Queued,
}

impl Lanes {
    pub(super) fn new(stream: Stream, options: ProducerOptions) -> Self {
        let map_version = stream.map().version;
        Self { stream, options, map_version, lanes: BTreeMap::new(), next_ticket: 0 }
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.stream.clock)
    }

    /// When the next lane may be tried; `None` if nothing waits.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.lanes.values().map(|lane| lane.due).min()
    }

    /// Queues records behind those that wait for the same shard.
    pub(super) fn add(&mut self, records: impl Iterator<Item = Queued>) {
        let since = self.stream.clock.monotonic();
        let first = self.next_ticket;
        let records: Vec<_> = (first..)
            .zip(records)
            .map(|(ticket, queued)| Waiting { ticket, since, queued })
            .collect();
        self.next_ticket += records.len() as u64;
        self.route(records);
    }

    fn route(&mut self, records: Vec<Waiting>) {
        let map = self.stream.map();
        let mut records = records;
        if map.version != self.map_version {
            // A key's earlier records may wait in the lane of a parent: all move, in order.
            self.map_version = map.version;
            let lanes = std::mem::take(&mut self.lanes).into_values();
            records.extend(lanes.flat_map(|lane| lane.waiting));
            records.sort_unstable_by_key(|waiting| waiting.ticket);
        }
        for waiting in records {
            let shard = map.open()[map.slot(waiting.queued.hash_key)].number;
            self.lanes.entry(shard).or_default().waiting.push_back(waiting);
        }
    }

    /// Puts what may be tried now.
    pub(super) fn put_due(&mut self) {
        self.route(Vec::new());
        let now = self.stream.clock.monotonic();
        let (stream, options) = (&self.stream, &self.options);
        self.lanes.retain(|_, lane| {
            if lane.due <= now {
                lane.put(stream, options, now);
            }
            !lane.waiting.is_empty()
        });
    }
}

impl Lane {
    /// Puts from the front until the shard refuses.
    fn put(&mut self, stream: &Stream, options: &ProducerOptions, now: Moment) {
        while !self.waiting.is_empty() {
            let batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(PUT_RECORDS)).collect();
            if let Err(gone) = stream.check_exists() {
                batch.into_iter().for_each(|waiting| answer(waiting, Err(gone.clone())));
                continue;
            }
            let hash_keys: Vec<u128> =
                batch.iter().map(|waiting| waiting.queued.hash_key).collect();
            let records: Vec<_> = batch.iter().map(|it| it.queued.record.as_ref()).collect();
            let results = stream.put_routed(&records, &hash_keys);
            if results.iter().any(Result::is_ok) {
                self.attempt = 0;
            }
            let mut again = Vec::new();
            for (waiting, result) in batch.into_iter().zip(results) {
                let has_patience = now.since(waiting.since) < options.patience;
                match result {
                    Err(PutError::Throttled { .. }) if has_patience => again.push(waiting),
                    result => {
                        let result = result.map_err(|error| error.of_stream(stream.name()));
                        answer(waiting, result);
                    }
                }
            }
            if let Some(first) = again.first() {
                self.attempt += 1;
                let roll = mix(first.ticket.wrapping_add(u64::from(self.attempt)));
                self.due = now + options.backoff.delay(self.attempt, roll);
                again.into_iter().rev().for_each(|waiting| self.waiting.push_front(waiting));
                return;
            }
        }
    }
}

fn answer(waiting: Waiting, result: Result<PutReceipt, EngineError>) {
    // Nobody may be waiting for it: then there is nobody to tell.
    let _ = waiting.queued.done.send(result);
}

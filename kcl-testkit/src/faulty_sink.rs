//! A stream that takes records on a bad day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::{Clock, Shard};
use kcl_producer::{Outcome, PutSink, Refusal, SinkError, SinkLimits, SinkOrder, SinkRecord};

use crate::sim::draw::Draws;

/// Any sink, with faults drawn from a seed: slow answers, refused requests, replies lost before and
/// after the records were put, single records refused, records of a request taken in another
/// order, listings that fail or are old.
pub struct FaultySink {
    inner: Arc<dyn PutSink>,
    clock: Arc<dyn Clock>,
    draws: Draws,
    slowest: Duration,
    calls: AtomicU64,
    /// The first listing, shown again by old ones.
    listed: Mutex<Option<Vec<Shard>>>,
}

impl FaultySink {
    /// Faults of this seed around `inner`; no answer is held back for more than `slowest`.
    pub fn new(
        inner: Arc<dyn PutSink>,
        clock: Arc<dyn Clock>,
        seed: u64,
        slowest: Duration,
    ) -> Self {
        let draws = Draws::new(seed);
        Self { inner, clock, draws, slowest, calls: AtomicU64::new(0), listed: Mutex::default() }
    }

    fn strikes(&self, what: &str, call: u64, permille: u64) -> bool {
        self.draws.strikes("sink", what, call, permille).is_some()
    }

    /// What a sink without an order of its own may do: any order, and any record refused.
    async fn put_in_any_order(
        &self,
        call: u64,
        records: Vec<SinkRecord>,
    ) -> Result<Vec<Outcome>, SinkError> {
        let count = records.len();
        let place = |at: usize| self.draws.number("sink", "place", call * 1000 + at as u64);
        let mut kept: Vec<(usize, SinkRecord)> = records.into_iter().enumerate().collect();
        kept.sort_by_key(|(at, _)| place(*at));
        let refused = |at: &usize| self.strikes("refused", call * 1000 + *at as u64, 150);
        kept.retain(|(at, _)| !refused(at));
        let (places, records): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        let refusal = || Err(Refusal::Throttled("faulty: throttled".into()));
        let mut outcomes: Vec<Outcome> = std::iter::repeat_with(refusal).take(count).collect();
        if !records.is_empty() {
            for (at, outcome) in places.into_iter().zip(self.inner.put_records(records).await?) {
                outcomes[at] = outcome;
            }
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl PutSink for FaultySink {
    fn limits(&self) -> SinkLimits {
        self.inner.limits()
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.strikes("listing fails", call, 200) {
            return Err(SinkError::NotNow("faulty: no listing".into()));
        }
        let shards = self.inner.list_shards().await?;
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let first = listed.get_or_insert_with(|| shards.clone());
        Ok(if self.strikes("listing is old", call, 200) { first.clone() } else { shards })
    }

    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let slow = self.draws.number("sink", "slow", call);
        self.clock.sleep(Draws::duration(slow, self.slowest)).await;
        if self.strikes("not now", call, 50) {
            return Err(SinkError::NotNow("faulty: not now".into()));
        }
        if self.strikes("request lost", call, 50) {
            return Err(SinkError::Unknown("faulty: the request was lost".into()));
        }
        let outcomes = match self.inner.limits().order {
            SinkOrder::WithinShard => self.inner.put_records(records).await?,
            SinkOrder::None => self.put_in_any_order(call, records).await?,
        };
        self.clock.sleep(Draws::duration(!slow, self.slowest)).await;
        if self.strikes("reply lost", call, 80) {
            return Err(SinkError::Unknown("faulty: the reply was lost".into()));
        }
        Ok(outcomes)
    }
}

/// A sink that promises no order within a request, whatever it does.
pub struct Unordered(pub Arc<dyn PutSink>);

#[async_trait]
impl PutSink for Unordered {
    fn limits(&self) -> SinkLimits {
        SinkLimits { order: SinkOrder::None, ..self.0.limits() }
    }
    async fn list_shards(&self) -> Result<Vec<Shard>, SinkError> {
        self.0.list_shards().await
    }
    async fn put_records(&self, records: Vec<SinkRecord>) -> Result<Vec<Outcome>, SinkError> {
        self.0.put_records(records).await
    }
}

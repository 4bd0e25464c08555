//! A lease table as one worker sees it through a bad network.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_core::protocol::{CasOutcome, ConditionalWrite, Moment, Row, RowKey, hash};
use kcl_core::{Clock, Effects, LeaseTable, Scan, TableError};
use kcl_lease_local::MemoryLeaseTable;

use super::draw::{Calls, Draws};
use super::effects;
use super::faults::{Faults, Kind};
use super::gate::Gate;
use super::making::Making;
use crate::history::Recorder;

/// How long a lost request keeps its sender waiting.
const TIMEOUT: Duration = Duration::from_millis(900);
/// The latest a request applies after its sender gave up.
const LATEST: Duration = Duration::from_secs(8);

/// A scan takes no longer than this from its first row to its last.
const SLOWEST_SCAN: Duration = Duration::from_millis(800);

/// An outage begins in one of these, if one is drawn for it, and lasts no longer than one.
const WINDOW: Duration = Duration::from_secs(10);
/// Heartbeats are further apart: a shorter one meets few requests.
const SHORTEST_OUTAGE: Duration = Duration::from_millis(300);

/// When the outage with this number begins, in its window, and ends. What is delicate lies between
/// `H` and `2 D`, and does not begin with a window.
fn outage(id: u64, window: u64) -> Range<Moment> {
    let start = Moment(WINDOW.saturating_mul(u32::try_from(window).unwrap_or(u32::MAX)));
    let start = start + Draws::duration(id, WINDOW);
    let lasts = SHORTEST_OUTAGE + Draws::duration(hash::mix(id), WINDOW - SHORTEST_OUTAGE);
    start..start + lasts
}

/// What a scan saw that read each row at one of two moments.
fn torn(id: u64, early: Vec<Row>, late: Vec<Row>) -> Vec<Row> {
    let is_early =
        |row: &Row| hash::of_bytes(id, format!("{:?}", row.key()).as_bytes()).is_multiple_of(2);
    let early = early.into_iter().filter(|row| is_early(row));
    early.chain(late.into_iter().filter(|row| !is_early(row))).collect()
}

/// One worker's connection to the table.
#[derive(Clone)]
pub struct FaultyTable {
    /// The table itself.
    pub inner: MemoryLeaseTable,
    /// True time.
    pub clock: Arc<dyn Clock>,
    /// What goes wrong.
    pub faults: Faults,
    /// Whose connection it is.
    pub actor: String,
    /// Holds replies back while the worker stands still.
    pub gate: Gate,
    /// Requests so far.
    pub calls: Calls,
    /// Hears of every effect as it is applied, and of every lease whose row changes.
    pub recorder: Recorder,
    /// Knows of every request that makes a lease.
    pub making: Making,
}

/// What one request carries.
#[derive(Clone)]
struct Request {
    writes: Vec<ConditionalWrite>,
    effects: Option<Effects>,
}

impl Request {
    fn operation(&self) -> &'static str {
        match (self.writes.as_slice(), &self.effects) {
            (_, Some(_)) => "write with effects",
            ([_], None) => "write",
            _ => "write all",
        }
    }
    /// The row it is about, or the first of several.
    fn thing(&self) -> String {
        self.writes.first().map(|write| write.key().to_string()).unwrap_or_default()
    }
}

/// A request on its way.
#[derive(Clone, Copy)]
struct Sent {
    call: u64,
    /// As they were when it was sent: its reply comes on none that was made later.
    connections: u64,
}

impl FaultyTable {
    async fn arrive(&self, operation: &str, thing: &str) -> Result<Sent, TableError> {
        self.gate.pass().await;
        let arrived = self.try_to_arrive(operation, thing).await;
        if arrived.is_err() {
            // A refusal is an answer too.
            self.gate.pass().await;
        }
        arrived
    }

    async fn try_to_arrive(&self, operation: &str, thing: &str) -> Result<Sent, TableError> {
        let connections = self.gate.connections();
        let call = self.calls.next(operation, thing);
        // A table a millisecond or two away.
        let near = self.faults.draws().below(&self.actor, "latency", call, 2000);
        self.clock.sleep(Duration::from_micros(500 + near)).await;
        if let Some(id) = self.strike(Kind::Delayed, call, 20) {
            self.clock.sleep(Draws::duration(id, Duration::from_secs(2))).await;
        }
        if self.is_out() {
            self.clock.sleep(TIMEOUT).await;
            return Err(TableError::Unavailable("outage".into()));
        }
        if self.strike(Kind::Throttled, call, 50).is_some() {
            return Err(TableError::Throttled);
        }
        Ok(Sent { call, connections })
    }

    fn strike(&self, kind: Kind, call: u64, permille: u64) -> Option<u64> {
        self.faults.strike(kind, &self.actor, call, permille)
    }

    /// Outages hit everybody: they follow from the time alone. One that began in the window before
    /// may still last.
    fn is_out(&self) -> bool {
        let now = self.clock.monotonic();
        let window = now.0.as_secs() / WINDOW.as_secs();
        let is_out = |window| {
            let id = self.faults.drawn(Kind::Outage, "table", window, 80);
            let Some(id) = id.filter(|id| outage(*id, window).contains(&now)) else { return false };
            self.faults.note_once(Kind::Outage, "table", id);
            true
        };
        is_out(window) || window.checked_sub(1).is_some_and(is_out)
    }

    async fn reply<T>(&self, to: Sent, reply: Result<T, TableError>) -> Result<T, TableError> {
        // The way back is another draw than the way there.
        if let Some(id) = self.strike(Kind::Delayed, !to.call, 10) {
            self.clock.sleep(Draws::duration(id, Duration::from_secs(1))).await;
        }
        self.gate.pass().await;
        if self.gate.connections() != to.connections {
            return Err(TableError::Unknown("the machine slept".into()));
        }
        reply
    }

    async fn send(&self, request: Request) -> Result<CasOutcome, TableError> {
        let _under_way = self.making.begin(&request.writes);
        let sent = self.arrive(request.operation(), &request.thing()).await?;
        let call = sent.call;
        let unknown = || Err(TableError::Unknown("no reply".into()));
        if self.strike(Kind::Conflict, call, 20).is_some() {
            return self.reply(sent, Err(TableError::Conflict)).await;
        }
        if self.strike(Kind::LostRequest, call, 15).is_some() {
            self.clock.sleep(TIMEOUT).await;
            return self.reply(sent, unknown()).await;
        }
        if let Some(id) = self.strike(Kind::AppliedLate, call, 15) {
            self.apply_later(&request, Draws::duration(id, LATEST));
            self.clock.sleep(TIMEOUT).await;
            return self.reply(sent, unknown()).await;
        }
        let outcome = self.apply(&request).await;
        if let Some(id) = self.strike(Kind::AppliedTwice, call, 15) {
            self.apply_later(&request, Draws::duration(id, LATEST));
        }
        if self.strike(Kind::LostReply, call, 15).is_some() {
            self.clock.sleep(TIMEOUT).await;
            return self.reply(sent, unknown()).await;
        }
        self.reply(sent, outcome).await
    }

    fn apply_later(&self, request: &Request, delay: Duration) {
        let (table, request) = (self.clone(), request.clone());
        let under_way = self.making.begin(&request.writes);
        tokio::spawn(async move {
            let _under_way = under_way;
            table.clock.sleep(delay).await;
            // Nobody waits for this reply.
            let _ = table.apply(&request).await;
        });
    }

    /// No time passes: the table is in memory, and nobody else runs meanwhile.
    async fn apply(&self, request: &Request) -> Result<CasOutcome, TableError> {
        let unseen = self.apply_unseen(request);
        self.recorder.rows_written(&self.inner, &request.writes, unseen).await
    }

    async fn apply_unseen(&self, request: &Request) -> Result<CasOutcome, TableError> {
        match (request.writes.as_slice(), &request.effects) {
            ([write], Some(sent)) => {
                let outcome = self.inner.write_with(write, sent).await;
                if let Ok(CasOutcome::Won(Some(Row::Lease(lease)))) = &outcome {
                    // The fence in the row is the one that stands, not the sender's.
                    let fence = effects::sender(&self.inner, &lease.key).unwrap_or(lease.fence);
                    self.recorder.effects(&lease.key, fence, lease.ordinal);
                }
                outcome
            }
            ([write], None) => self.inner.write(write).await,
            (writes, _) => self.inner.write_all(writes).await,
        }
    }
}

#[async_trait]
impl LeaseTable for FaultyTable {
    async fn prepare(&self) -> Result<String, TableError> {
        let sent = self.arrive("prepare", "").await?;
        let prepared = self.inner.prepare().await;
        self.reply(sent, prepared).await
    }
    async fn scan(&self, scope: Scan) -> Result<Vec<Row>, TableError> {
        let sent = self.arrive("scan", &format!("{scope:?}")).await?;
        let mut rows = self.inner.scan(scope).await;
        let stale = self.strike(Kind::StaleScan, sent.call, 60);
        if let (Some(id), Ok(early)) = (stale, &mut rows) {
            self.clock.sleep(Draws::duration(id, SLOWEST_SCAN)).await;
            let late = self.inner.scan(scope).await?;
            *early = torn(id, std::mem::take(early), late);
        }
        self.reply(sent, rows).await
    }
    async fn read(&self, key: &RowKey) -> Result<Option<Row>, TableError> {
        let sent = self.arrive("read", &key.to_string()).await?;
        let row = self.inner.read(key).await;
        self.reply(sent, row).await
    }
    async fn write(&self, write: &ConditionalWrite) -> Result<CasOutcome, TableError> {
        self.send(Request { writes: vec![write.clone()], effects: None }).await
    }
    async fn write_all(&self, writes: &[ConditionalWrite]) -> Result<CasOutcome, TableError> {
        self.send(Request { writes: writes.to_vec(), effects: None }).await
    }
    fn supports_effects(&self) -> bool {
        self.inner.supports_effects()
    }
    async fn write_with(
        &self,
        write: &ConditionalWrite,
        effects: &Effects,
    ) -> Result<CasOutcome, TableError> {
        self.send(Request { writes: vec![write.clone()], effects: Some(effects.clone()) }).await
    }
}

#[cfg(test)]
mod tests;

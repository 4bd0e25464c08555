//! Replaying: sending an application back to an earlier place, while none of its workers runs.

use std::collections::BTreeMap;

use kcl_protocol::watch::fence;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, LeaseWrite, Position, Row, RowKey, ShardId, StreamName,
    StreamRow, StreamStart, StreamWrite, TableWrite, WorkerId, WorkerRow, WorkerState,
};

use crate::config::{Config, InitialPosition};
use crate::registration::check_schema;
use crate::scheduler::WorkerError;
use crate::source::{ReadFrom, StreamSource};
use crate::streams::{find_stream, resolve};
use crate::table::{LeaseTable, Scan, TableError};

/// Where an application goes on after a reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// As a new application would start.
    Start(InitialPosition),
    /// After the given position of each shard. Every open shard must be named; closed ones that
    /// are not go on at the trim horizon.
    After(BTreeMap<ShardId, Position>),
}

impl Config {
    /// Sends the application back (or forward) to a place in one of its streams: every lease of
    /// the stream is removed, and the next worker to start makes them anew there. Fences go on
    /// above all old ones.
    ///
    /// Rows of crashed workers still read live; so this watches them for as long as the protocol
    /// asks (a little over a lease duration), and declares dead those that stand still.
    ///
    /// # Errors
    /// [`WorkerError::StillRunning`] names the workers that live, and
    /// [`WorkerError::IncompleteReset`] the open shards without a position;
    /// [`WorkerError::Source`] the first position that is not of its shard,
    /// [`WorkerError::OtherStream`] the stream that the table is of. No lease is changed then.
    /// After any other error, or if it was dropped, workers may wait at their start until a call
    /// has succeeded: call it again.
    pub async fn reset_to(
        &self,
        table: &dyn LeaseTable,
        source: &dyn StreamSource,
        to: ResetTo,
    ) -> Result<(), WorkerError> {
        self.validate()?;
        table.prepare().await.map_err(WorkerError::Table)?;
        let description = source.describe().await.map_err(WorkerError::Source)?;
        if let ResetTo::After(positions) = &to {
            require_all_open(source, positions).await?;
            require_readable(source, positions).await?;
        }
        let start = match to {
            ResetTo::After(positions) => StreamStart::After(positions),
            ResetTo::Start(initial) => resolve(source, &description, initial).await?,
        };
        require_own(table, &description.name).await?;
        self.require_nobody(table).await?;
        let door = begin(table).await.map_err(WorkerError::Table)?;
        // Whoever registered since the first look stands in a row by now; whoever registers from
        // now on finds the reset under way, after its row is there and before it takes anything.
        if let Err(error) = self.require_nobody(table).await {
            end(table, door).await.map_err(WorkerError::Table)?;
            return Err(error);
        }
        let prefix = description.lease_prefix;
        let row = StreamRow {
            name: description.name,
            created_at_millis: description.created_at_millis,
            start,
            first_sync_done: false,
        };
        rewind(table, row, &prefix).await.map_err(WorkerError::Table)?;
        end(table, door).await.map_err(WorkerError::Table)
    }

    /// Declares dead every worker whose row stands still.
    ///
    /// # Errors
    /// [`WorkerError::StillRunning`] if one does not.
    pub(crate) async fn require_nobody(&self, table: &dyn LeaseTable) -> Result<(), WorkerError> {
        let before = live_workers(table).await?;
        let Some(wait) = before.values().map(|row| row.timing().take()).max() else {
            return Ok(());
        };
        self.clock.sleep(wait).await;
        let after = live_workers(table).await?;
        let stood_still = |row: &WorkerRow| {
            before.get(&row.id).is_some_and(|earlier| earlier.heartbeat == row.heartbeat)
        };
        let running: Vec<WorkerId> =
            after.values().filter(|row| !stood_still(row)).map(|row| row.id.clone()).collect();
        if !running.is_empty() {
            return Err(WorkerError::StillRunning { workers: running });
        }
        for row in after.values() {
            let write = ConditionalWrite::Worker(fence(&row.id, row.heartbeat));
            if !table.write(&write).await.map_err(WorkerError::Table)?.is_won() {
                return Err(WorkerError::StillRunning { workers: vec![row.id.clone()] });
            }
        }
        Ok(())
    }
}

/// Leases that name no stream are of the one that the table is bound to.
async fn require_own(table: &dyn LeaseTable, stream: &StreamName) -> Result<(), WorkerError> {
    let Err(other) = find_stream(table, stream, None).await else { return Ok(()) };
    let leases = table.scan(Scan::Leases).await.map_err(WorkerError::Table)?;
    let mut leases = leases.into_iter().filter_map(Row::into_lease);
    match leases.any(|lease| lease.key.stream_prefix().is_none()) {
        true => Err(other),
        false => Ok(()),
    }
}

async fn require_all_open(
    source: &dyn StreamSource,
    positions: &BTreeMap<ShardId, Position>,
) -> Result<(), WorkerError> {
    let shards = source.list_shards().await.map_err(WorkerError::Source)?;
    let open = shards.into_iter().filter(|shard| shard.is_open).map(|shard| shard.id);
    let missing: Vec<_> = open.filter(|shard| !positions.contains_key(shard)).collect();
    if missing.is_empty() { Ok(()) } else { Err(WorkerError::IncompleteReset { missing }) }
}

/// The stream itself tells whether a position is one of the shard's.
async fn require_readable(
    source: &dyn StreamSource,
    positions: &BTreeMap<ShardId, Position>,
) -> Result<(), WorkerError> {
    for (shard, position) in positions {
        let opened = source.open(shard, ReadFrom::After(*position)).await;
        opened.map_err(WorkerError::Source)?;
    }
    Ok(())
}

async fn live_workers(
    table: &dyn LeaseTable,
) -> Result<BTreeMap<WorkerId, WorkerRow>, WorkerError> {
    let rows = table.scan(Scan::Coordination).await.map_err(WorkerError::Table)?;
    let workers = rows.into_iter().filter_map(Row::into_worker);
    let live = workers.filter(|row| row.state == WorkerState::Live);
    Ok(live.map(|row| (row.id.clone(), row)).collect())
}

/// Starts a new generation in which nobody registers; `None` if no worker ever used the table.
async fn begin(table: &dyn LeaseTable) -> Result<Option<u64>, TableError> {
    let Some(Row::Table(row)) = table.read(&RowKey::Table).await? else { return Ok(None) };
    check_schema(&row)?;
    let begin = ConditionalWrite::Table(TableWrite::BeginReset { seen: row.generation });
    match table.write(&begin).await? {
        CasOutcome::Won(Some(Row::Table(row))) => Ok(Some(row.generation)),
        _ => Err(TableError::Refused("its table row changed meanwhile: look again".into())),
    }
}

/// Lets workers register again.
async fn end(table: &dyn LeaseTable, door: Option<u64>) -> Result<(), TableError> {
    if let Some(generation) = door {
        let end = ConditionalWrite::Table(TableWrite::EndReset { generation });
        table.write(&end).await?;
    }
    Ok(())
}

/// A crash between these steps leaves a table on which nobody registers, and that a second reset
/// finishes.
async fn rewind(table: &dyn LeaseTable, row: StreamRow, prefix: &str) -> Result<(), TableError> {
    let restart = ConditionalWrite::Stream(StreamWrite::Restart(row.clone()));
    if let CasOutcome::Lost(None) = table.write(&restart).await? {
        table.write(&ConditionalWrite::Stream(StreamWrite::Create(row))).await?;
    }
    let leases = table.scan(Scan::Leases).await?.into_iter().filter_map(Row::into_lease);
    for lease in leases.filter(|lease| lease.key.stream_prefix().is_none_or(|of| of == prefix)) {
        let delete = LeaseWrite::Delete { key: lease.key, when: Vec::new() };
        table.write(&ConditionalWrite::Lease(delete)).await?;
    }
    Ok(())
}

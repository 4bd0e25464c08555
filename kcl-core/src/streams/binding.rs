//! How a stream is bound to its row.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kcl_protocol::shard_sync::goes_by;
use kcl_protocol::{
    CasOutcome, ConditionalWrite, LeaseKey, Mutant, Row, Rules, StreamName, StreamRow, StreamStart,
    StreamWrite,
};

use super::{Bound, StreamRequest, require_same};
use crate::config::InitialPosition;
use crate::limits::LATEST_SLACK_MILLIS;
use crate::scheduler::WorkerError;
use crate::source::{StreamDescription, StreamSource};
use crate::table::{LeaseTable, Scan, TableError};

/// How streams are bound to their rows.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) table: &'a dyn LeaseTable,
    pub(crate) initial: InitialPosition,
    pub(crate) rules: Rules,
    /// Whether lease keys name their stream.
    pub(crate) several: bool,
}

impl Binding<'_> {
    /// Describes a stream and binds it: the first worker of an application to come decides where
    /// it starts, for all.
    ///
    /// # Errors
    /// An unknown or re-created stream, by name; a table that is another stream's.
    pub(crate) async fn bind(&self, request: &StreamRequest) -> Result<Bound, WorkerError> {
        let description = request.source.describe().await.map_err(WorkerError::Source)?;
        let prefix = self.several.then(|| description.lease_prefix.clone());
        let keys = prefix.as_deref();
        let source = &*request.source;
        let row = bind(source, &description, self.table, self.initial, self.rules, keys).await?;
        Ok(Bound {
            source: Arc::clone(&request.source),
            factory: Arc::clone(&request.factory),
            row,
            prefix,
            listing: Mutex::default(),
        })
    }
}

/// The stream's row, if there is one. Lease keys of a worker with one stream do not name it: on the
/// table of another stream it would go on at that one's checkpoints, and is refused.
pub(crate) async fn find_stream(
    table: &dyn LeaseTable,
    stream: &StreamName,
    prefix: Option<&str>,
) -> Result<Option<StreamRow>, WorkerError> {
    let rows = table.scan(Scan::Coordination).await.map_err(WorkerError::Table)?;
    let streams = rows.into_iter().filter_map(|row| match row {
        Row::Stream(row) => Some(row),
        _ => None,
    });
    let (own, others): (Vec<_>, Vec<_>) = streams.partition(|row| row.name == *stream);
    if prefix.is_none() && !others.is_empty() {
        let bound_to = others.into_iter().map(|row| row.name).collect();
        return Err(WorkerError::OtherStream { stream: stream.clone(), bound_to });
    }
    Ok(own.into_iter().next())
}

async fn bind(
    source: &dyn StreamSource,
    description: &StreamDescription,
    table: &dyn LeaseTable,
    initial: InitialPosition,
    rules: Rules,
    prefix: Option<&str>,
) -> Result<StreamRow, WorkerError> {
    let found = find_stream(table, &description.name, prefix).await?;
    // Before any row is made: one would keep the workers of the other kind from their next start.
    if prefix.is_some() || found.as_ref().is_some_and(|row| row.first_sync_done) {
        let rows = table.scan(Scan::Leases).await.map_err(WorkerError::Table)?;
        let leases: Vec<_> = rows.into_iter().filter_map(Row::into_lease).collect();
        let keys = leases.iter().map(|lease| &lease.key);
        require_such_keys(keys, &description.name, prefix.is_some())?;
    }
    let row = match found {
        Some(row) if !rules.breaks(Mutant::LatestResolvedTwice) => row,
        _ => {
            let start = resolve(source, description, initial).await?;
            let row = StreamRow {
                name: description.name.clone(),
                created_at_millis: description.created_at_millis,
                start,
                first_sync_done: false,
            };
            let write = ConditionalWrite::Stream(StreamWrite::Create(row.clone()));
            match table.write(&write).await.map_err(WorkerError::Table)? {
                CasOutcome::Won(Some(Row::Stream(stands)))
                | CasOutcome::Lost(Some(Row::Stream(stands))) => {
                    // Another stream's worker that looked as early has its row there by now, or
                    // will find this one.
                    find_stream(table, &description.name, prefix).await?;
                    goes_by(row, Some(stands), rules)
                }
                CasOutcome::Won(_) | CasOutcome::Lost(_) => {
                    let lost = "the stream row vanished as it was made".to_owned();
                    return Err(WorkerError::Table(TableError::Unavailable(lost)));
                }
            }
        }
    };
    require_same(&row, description)?;
    Ok(row)
}

/// Lease keys name their stream, or none does: a worker of the other kind would find no lease, and
/// make them all anew.
pub(super) fn require_such_keys<'a>(
    mut leases: impl Iterator<Item = &'a LeaseKey>,
    stream: &StreamName,
    several: bool,
) -> Result<(), WorkerError> {
    match leases.find(|lease| lease.stream_prefix().is_some() != several) {
        Some(lease) => {
            Err(WorkerError::OtherKeys { stream: stream.clone(), lease: lease.clone(), several })
        }
        None => Ok(()),
    }
}

/// Fixes the start position: "latest" becomes a place, so that a worker that starts later, or
/// again, does not skip what came meanwhile.
pub(crate) async fn resolve(
    source: &dyn StreamSource,
    description: &StreamDescription,
    initial: InitialPosition,
) -> Result<StreamStart, WorkerError> {
    let now_millis = description.service_time_millis;
    Ok(match initial {
        InitialPosition::TrimHorizon => StreamStart::TrimHorizon,
        InitialPosition::AtTimestamp(at_millis) if at_millis > now_millis => {
            let stream = description.name.clone();
            return Err(WorkerError::StartInFuture { stream, at_millis, now_millis });
        }
        InitialPosition::AtTimestamp(millis) => StreamStart::AtTimestamp(millis),
        InitialPosition::Latest => {
            let shards = source.list_shards().await.map_err(WorkerError::Source)?;
            let tips =
                shards.iter().filter_map(|shard| Some((shard.id.clone(), shard.tip?.into())));
            let tips: BTreeMap<_, _> = tips.collect();
            if tips.is_empty() {
                let time = now_millis.saturating_sub(LATEST_SLACK_MILLIS);
                StreamStart::AtTimestamp(time)
            } else {
                StreamStart::After(tips)
            }
        }
    })
}

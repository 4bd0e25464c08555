//! The streams a worker reads, each bound to its row in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_protocol::shard_sync::{ListedShard, goes_by, plan_sync};
use kcl_protocol::{
    CasOutcome, Checkpoint, ConditionalWrite, Lease, LeaseKey, Mutant, Row, RowKey, Rules, ShardId,
    StreamName, StreamRow, StreamStart, StreamWrite,
};

use crate::config::InitialPosition;
use crate::consumer::ConsumerContext;
use crate::event::EventKind;
use crate::processor::ProcessorFactory;
use crate::registration::Registration;
use crate::scheduler::{Settings, WorkerError};
use crate::source::{Shard, SourceError, StreamDescription, StreamSource};
use crate::table::{LeaseTable, Scan, TableError};

/// On a stream whose shards have no known tip, "latest" is this much before the service's time:
/// its hosts disagree by a little, and a record twice is better than one never.
const LATEST_SLACK_MILLIS: u64 = 5_000;

/// A stream to read, as the user named it.
pub(crate) struct StreamRequest {
    pub(crate) source: Arc<dyn StreamSource>,
    pub(crate) factory: Arc<dyn ProcessorFactory>,
}

/// A stream bound to its row.
pub(crate) struct Bound {
    pub(crate) source: Arc<dyn StreamSource>,
    pub(crate) factory: Arc<dyn ProcessorFactory>,
    pub(crate) row: StreamRow,
    /// What stands before the shard id in lease keys, with several streams.
    prefix: Option<String>,
    listing: Mutex<Listing>,
}

/// What the last sync saw.
#[derive(Default)]
struct Listing {
    is_known: bool,
    shards: BTreeSet<ShardId>,
    /// Leases whose rows somebody deleted, as they would be made anew.
    deleted: Vec<Lease>,
}

/// Every stream of a worker.
pub(crate) struct Streams {
    pub(crate) bound: Vec<Bound>,
}

impl Streams {
    /// Describes each stream and binds it: the first worker of an application to come decides
    /// where it starts, for all.
    ///
    /// # Errors
    /// An unknown or re-created stream, by name; a table that is another stream's.
    pub(crate) async fn bind(
        requests: &[StreamRequest],
        table: &dyn LeaseTable,
        initial: InitialPosition,
        rules: Rules,
    ) -> Result<Self, WorkerError> {
        let several = requests.len() > 1;
        let mut bound = Vec::new();
        for request in requests {
            let description = request.source.describe().await.map_err(WorkerError::Source)?;
            let prefix = several.then(|| description.lease_prefix.clone());
            let keys = prefix.as_deref();
            let row = bind(&*request.source, &description, table, initial, rules, keys).await?;
            bound.push(Bound {
                source: Arc::clone(&request.source),
                factory: Arc::clone(&request.factory),
                row,
                prefix,
                listing: Mutex::default(),
            });
        }
        Ok(Self { bound })
    }

    /// Which stream a lease belongs to; `None` if this worker does not read it.
    pub(crate) fn index_of(&self, key: &LeaseKey) -> Option<usize> {
        let prefix = key.stream_prefix();
        self.bound.iter().position(|stream| stream.prefix.as_deref() == prefix)
    }

    /// The shards the stream last listed.
    pub(crate) fn listed(&self, index: usize) -> BTreeSet<ShardId> {
        self.bound[index].listing().shards.clone()
    }
    /// True once every stream has been listed.
    pub(crate) fn are_listed(&self) -> bool {
        self.bound.iter().all(|stream| stream.listing().is_known)
    }
    /// Does the stream of this lease still list its shard?
    pub(crate) fn lists(&self, key: &LeaseKey) -> bool {
        let index = self.index_of(key);
        index.is_some_and(|index| self.bound[index].listing().shards.contains(&key.shard()))
    }
    /// True if the last sync found deleted rows that were not made anew yet.
    pub(crate) fn have_deleted(&self) -> bool {
        self.bound.iter().any(|stream| !stream.listing().deleted.is_empty())
    }
    /// The leases found deleted that these rows lack too, once.
    pub(crate) fn take_deleted(&self, rows: &BTreeMap<LeaseKey, Lease>) -> Vec<Lease> {
        let found = self.bound.iter().map(|stream| std::mem::take(&mut stream.listing().deleted));
        found.flatten().filter(|lease| !rows.contains_key(&lease.key)).collect()
    }

    pub(crate) fn contexts(
        &self,
        settings: &Settings,
        registration: &Registration,
    ) -> Vec<Arc<ConsumerContext>> {
        let context = |bound: &Bound| {
            Arc::new(settings.consumer_context(Arc::clone(&bound.factory), &registration.me))
        };
        self.bound.iter().map(context).collect()
    }

    /// Makes the leases that the stream's shards need; see [`plan_sync`]. `Ok(false)`: not all of
    /// it could be done, try again soon.
    ///
    /// # Errors
    /// Only what repeating does not mend.
    pub(crate) async fn sync(&self, registration: &Registration) -> Result<bool, TableError> {
        // The stream's row before the leases: read after them, a first sync that ended in between
        // would make rows that stand look deleted.
        let mut rows = Vec::new();
        for stream in &self.bound {
            rows.push(stream.reread(registration).await);
        }
        let leases = registration.scan_leases().await?;
        let mut is_complete = true;
        for (stream, row) in self.bound.iter().zip(rows) {
            stream.listing().deleted.clear();
            let synced = match row {
                Ok(row) => stream.sync(registration, &leases, &row).await,
                Err(error) => Err(error),
            };
            match synced {
                Ok(()) => {}
                Err(WorkerError::Table(error)) if !error.is_transient() => return Err(error),
                Err(error) => {
                    is_complete = false;
                    registration.observe(EventKind::SyncFailed { error: error.to_string() });
                }
            }
        }
        Ok(is_complete)
    }
}

impl Bound {
    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, shard: &ShardId) -> LeaseKey {
        match &self.prefix {
            Some(prefix) => LeaseKey::in_stream(prefix, shard),
            None => LeaseKey::new(shard.as_str()),
        }
    }

    /// The stream's row as it is now; as it was bound if somebody deleted it.
    async fn reread(&self, registration: &Registration) -> Result<StreamRow, WorkerError> {
        let stands = read_stream(&*registration.table, &self.row.name).await?;
        Ok(goes_by(self.row.clone(), stands, registration.rules))
    }

    /// `row` was read before `leases`.
    async fn sync(
        &self,
        registration: &Registration,
        leases: &BTreeMap<LeaseKey, Lease>,
        row: &StreamRow,
    ) -> Result<(), WorkerError> {
        let shards = self.source.list_shards().await.map_err(WorkerError::Source)?;
        let table = &registration.table;
        // And after them: read before alone, a first sync that ended in between would make a row
        // that was deleted since look as if it had never been.
        if self.reread(registration).await?.first_sync_done != row.first_sync_done {
            let moved = "another worker ended the first sync meanwhile".to_owned();
            return Err(WorkerError::Table(TableError::Unavailable(moved)));
        }
        let listed: Vec<ListedShard> = shards.iter().map(listed_shard).collect();
        {
            let mut listing = self.listing();
            listing.is_known = true;
            listing.shards = shards.into_iter().map(|shard| shard.id).collect();
        }
        let prefix = self.prefix.as_deref();
        let mine = leases.iter().filter(|(key, _)| key.stream_prefix() == prefix);
        let mine = mine.map(|(key, lease)| (key.clone(), lease.clone())).collect();
        let plan = plan_sync(&listed, &mine, row, |shard| self.key(shard));
        let mut failed = None;
        for create in plan.creates {
            let written = table.write(&ConditionalWrite::Lease(create)).await;
            failed = written.err().or(failed);
        }
        if let Some(error) = failed {
            return Err(WorkerError::Table(error));
        }
        if let Some(done) = plan.first_sync_done {
            table.write(&ConditionalWrite::Stream(done)).await.map_err(WorkerError::Table)?;
        }
        let deleted = plan.deleted.into_iter().map(|shard| {
            let key = self.key(&shard.id);
            let mut lease = Lease::unowned(key, Checkpoint::TrimHorizon, shard.range);
            lease.parents = shard.parents;
            lease
        });
        self.listing().deleted = deleted.collect();
        Ok(())
    }
}

fn listed_shard(shard: &Shard) -> ListedShard {
    ListedShard { id: shard.id.clone(), parents: shard.parents.clone(), range: shard.range }
}

async fn read_stream(
    table: &dyn LeaseTable,
    name: &StreamName,
) -> Result<Option<StreamRow>, WorkerError> {
    match table.read(&RowKey::Stream(name.clone())).await.map_err(WorkerError::Table)? {
        Some(Row::Stream(row)) => Ok(Some(row)),
        _ => Ok(None),
    }
}

/// The stream's row, if there is one. Lease keys of a worker with one stream do not name it: on the
/// table of another stream it would go on at that one's checkpoints, and is refused.
async fn find_stream(
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
    let row = match find_stream(table, &description.name, prefix).await? {
        Some(row) if !rules.breaks(Mutant::LatestResolvedTwice) => row,
        _ => {
            let start = resolve(source, description, initial).await.map_err(WorkerError::Source)?;
            let row = StreamRow {
                name: description.name.clone(),
                created_at_millis: description.created_at_millis,
                start,
                first_sync_done: false,
            };
            let write = ConditionalWrite::Stream(StreamWrite::Create(row.clone()));
            match table.write(&write).await.map_err(WorkerError::Table)? {
                CasOutcome::Won(Some(Row::Stream(stands)))
                | CasOutcome::Lost(Some(Row::Stream(stands))) => goes_by(row, Some(stands), rules),
                CasOutcome::Won(_) | CasOutcome::Lost(_) => {
                    let lost = "the stream row vanished as it was made".to_owned();
                    return Err(WorkerError::Table(TableError::Unavailable(lost)));
                }
            }
        }
    };
    if row.created_at_millis != description.created_at_millis {
        return Err(WorkerError::StreamRecreated {
            stream: row.name,
            bound_to_millis: row.created_at_millis,
            found_millis: description.created_at_millis,
        });
    }
    Ok(row)
}

/// Fixes the start position: "latest" becomes a place, so that a worker that starts later, or
/// again, does not skip what came meanwhile.
pub(crate) async fn resolve(
    source: &dyn StreamSource,
    description: &StreamDescription,
    initial: InitialPosition,
) -> Result<StreamStart, SourceError> {
    Ok(match initial {
        InitialPosition::TrimHorizon => StreamStart::TrimHorizon,
        InitialPosition::AtTimestamp(millis) => StreamStart::AtTimestamp(millis),
        InitialPosition::Latest => {
            let shards = source.list_shards().await?;
            let tips =
                shards.iter().filter_map(|shard| Some((shard.id.clone(), shard.tip?.into())));
            let tips: BTreeMap<_, _> = tips.collect();
            if tips.is_empty() {
                let time = description.service_time_millis.saturating_sub(LATEST_SLACK_MILLIS);
                StreamStart::AtTimestamp(time)
            } else {
                StreamStart::After(tips)
            }
        }
    })
}

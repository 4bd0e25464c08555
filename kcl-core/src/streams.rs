//! The streams a worker reads, each bound to its row in the table.

mod binding;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kcl_protocol::moves::Child;
use kcl_protocol::shard_sync::{ListedShard, children_of_dropped, goes_by, plan_sync};
use kcl_protocol::{
    Checkpoint, ConditionalWrite, Lease, LeaseKey, Reads, Row, RowKey, ShardId, StreamName,
    StreamRow, StreamTag,
};

use crate::event::EventKind;
use crate::limits::{DROPPED_PATIENCE, STREAM_TRIES};
use crate::processor::ProcessorFactory;
use crate::registration::Registration;
use crate::scheduler::WorkerError;
use crate::source::{Shard, StreamDescription, StreamSource};
use crate::table::{LeaseTable, TableError};
use binding::require_such_keys;
pub(crate) use binding::{Binding, find_stream, resolve};

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
    /// The last sync of it ended.
    is_synced: bool,
    shards: BTreeSet<ShardId>,
    /// Leases whose rows somebody deleted, as they would be made anew.
    deleted: Vec<Lease>,
}

/// Every stream of a worker. They outlive its registrations, and come and go while it runs.
pub(crate) struct Streams {
    /// Whether lease keys name their stream.
    several: bool,
    /// By what stands before the shard id in lease keys; nothing with one stream.
    bound: RwLock<BTreeMap<String, Arc<Bound>>>,
}

/// Which streams a sync is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those whose last sync failed.
    Owed,
}

/// What a sync came to.
pub(crate) struct Synced {
    /// False if some of it failed and wants to be done again.
    pub(crate) is_complete: bool,
    /// Streams that were deleted and made again since they were bound.
    pub(crate) recreated: Vec<(Arc<Bound>, WorkerError)>,
}

impl Streams {
    /// None yet.
    pub(crate) fn new(several: bool) -> Self {
        Self { several, bound: RwLock::default() }
    }

    /// Whether lease keys name their stream, so that more may come.
    pub(crate) fn are_several(&self) -> bool {
        self.several
    }
    /// All of them, in the order of their lease keys.
    pub(crate) fn all(&self) -> Vec<Arc<Bound>> {
        self.read(|bound| bound.values().cloned().collect())
    }
    /// Which stream a lease belongs to; `None` if this worker does not read it.
    pub(crate) fn find(&self, key: &LeaseKey) -> Option<Arc<Bound>> {
        self.read(|bound| bound.get(key.stream_prefix().unwrap_or_default()).cloned())
    }
    /// Which streams they are, for the worker's row.
    pub(crate) fn reads(&self) -> Reads {
        if !self.several {
            return Reads::TheOne;
        }
        self.read(|bound| {
            Reads::Streams(bound.keys().map(|prefix| StreamTag::of(prefix)).collect())
        })
    }
    /// Reads one more.
    ///
    /// # Errors
    /// `StreamTwice` if it is read already.
    pub(crate) fn insert(&self, stream: Bound) -> Result<(), WorkerError> {
        let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
        let prefix = stream.prefix().to_owned();
        if let Some(first) = bound.get(&prefix) {
            let (stream, first) = (stream.row.name, first.row.name.clone());
            return Err(WorkerError::StreamTwice { stream, first, prefix });
        }
        bound.insert(prefix, Arc::new(stream));
        Ok(())
    }
    /// Reads one less.
    pub(crate) fn remove(&self, name: &StreamName) -> Option<Arc<Bound>> {
        let mut bound = self.bound.write().unwrap_or_else(PoisonError::into_inner);
        let found = bound.iter().find(|(_, stream)| stream.row.name == *name);
        let prefix = found.map(|(prefix, _)| prefix.clone())?;
        bound.remove(&prefix)
    }
    fn read<T>(&self, look: impl FnOnce(&BTreeMap<String, Arc<Bound>>) -> T) -> T {
        look(&self.bound.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shards each stream last listed, by what stands before the shard id in lease keys.
    pub(crate) fn listed(&self) -> BTreeMap<String, BTreeSet<ShardId>> {
        let all = self.all();
        all.iter().map(|stream| (stream.prefix().to_owned(), stream.listed())).collect()
    }
    /// True once every stream has been listed.
    pub(crate) fn are_listed(&self) -> bool {
        self.all().iter().all(|stream| stream.listing().is_known)
    }
    /// Does the stream of this lease still list its shard?
    pub(crate) fn lists(&self, key: &LeaseKey) -> bool {
        self.find(key).is_some_and(|stream| stream.listing().shards.contains(&key.shard()))
    }
    /// True if the last sync found deleted rows that were not made anew yet.
    pub(crate) fn have_deleted(&self) -> bool {
        self.all().iter().any(|stream| !stream.listing().deleted.is_empty())
    }
    /// The leases found deleted that these rows lack too, once.
    pub(crate) fn take_deleted(&self, rows: &BTreeMap<LeaseKey, Lease>) -> Vec<Lease> {
        let all = self.all();
        let found = all.iter().flat_map(|stream| std::mem::take(&mut stream.listing().deleted));
        found.filter(|lease| !rows.contains_key(&lease.key)).collect()
    }

    /// Makes the leases that the shards of these streams need; see [`plan_sync`].
    ///
    /// # Errors
    /// Only what repeating does not mend.
    pub(crate) async fn sync(
        &self,
        registration: &Registration,
        which: Which,
    ) -> Result<Synced, TableError> {
        // The stream's row before the leases: read after them, a first sync that ended in between
        // would make rows that stand look deleted.
        let (mut all, mut rows) = (self.all(), Vec::new());
        all.retain(|stream| which == Which::All || !stream.listing().is_synced);
        for stream in &all {
            rows.push(stream.reread(registration).await);
        }
        let leases = registration.scan_leases().await?;
        if let Some(stream) = all.first() {
            // A worker of the other kind may have come between this one's binding and now.
            require_such_keys(leases.keys(), &stream.row.name, self.several)
                .map_err(|error| TableError::Refused(error.to_string()))?;
        }
        let mut done = Synced { is_complete: true, recreated: Vec::new() };
        for (stream, row) in all.into_iter().zip(rows) {
            stream.listing().deleted.clear();
            let synced = match row {
                Ok(row) => stream.sync(registration, &leases, &row).await,
                Err(error) => Err(error),
            };
            stream.listing().is_synced = synced.is_ok();
            match synced {
                Ok(()) => {}
                Err(WorkerError::Table(error)) if !error.is_transient() => return Err(error),
                Err(error @ WorkerError::StreamRecreated { .. }) => {
                    done.recreated.push((stream, error));
                }
                Err(error) => {
                    done.is_complete = false;
                    registration.observe(EventKind::SyncFailed { error: error.to_string() });
                }
            }
        }
        Ok(done)
    }
}

impl Bound {
    /// What stands before the shard id in its lease keys; nothing with one stream.
    pub(crate) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }
    /// Is this lease one of its shards'?
    pub(crate) fn has(&self, key: &LeaseKey) -> bool {
        key.stream_prefix() == self.prefix.as_deref()
    }
    /// The shards it last listed.
    pub(crate) fn listed(&self) -> BTreeSet<ShardId> {
        self.listing().shards.clone()
    }
    fn listing(&self) -> MutexGuard<'_, Listing> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, shard: &ShardId) -> LeaseKey {
        match &self.prefix {
            Some(prefix) => LeaseKey::in_stream(prefix, shard),
            None => LeaseKey::new(shard.as_str()),
        }
    }

    /// The children of this lease's shard if the stream has dropped it; `None` if that is not
    /// certain.
    ///
    /// # Errors
    /// Only what repeating does not mend.
    pub(crate) async fn children_if_dropped(
        &self,
        registration: &Registration,
        key: &LeaseKey,
    ) -> Result<Option<Vec<Child>>, TableError> {
        let Some(lease) = registration.read_lease(key).await? else { return Ok(None) };
        let relisted = registration.within(DROPPED_PATIENCE, self.relisted(registration));
        let Some(shards) = relisted.await.flatten() else { return Ok(None) };
        let listed: Vec<ListedShard> = shards.iter().map(listed_shard).collect();
        let child = |child: &ListedShard| Child {
            id: child.id.clone(),
            parents: child.parents.clone(),
            range: child.range,
        };
        let children = children_of_dropped(&key.shard(), lease.range, &listed);
        Ok(children.map(|children| children.into_iter().map(child).collect()))
    }

    /// All shards, now; `None` if the stream does not say, or is another one.
    async fn relisted(&self, registration: &Registration) -> Option<Vec<Shard>> {
        for attempt in 1..=STREAM_TRIES {
            match self.list().await {
                Ok(shards) => return Some(shards),
                Err(error) if error.is_transient() => registration.pause(attempt).await,
                Err(_) => break,
            }
        }
        None
    }

    async fn list(&self) -> Result<Vec<Shard>, WorkerError> {
        let shards = self.source.list_shards().await.map_err(WorkerError::Source)?;
        // After the listing, as in a sync.
        let description = self.source.describe().await.map_err(WorkerError::Source)?;
        require_same(&self.row, &description)?;
        Ok(shards)
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
        let shards = match self.source.list_shards().await {
            Ok(shards) => shards,
            Err(error) => {
                // A stream made again may refuse what is asked of the old one: then that is told.
                if !error.is_transient()
                    && let Ok(description) = self.source.describe().await
                {
                    require_same(row, &description)?;
                }
                return Err(WorkerError::Source(error));
            }
        };
        // After the listing: whatever it shows is of the stream that is described here, or older.
        let description = self.source.describe().await.map_err(WorkerError::Source)?;
        require_same(row, &description)?;
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
            // A worker that stood still here would make rows that others deleted meanwhile.
            if !registration.validity.is_current() {
                let over = "this worker's registration ran out while it made leases".to_owned();
                return Err(WorkerError::Table(TableError::Unavailable(over)));
            }
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

/// A stream of the same name that was created at another time is another stream.
fn require_same(row: &StreamRow, description: &StreamDescription) -> Result<(), WorkerError> {
    if row.created_at_millis == description.created_at_millis {
        return Ok(());
    }
    Err(WorkerError::StreamRecreated {
        stream: row.name.clone(),
        bound_to_millis: row.created_at_millis,
        found_millis: description.created_at_millis,
    })
}

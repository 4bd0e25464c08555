//! A handle on one stream.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kcl_core::Clock;
use kcl_core::protocol::{ShardId, StreamName};

use crate::error::EngineError;
use crate::keeper::{Keeper, restore};
use crate::options::{
    Settings, StreamOptions, Throughput, check_memory, check_record_bytes, check_retention,
};
use crate::sequence::ShardNumber;
use crate::shard::{Now, Shard};
use crate::shard_info::{ShardFilter, ShardInfo};
use crate::shard_map::ShardMap;
use crate::store::{SavedStream, Store, StoreError};

/// A stream of an [`crate::Engine`]. Cloning gives another handle on the same stream. Once the
/// stream is deleted every operation answers `StreamNotFound`, also if a new one has its name.
#[derive(Clone)]
pub struct Stream {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: Arc<StreamState>,
}

/// Invariant: locks are taken in the order `changing`, `map`, a shard's own. Of them only
/// `changing` is held while a store works.
pub(crate) struct StreamState {
    pub(crate) name: StreamName,
    pub(crate) created_at_millis: u64,
    pub(crate) settings: Settings,
    /// Held by a reshard from reading the map to replacing it, by a change of settings and by the
    /// deletion: what is saved last is what is so.
    changing: Mutex<()>,
    pub(crate) map: RwLock<Arc<ShardMap>>,
    /// Of a stream that is kept outside memory too.
    pub(crate) keeper: Option<Keeper>,
}

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub name: StreamName,
    /// When it was created (Unix milliseconds); no two streams of an engine have the same.
    pub created_at_millis: u64,
    /// Its settings as they are now.
    pub options: StreamOptions,
    /// How many shards take records.
    pub open_shards: usize,
    /// Bytes its records take, overhead included.
    pub memory_used_bytes: u64,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.state.name)
    }
}

impl Stream {
    /// A new stream, of which the store knows once this returns.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        name: StreamName,
        shards: u32,
        options: &StreamOptions,
        created_at_millis: u64,
        store: Option<&Arc<dyn Store>>,
    ) -> Result<Self, StoreError> {
        let map = Arc::new(ShardMap::new(shards, created_at_millis, Now::read(&*clock)));
        let mut state = StreamState {
            name,
            created_at_millis,
            settings: Settings::new(options),
            changing: Mutex::new(()),
            map: RwLock::new(Arc::clone(&map)),
            keeper: None,
        };
        if let Some(store) = store {
            let journal = store.create(&state.row(&map, &BTreeMap::new()))?;
            let (store, floor_millis) = (Arc::clone(store), AtomicU64::new(0));
            state.keeper = Some(Keeper { store, journal, floor_millis });
        }
        Ok(Self { clock, state: Arc::new(state) })
    }

    /// A stream as it was saved.
    pub(crate) fn restored(
        clock: Arc<dyn Clock>,
        mut saved: SavedStream,
        store: &Arc<dyn Store>,
    ) -> Result<Self, StoreError> {
        let map = restore(&mut saved, Now::read(&*clock))?;
        let settings = Settings::new(&saved.row.options);
        map.all().for_each(|shard| settings.memory.count(shard.memory_bytes()));
        let keeper = Keeper {
            store: Arc::clone(store),
            journal: saved.journal,
            floor_millis: AtomicU64::new(saved.row.floor_millis),
        };
        let state = StreamState {
            name: saved.row.name,
            created_at_millis: saved.row.created_at_millis,
            settings,
            changing: Mutex::new(()),
            map: RwLock::new(Arc::new(map)),
            keeper: Some(keeper),
        };
        Ok(Self { clock, state: Arc::new(state) })
    }

    /// Changes settings.
    fn change(&self, change: impl FnOnce(&mut StreamOptions)) -> Result<(), EngineError> {
        let _alone = self.begin_change()?;
        let mut options = self.state.settings.options();
        change(&mut options);
        self.set(&options, 0)
    }

    /// Sets what the store has kept: a change that cannot be kept is not made. For the holder of
    /// `changing`.
    fn set(&self, options: &StreamOptions, floor_millis: u64) -> Result<(), EngineError> {
        if let Some(keeper) = &self.state.keeper {
            let mut row = self.state.row(&self.map(), &BTreeMap::new());
            row.options = *options;
            row.floor_millis = row.floor_millis.max(floor_millis);
            keeper.store.save(&row)?;
            keeper.floor_millis.store(row.floor_millis, Ordering::Relaxed);
        }
        self.state.settings.set(options);
        Ok(())
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        &self.state.name
    }

    /// What the stream says of itself.
    ///
    /// # Errors
    /// `StreamNotFound`.
    pub fn describe(&self) -> Result<StreamSummary, EngineError> {
        self.check_exists()?;
        Ok(StreamSummary {
            name: self.name().clone(),
            created_at_millis: self.state.created_at_millis,
            options: self.state.settings.options(),
            open_shards: self.map().open().len(),
            memory_used_bytes: self.state.settings.memory.used(),
        })
    }

    /// The shards a filter lets through, in the order of their ids: parents come first. Shards
    /// that are closed and empty by age are not listed.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` for an id that is none.
    pub fn list_shards(&self, filter: &ShardFilter) -> Result<Vec<ShardInfo>, EngineError> {
        self.check_exists()?;
        let now = self.now();
        let horizon = now.wall_millis.saturating_sub(self.state.settings.retention_millis());
        let horizon = horizon.max(self.state.created_at_millis);
        let filter = filter.resolve(horizon)?;
        // Locked until all is read: a reshard meanwhile would close parents whose children are not
        // in this map.
        let map = self.state.map.read().unwrap_or_else(PoisonError::into_inner);
        let listed = map.all().filter(|shard| !shard.is_gone(now, &self.state.settings));
        Ok(listed.map(|shard| ShardInfo::of(shard)).filter(|info| filter.admits(info)).collect())
    }

    /// Sets how long records are kept. A shorter retention hides older ones at once; a longer one
    /// brings none back.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` outside 24 to 8,760 hours.
    pub fn set_retention_hours(&self, hours: u32) -> Result<(), EngineError> {
        self.check_exists()?;
        check_retention(hours)?;
        let _alone = self.begin_change()?;
        // What is past the old horizon must not come back, so it goes now.
        let now = self.now();
        self.sweep(now);
        let settings = &self.state.settings;
        let floor_millis = now.wall_millis.saturating_sub(settings.retention_millis());
        let before = settings.options();
        let options = StreamOptions { retention_hours: hours, ..before };
        if hours > before.retention_hours {
            // At once: what expired while it is saved is above the floor, and would come back.
            settings.set(&options);
        }
        self.set(&options, floor_millis).inspect_err(|_| settings.set(&before))
    }

    /// Switches the rates of all shards on or off.
    ///
    /// # Errors
    /// `StreamNotFound`.
    pub fn set_throughput(&self, throughput: Throughput) -> Result<(), EngineError> {
        self.change(|options| options.throughput = throughput)
    }

    /// Sets how much memory all records of the stream may take, each with 16 bytes of overhead.
    /// With less than is taken, nothing is dropped and no record is taken until enough expired.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` for none at all.
    pub fn set_memory_bytes(&self, bytes: u64) -> Result<(), EngineError> {
        self.check_exists()?;
        check_memory(bytes)?;
        self.change(|options| options.memory_bytes = bytes)
    }

    /// Sets how large a record may be, key included. Records already taken stay.
    ///
    /// # Errors
    /// `StreamNotFound`; `InvalidArgument` outside 1 to 10 MiB.
    pub fn set_max_record_bytes(&self, bytes: usize) -> Result<(), EngineError> {
        self.check_exists()?;
        check_record_bytes(bytes)?;
        self.change(|options| options.max_record_bytes = bytes)
    }

    pub(crate) fn now(&self) -> Now {
        Now::read(&*self.clock)
    }

    pub(crate) fn check_exists(&self) -> Result<(), EngineError> {
        if self.state.settings.is_deleted() {
            return Err(EngineError::StreamNotFound(self.name().clone()));
        }
        Ok(())
    }

    pub(crate) fn map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.state.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a change under way, and holds up the next.
    ///
    /// # Errors
    /// `StreamNotFound`.
    pub(crate) fn begin_change(&self) -> Result<MutexGuard<'_, ()>, EngineError> {
        let alone = self.state.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_exists()?;
        Ok(alone)
    }

    /// Waits for a change under way.
    pub(crate) fn await_change(&self) {
        drop(self.state.changing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A shard that is still there, by its id.
    pub(crate) fn shard(&self, id: &ShardId) -> Result<Arc<Shard>, EngineError> {
        let not_found =
            || EngineError::ShardNotFound { stream: self.name().clone(), shard: id.clone() };
        self.check_exists()?;
        let number = ShardNumber::of(id).ok_or_else(not_found)?;
        let shard = self.map().get(number).cloned().ok_or_else(not_found)?;
        if shard.is_gone(self.now(), &self.state.settings) {
            return Err(not_found());
        }
        Ok(shard)
    }

    /// Ends the stream: readers wake and find it gone.
    pub(crate) fn delete(&self) {
        self.state.settings.delete();
        self.map().all().for_each(|shard| shard.wake_readers());
    }
}

//! The engine: streams by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcl_core::Clock;
use kcl_core::protocol::StreamName;

use crate::error::EngineError;
use crate::limits::{NAME_CHARS, OPEN_SHARDS};
use crate::options::StreamOptions;
use crate::store::Store;
use crate::stream::Stream;

/// Any number of named streams in this process's memory, and in a [`Store`] if it has one. Cloning
/// gives another handle on the same engine.
#[derive(Clone)]
pub struct Engine {
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn Store>>,
    streams: Arc<Mutex<Streams>>,
}

#[derive(Default)]
struct Streams {
    by_name: BTreeMap<StreamName, Stream>,
    /// Being made, seen by nobody yet: a store takes its time, and no other stream waits for it.
    reserved: BTreeSet<StreamName>,
    /// Creation times rise, so that a stream made anew is told from the one before.
    last_created_at_millis: u64,
}

/// A name that nobody else takes, until it is dropped.
struct Reserved<'a> {
    engine: &'a Engine,
    name: StreamName,
    created_at_millis: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.engine.streams().reserved.remove(&self.name);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} streams)", self.streams().by_name.len())
    }
}

impl Engine {
    /// An engine without streams. All time comes from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, store: None, streams: Arc::default() }
    }

    /// An engine with the streams of `store`, which keeps what it is told from now on.
    ///
    /// # Errors
    /// `Store`: what is damaged or cannot be read, by name.
    pub fn open(clock: Arc<dyn Clock>, store: Arc<dyn Store>) -> Result<Self, EngineError> {
        let saved = store.load()?;
        let last_created_at_millis = saved.last_created_at_millis;
        let mut streams = Streams { last_created_at_millis, ..Streams::default() };
        for saved in saved.streams {
            let stream = Stream::restored(Arc::clone(&clock), saved, &store)?;
            streams.by_name.insert(stream.name().clone(), stream);
        }
        Ok(Self { clock, store: Some(store), streams: Arc::new(Mutex::new(streams)) })
    }

    /// True if puts wait for a disk: they block their thread.
    pub fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    /// Drops expired records of all streams. They are hidden at once in any case; this gives their
    /// room back where nobody puts or reads.
    pub fn sweep(&self) {
        let streams: Vec<_> = self.streams().by_name.values().cloned().collect();
        for stream in streams {
            stream.sweep(stream.now());
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a stream whose shards share the hash space evenly. It is ready at once.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is not 1 to 128 of `a-zA-Z0-9_.-`, for no shards, or for
    /// options out of bounds; `LimitExceeded` above 10,000 shards; `StreamExists`; `Store`.
    pub fn create_stream(
        &self,
        name: impl Into<StreamName>,
        shards: u32,
        options: StreamOptions,
    ) -> Result<Stream, EngineError> {
        let name = name.into();
        check_name(&name)?;
        check_shard_count(shards)?;
        options.validate()?;
        let reserved = self.reserve(name)?;
        let (name, created_at) = (reserved.name.clone(), reserved.created_at_millis);
        let clock = Arc::clone(&self.clock);
        let store = self.store.as_ref();
        let stream = Stream::new(clock, name.clone(), shards, &options, created_at, store)?;
        self.streams().by_name.insert(name, stream.clone());
        Ok(stream)
    }

    fn reserve(&self, name: StreamName) -> Result<Reserved<'_>, EngineError> {
        let mut streams = self.streams();
        if streams.by_name.contains_key(&name) || !streams.reserved.insert(name.clone()) {
            return Err(EngineError::StreamExists(name));
        }
        let created_at_millis = self.clock.wall_millis().max(streams.last_created_at_millis + 1);
        streams.last_created_at_millis = created_at_millis;
        Ok(Reserved { engine: self, name, created_at_millis })
    }

    /// A handle on a stream.
    ///
    /// # Errors
    /// `StreamNotFound`.
    pub fn stream(&self, name: &str) -> Result<Stream, EngineError> {
        let stream = self.streams().by_name.get(name).cloned();
        stream.ok_or_else(|| EngineError::StreamNotFound(name.into()))
    }

    /// Deletes a stream with its records. Its readers wake and find it gone.
    ///
    /// # Errors
    /// `StreamNotFound`. `Store`: it is there as before, and may be gone once the store is opened
    /// again.
    pub fn delete_stream(&self, name: &str) -> Result<(), EngineError> {
        let stream = self.stream(name)?;
        // A reshard or a setting that is being saved would bring it back.
        let _alone = stream.begin_change()?;
        if let Some(store) = &self.store {
            store.delete(stream.name(), stream.state.created_at_millis)?;
        }
        // Until now nobody could make another of its name.
        self.streams().by_name.remove(name);
        stream.delete();
        Ok(())
    }

    /// The names of all streams, in order.
    pub fn list_streams(&self) -> Vec<StreamName> {
        self.streams().by_name.keys().cloned().collect()
    }
}

fn check_name(name: &StreamName) -> Result<(), EngineError> {
    let text = name.as_str();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=NAME_CHARS).contains(&text.len()) && text.chars().all(is_allowed) {
        return Ok(());
    }
    Err(EngineError::InvalidArgument(format!(
        "{text:?} is no stream name: use 1 to {NAME_CHARS} of a-z, A-Z, 0-9, _, . and -"
    )))
}

pub(crate) fn check_shard_count(shards: u32) -> Result<(), EngineError> {
    match shards {
        0 => Err(EngineError::InvalidArgument("a stream needs at least one shard".into())),
        1..=OPEN_SHARDS => Ok(()),
        _ => Err(EngineError::LimitExceeded(format!(
            "{shards} shards are above the engine's {OPEN_SHARDS}: use fewer"
        ))),
    }
}

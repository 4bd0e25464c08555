//! What the operations share.

mod commitment;
mod consumers;
mod ids;
mod keep;
mod rates;
mod settings;
mod transitions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::Clock;
use kcl_stream_local::{Engine, Stream, StreamOptions, Throughput};
use tokio_util::sync::CancellationToken;

use crate::auth::AccessKeys;
use crate::bounds::Bounds;
use crate::collect::Budget;
use crate::error::ApiError;
use crate::limits::{ACCOUNT, REGION, SHARDS};
use crate::token::Seal;

pub(crate) use commitment::Commitment;
pub(crate) use consumers::Consumer;
use consumers::Consumers;
pub(crate) use ids::id as stream_id;
use keep::Keep;
use rates::Rates;
pub(crate) use settings::{Attached, Daily, Distribution, Mode, Resource, Settings};
pub(crate) use transitions::Status;
use transitions::Transitions;

pub(crate) struct State {
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub seal: Seal,
    /// Who may ask for what; nobody is asked without.
    pub keys: Option<AccessKeys>,
    /// What new streams are like.
    pub options: StreamOptions,
    /// How long creating and resharding take.
    pub transition_millis: u64,
    pub bounds: Bounds,
    /// The endpoint has stopped.
    pub stop: CancellationToken,
    /// Of the bodies of requests.
    pub budget: Budget,
    /// Of the answers to reads.
    pub answers: Budget,
    transitions: Transitions,
    consumers: Mutex<Consumers>,
    settings: Mutex<BTreeMap<String, Settings>>,
    commitment: Mutex<Commitment>,
    rates: Rates,
    keep: Option<Keep>,
}

impl State {
    pub fn new(
        clock: Arc<dyn Clock>,
        (engine, seal): (Engine, Seal),
        options: StreamOptions,
        transition_millis: u64,
    ) -> Self {
        Self {
            engine,
            clock,
            seal,
            keys: None,
            options,
            transition_millis,
            bounds: Bounds::default(),
            stop: CancellationToken::new(),
            budget: Budget::new(Bounds::default().bodies_bytes),
            answers: Budget::new(Bounds::default().answers_bytes),
            transitions: Transitions::default(),
            consumers: Mutex::default(),
            settings: Mutex::default(),
            commitment: Mutex::default(),
            rates: Rates::default(),
            keep: None,
        }
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_settings(&self) -> MutexGuard<'_, BTreeMap<String, Settings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The account's commitment.
    pub fn commitment(&self) -> Commitment {
        *self.lock_commitment()
    }

    /// Changes the account's commitment.
    pub fn change_commitment(
        &self,
        change: impl FnOnce(&mut Commitment),
    ) -> Result<Commitment, ApiError> {
        let mut commitment = self.lock_commitment();
        let before = *commitment;
        change(&mut commitment);
        let after = *commitment;
        drop(commitment);
        self.keep().inspect_err(|_| *self.lock_commitment() = before)?;
        Ok(after)
    }

    fn lock_commitment(&self) -> MutexGuard<'_, Commitment> {
        self.commitment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams in this mode.
    pub fn streams_of(&self, mode: Mode) -> Vec<Stream> {
        let mut streams = Vec::new();
        for name in self.engine.list_streams() {
            let is_in_mode = self.settings(name.as_str(), |settings| settings.mode == mode);
            streams.extend(self.engine.stream(name.as_str()).ok().filter(|_| is_in_mode));
        }
        streams
    }

    /// Open shards of all streams in this mode.
    pub fn open_shards(&self, mode: Mode) -> usize {
        let streams = self.streams_of(mode);
        let described = streams.iter().filter_map(|stream| stream.describe().ok());
        described.map(|described| described.open_shards).sum()
    }

    /// Whether the account may have so many more open shards.
    pub fn check_open_shards(&self, more: usize) -> Result<(), ApiError> {
        let open = self.open_shards(Mode::Provisioned);
        if open + more <= SHARDS {
            return Ok(());
        }
        Err(ApiError::limit_exceeded(format!(
            "This request would exceed the shard limit for the account {ACCOUNT} in {REGION}. \
             Current shard count for the account: {open}. Limit: {SHARDS}. Number of additional \
             shards that would have resulted from this request: {more}."
        )))
    }

    /// Counts a call that the service allows `most` times a day for a stream.
    pub fn take_daily(
        &self,
        stream: &str,
        most: usize,
        what: &str,
        pick: fn(&mut Settings) -> &mut Daily,
    ) -> Result<(), ApiError> {
        if self.options.throughput == Throughput::Unlimited {
            return Ok(());
        }
        let now = self.clock.wall_millis();
        self.change_settings(stream, |settings| pick(settings).take(now, most, what))?
    }

    /// A stream, in whatever state.
    pub fn stream(&self, name: &str) -> Result<Stream, ApiError> {
        let missing = format!("Stream {name} under account {ACCOUNT} not found.");
        self.engine.stream(name).map_err(|_| {
            // What is kept of it goes with the next change: readers wait for no disk.
            self.forget_deleted(name);
            ApiError::not_found(missing)
        })
    }

    /// Begins to delete a stream; its readers end when it is gone. Once this returns it does not
    /// come back, also where streams are kept.
    pub fn delete_stream(&self, name: &str) -> Result<(), ApiError> {
        let (stream, change) = self.begin_delete(name)?;
        if self.transition_millis == 0 {
            self.engine.delete_stream(name)?;
            change.made();
            self.forget_deleted(name);
            return self.keep();
        }
        self.keep()?;
        change.made();
        self.forget_consumers(name);
        let created = stream.describe()?.created_at_millis;
        let (engine, clock) = (self.engine.clone(), Arc::clone(&self.clock));
        let stop = self.stop.clone();
        let (name, transition) = (name.to_owned(), Duration::from_millis(self.transition_millis));
        tokio::spawn(async move {
            tokio::select! { biased;
                // Whoever opens what is kept next goes on with it.
                () = stop.cancelled() => return,
                () = clock.sleep(transition) => {}
            }
            let is_kept = engine.is_kept();
            let delete = move || {
                let described = engine.stream(&name).and_then(|stream| stream.describe());
                if described.is_ok_and(|described| described.created_at_millis == created) {
                    // Nobody else deletes it meanwhile; gone is gone anyway.
                    let _ = engine.delete_stream(&name);
                }
            };
            // What waits for a disk must not hold up the connections.
            match is_kept {
                true => drop(tokio::task::spawn_blocking(delete).await),
                false => delete(),
            }
        });
        Ok(())
    }

    /// A stream that takes and gives records; one that is being created or deleted does not.
    pub fn readable(&self, name: &str) -> Result<Stream, ApiError> {
        let stream = self.stream(name)?;
        if matches!(self.status(name), Status::Creating | Status::Deleting) {
            let message = format!("Stream {name} under account {ACCOUNT} not found.");
            return Err(ApiError::not_found(message));
        }
        Ok(stream)
    }
}

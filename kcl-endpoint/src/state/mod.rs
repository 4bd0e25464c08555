//! What the operations share.

mod commitment;
mod consumers;
mod keep;
mod rates;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::Clock;
use kcl_stream_local::{Engine, Stream, StreamOptions, Throughput};

use crate::auth::AccessKeys;
use crate::bounds::Bounds;
use crate::collect::Budget;
use crate::error::ApiError;
use crate::limits::{ACCOUNT, REGION, SHARDS};
use crate::token::Seal;

pub(crate) use commitment::Commitment;
pub(crate) use consumers::Consumer;
use consumers::Consumers;
use keep::Keep;
use rates::Rates;
pub(crate) use settings::{Attached, Daily, Distribution, Mode, Resource, Settings};

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
    /// Of the bodies of requests.
    pub budget: Budget,
    transitions: Mutex<BTreeMap<String, Transition>>,
    consumers: Mutex<Consumers>,
    settings: Mutex<BTreeMap<String, Settings>>,
    commitment: Mutex<Commitment>,
    rates: Rates,
    keep: Option<Keep>,
}

/// A change of a stream that is not finished yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transition {
    status: Status,
    /// Unix milliseconds.
    until: u64,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Updating,
    Active,
    Deleting,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Updating => "UPDATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
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
            budget: Budget::new(Bounds::default().bodies_bytes),
            transitions: Mutex::default(),
            consumers: Mutex::default(),
            settings: Mutex::default(),
            commitment: Mutex::default(),
            rates: Rates::default(),
            keep: None,
        }
    }

    fn transitions(&self) -> MutexGuard<'_, BTreeMap<String, Transition>> {
        self.transitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_settings(&self) -> MutexGuard<'_, BTreeMap<String, Settings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Reads or changes the account's commitment.
    pub fn commitment<R>(&self, read: impl FnOnce(&mut Commitment) -> R) -> R {
        read(&mut self.lock_commitment())
    }

    fn lock_commitment(&self) -> MutexGuard<'_, Commitment> {
        self.commitment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change begins.
    pub fn begin(&self, stream: &str, status: Status) {
        let until = self.clock.wall_millis() + self.transition_millis;
        self.transitions().insert(stream.to_owned(), Transition { status, until });
    }
    /// A stream is gone.
    pub fn forget(&self, stream: &str) {
        self.transitions().remove(stream);
        self.forget_consumers(stream);
        self.forget_settings(stream);
        self.keep();
    }

    pub fn status(&self, stream: &str) -> Status {
        let now = self.clock.wall_millis();
        let mut transitions = self.transitions();
        match transitions.get(stream) {
            // Until the stream is gone, which is not told by the clock alone.
            Some(transition) if transition.status == Status::Deleting => Status::Deleting,
            Some(transition) if now < transition.until => transition.status,
            Some(_) => {
                transitions.remove(stream);
                Status::Active
            }
            None => Status::Active,
        }
    }

    /// How many streams are being created.
    pub fn creating(&self) -> usize {
        let names = self.engine.list_streams();
        names.iter().filter(|name| self.status(name.as_str()) == Status::Creating).count()
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
        self.settings(stream, |settings| pick(settings).take(now, most, what))
    }

    /// A stream, in whatever state.
    pub fn stream(&self, name: &str) -> Result<Stream, ApiError> {
        let missing = format!("Stream {name} under account {ACCOUNT} not found.");
        self.engine.stream(name).map_err(|_| {
            // One that is being created is not there yet either.
            if self.status(name) == Status::Deleting {
                self.forget(name);
            }
            ApiError::not_found(missing)
        })
    }

    /// Begins to delete a stream; its readers end now.
    pub fn delete_stream(&self, name: &str) -> Result<(), ApiError> {
        let stream = self.stream(name)?;
        if self.status(name) == Status::Deleting {
            let message = format!("Stream {name} under account {ACCOUNT} is being deleted.");
            return Err(ApiError::in_use(message));
        }
        if self.transition_millis == 0 {
            self.engine.delete_stream(name)?;
            self.forget(name);
            return Ok(());
        }
        self.begin(name, Status::Deleting);
        self.forget_consumers(name);
        let created = stream.describe()?.created_at_millis;
        let (engine, clock) = (self.engine.clone(), Arc::clone(&self.clock));
        let (name, transition) = (name.to_owned(), Duration::from_millis(self.transition_millis));
        tokio::spawn(async move {
            clock.sleep(transition).await;
            let described = engine.stream(&name).and_then(|stream| stream.describe());
            if described.is_ok_and(|described| described.created_at_millis == created) {
                // Nobody else deletes it meanwhile; gone is gone anyway.
                let _ = engine.delete_stream(&name);
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

    /// A stream that may be changed: nothing else is under way.
    pub fn changeable(&self, name: &str) -> Result<Stream, ApiError> {
        let stream = self.stream(name)?;
        match self.status(name) {
            Status::Active => Ok(stream),
            status => Err(ApiError::in_use(format!(
                "Stream {name} under account {ACCOUNT} not ACTIVE, instead in state {}",
                status.name()
            ))),
        }
    }
}

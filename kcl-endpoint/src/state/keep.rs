//! Settings and consumers of streams that are kept in a folder: they come back with their streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kcl_stream_disk::DiskStore;
use kcl_stream_local::StoreError;
use serde::{Deserialize, Serialize};

use super::{Commitment, Consumer, Settings, State, Status};
use crate::error::ApiError;

/// Where they are kept.
pub(super) struct Keep {
    save: Save,
    /// One writes after the other: the last one writes what is last.
    writing: Mutex<()>,
}

/// Replaces what is kept.
type Save = Box<dyn Fn(&[u8]) -> Result<(), StoreError> + Send + Sync>;

/// The name of the value in the store.
const NAME: &str = "endpoint";

/// Everything that is kept, as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    streams: BTreeMap<String, KeptStream>,
    commitment: Commitment,
}

#[derive(Serialize, Deserialize)]
struct KeptStream {
    /// Of the stream (Unix milliseconds): another of its name begins anew.
    created_at_millis: u64,
    settings: Settings,
    consumers: Vec<Consumer>,
    /// It was being deleted, and whoever asked was told so.
    #[serde(default)]
    is_deleting: bool,
}

impl State {
    fn created_at_millis(&self, stream: &str) -> Option<u64> {
        let described = self.engine.stream(stream).and_then(|stream| stream.describe());
        described.ok().map(|described| described.created_at_millis)
    }

    /// Takes what the store has, and keeps every change there from now on.
    pub fn keep_in(&mut self, store: Arc<DiskStore>) -> Result<(), StoreError> {
        let kept: Kept = match store.value(NAME)? {
            None => Kept::default(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let what = "settings of streams are damaged or of a newer version";
                StoreError(format!("{what}: {error}: restore the data from a copy"))
            })?,
        };
        for (name, stream) in kept.streams {
            if self.created_at_millis(&name) == Some(stream.created_at_millis) {
                if stream.is_deleting {
                    let deleted = self.engine.delete_stream(&name);
                    deleted.map_err(|error| StoreError(error.to_string()))?;
                    continue;
                }
                self.lock_settings().insert(name, stream.settings);
                stream.consumers.into_iter().for_each(|consumer| self.put_back(consumer));
            }
        }
        *self.lock_commitment() = kept.commitment;
        let save: Save = Box::new(move |bytes| store.keep_value(NAME, bytes));
        self.keep = Some(Keep { save, writing: Mutex::default() });
        Ok(())
    }

    /// Keeps what is set now, if anything is kept.
    ///
    /// # Errors
    /// The store cannot be written: the request must not be told as done.
    pub fn keep(&self) -> Result<(), ApiError> {
        let Some(keep) = &self.keep else { return Ok(()) };
        let _writing = keep.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Kept { commitment: *self.lock_commitment(), ..Kept::default() };
        let mut settings = self.all_settings();
        let mut consumers = self.all_consumers();
        for name in self.engine.list_streams() {
            let name = name.as_str();
            let Some(created_at_millis) = self.created_at_millis(name) else { continue };
            let settings = settings.remove(name).unwrap_or_default();
            let own = consumers.extract_if(.., |consumer| consumer.stream == name).collect();
            let is_deleting = self.status(name) == Status::Deleting;
            let stream = KeptStream { created_at_millis, settings, consumers: own, is_deleting };
            kept.streams.insert(name.to_owned(), stream);
        }
        // Plain values of our own serialize.
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        (keep.save)(&bytes).map_err(|StoreError(error)| {
            tracing::error!(%error, "settings cannot be kept");
            ApiError::internal("The change could not be kept: nothing was changed.")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use kcl_core::SystemClock;
    use kcl_stream_local::{Engine, StreamOptions};

    use super::*;
    use crate::names::ConsumerRef;
    use crate::state::Attached;
    use crate::token::Seal;

    /// A state whose store fails when told so.
    fn state(transition_millis: u64) -> (State, Arc<AtomicBool>) {
        let clock = Arc::new(SystemClock);
        let engine = Engine::new(clock.clone());
        let options = StreamOptions::unlimited();
        engine.create_stream("s", 1, options).unwrap();
        let mut state = State::new(clock, (engine, Seal::new()), options, transition_millis);
        let fails = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&fails);
        let save: Save = Box::new(move |_| match told.load(Ordering::Relaxed) {
            true => Err(StoreError("the disk is full".into())),
            false => Ok(()),
        });
        state.keep = Some(Keep { save, writing: Mutex::default() });
        (state, fails)
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_kept_fails_and_changes_nothing() {
        let (state, fails) = state(1000);
        let asked = ConsumerRef { stream: "s".into(), name: "c".into(), created_at_seconds: None };
        state.register_consumer("s", "c", Attached::default()).unwrap();
        fails.store(true, Ordering::Relaxed);
        let failed = |result: Result<(), ApiError>| {
            assert_eq!(result.unwrap_err().name, "InternalFailureException");
        };
        failed(state.change_settings("s", |settings| settings.key = Some("k".into())));
        assert_eq!(state.settings("s", |settings| settings.key.clone()), None);
        failed(state.attached_to_consumer(&asked, |to| to.policy = Some("{}".into())));
        assert_eq!(state.attached_to_consumer(&asked, |to| to.policy.clone()).unwrap(), None);
        failed(state.register_consumer("s", "d", Attached::default()).map(drop));
        assert_eq!(state.consumers_of("s").len(), 1);
        failed(state.deregister_consumer(&asked));
        assert_ne!(state.consumer(&asked).unwrap().status(u64::MAX), "DELETING");
        failed(state.change_commitment(|commitment| commitment.enable(5)).map(drop));
        assert_eq!(state.commitment(), Commitment::default());
        failed(state.delete_stream("s"));
        assert_eq!(state.status("s"), Status::Active);
        fails.store(false, Ordering::Relaxed);
        state.deregister_consumer(&asked).unwrap();
        state.delete_stream("s").unwrap();
    }
}

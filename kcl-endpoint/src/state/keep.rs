//! Settings and consumers of streams that are kept in a folder: they come back with their streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kcl_stream_disk::DiskStore;
use kcl_stream_local::StoreError;
use serde::{Deserialize, Serialize};

use super::{Commitment, Consumer, Settings, State};

/// Where they are kept.
pub(super) struct Keep {
    store: Arc<DiskStore>,
    /// One writes after the other: the last one writes what is last.
    writing: Mutex<()>,
}

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
}

impl State {
    pub(super) fn is_kept(&self) -> bool {
        self.keep.is_some()
    }

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
                self.lock_settings().insert(name, stream.settings);
                stream.consumers.into_iter().for_each(|consumer| self.put_back(consumer));
            }
        }
        *self.lock_commitment() = kept.commitment;
        self.keep = Some(Keep { store, writing: Mutex::default() });
        Ok(())
    }

    /// Keeps what is set now, if anything is kept.
    pub fn keep(&self) {
        let Some(keep) = &self.keep else { return };
        let _writing = keep.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Kept { commitment: *self.lock_commitment(), ..Kept::default() };
        let mut settings = self.all_settings();
        let mut consumers = self.all_consumers();
        for name in self.engine.list_streams() {
            let name = name.as_str();
            let Some(created_at_millis) = self.created_at_millis(name) else { continue };
            let settings = settings.remove(name).unwrap_or_default();
            let own = consumers.extract_if(.., |consumer| consumer.stream == name).collect();
            let stream = KeptStream { created_at_millis, settings, consumers: own };
            kept.streams.insert(name.to_owned(), stream);
        }
        // Plain values of our own serialize.
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        if let Err(error) = keep.store.keep_value(NAME, &bytes) {
            tracing::error!(%error, "settings are not kept: after a restart older ones hold");
        }
    }
}

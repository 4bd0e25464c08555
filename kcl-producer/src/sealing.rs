//! Payloads that only holders of a key can read, where that is built in and wanted.

#[cfg(feature = "encryption")]
use std::{future::poll_fn, pin::pin, sync::Arc};

#[cfg(feature = "encryption")]
use kcl_records::Sealer;
#[cfg(feature = "encryption")]
use tokio::runtime::Handle;

use crate::fate::NotAccepted;
use crate::record::NewRecord;

/// Seals payloads, or leaves them as they are.
#[derive(Clone, Default)]
pub(crate) struct Sealing {
    #[cfg(feature = "encryption")]
    sealer: Option<Arc<Sealer>>,
    /// The producer's: callers may be in none, or in one that ends before the data key is made.
    #[cfg(feature = "encryption")]
    runtime: Option<Handle>,
}

#[cfg(feature = "encryption")]
impl Sealing {
    pub(crate) fn by(sealer: Arc<Sealer>) -> Self {
        Self { sealer: Some(sealer), runtime: None }
    }

    /// The same, with data keys made in the current runtime.
    pub(crate) fn started(self) -> Self {
        Self { runtime: Some(Handle::current()), ..self }
    }

    /// The record with its payload sealed; waits for a data key if none is at hand.
    pub(crate) async fn seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        let Some(sealer) = &self.sealer else { return Ok(record) };
        let sealed = {
            let mut sealed = pin!(sealer.seal(&record.partition_key, &record.data));
            let inside = poll_fn(|context| {
                let _inside = self.runtime.as_ref().map(Handle::enter);
                sealed.as_mut().poll(context)
            });
            inside.await
        };
        let data = sealed.map_err(|error| NotAccepted::NotSealed(error.to_string()))?;
        Ok(NewRecord { data, ..record })
    }

    /// The record with its payload sealed, if a data key is at hand.
    pub(crate) fn try_seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        let Some(sealer) = &self.sealer else { return Ok(record) };
        let _inside = self.runtime.as_ref().map(Handle::enter);
        let no_key = "no data key is at hand, and one is being made: try again, or wait with put";
        let no_key = || NotAccepted::NotSealed(no_key.into());
        let sealed = sealer.try_seal(&record.partition_key, &record.data).ok_or_else(no_key)?;
        let data = sealed.map_err(|error| NotAccepted::NotSealed(error.to_string()))?;
        Ok(NewRecord { data, ..record })
    }
}

#[cfg(not(feature = "encryption"))]
impl Sealing {
    pub(crate) fn started(self) -> Self {
        self
    }

    pub(crate) async fn seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        Ok(record)
    }

    pub(crate) fn try_seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        Ok(record)
    }
}

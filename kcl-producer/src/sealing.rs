//! Payloads that only holders of a key can read, where that is built in and wanted.

use crate::fate::NotAccepted;
use crate::record::NewRecord;

/// Seals payloads, or leaves them as they are.
#[derive(Clone, Default)]
pub(crate) struct Sealing {
    #[cfg(feature = "encryption")]
    sealer: Option<std::sync::Arc<kcl_records::Sealer>>,
}

#[cfg(feature = "encryption")]
impl Sealing {
    pub(crate) fn by(sealer: std::sync::Arc<kcl_records::Sealer>) -> Self {
        Self { sealer: Some(sealer) }
    }

    /// The record with its payload sealed; waits for a data key if none is at hand.
    pub(crate) async fn seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        let Some(sealer) = &self.sealer else { return Ok(record) };
        let sealed = sealer.seal(&record.partition_key, &record.data).await;
        let data = sealed.map_err(|error| NotAccepted::NotSealed(error.to_string()))?;
        Ok(NewRecord { data, ..record })
    }

    /// The record with its payload sealed, if a data key is at hand.
    pub(crate) fn try_seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        let Some(sealer) = &self.sealer else { return Ok(record) };
        let no_key = || NotAccepted::NotSealed("no data key is at hand: put waits for one".into());
        let sealed = sealer.try_seal(&record.partition_key, &record.data).ok_or_else(no_key)?;
        let data = sealed.map_err(|error| NotAccepted::NotSealed(error.to_string()))?;
        Ok(NewRecord { data, ..record })
    }
}

#[cfg(not(feature = "encryption"))]
impl Sealing {
    pub(crate) async fn seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        Ok(record)
    }

    pub(crate) fn try_seal(&self, record: NewRecord) -> Result<NewRecord, NotAccepted> {
        Ok(record)
    }
}

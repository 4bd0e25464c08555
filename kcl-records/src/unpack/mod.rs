//! Any stream source, with aggregates taken apart and payloads opened.

mod ranges;
mod reader;

use std::sync::Arc;

use async_trait::async_trait;
use kcl_core::{ReadFrom, Shard, ShardReader, SourceError, StreamDescription, StreamSource};
use kcl_protocol::{HashKeyRange, ShardId};

#[cfg(feature = "encryption")]
use crate::envelope::Opener;

use ranges::Ranges;
use reader::UnpackedReader;

/// A stream source that gives the records inside the records of another source.
///
/// - A record that stands alone passes as it is, at next to no cost.
/// - An aggregate gives its sub-records, at positions (sequence number, 0), (sequence number, 1),
///   and so on: the place of each in the aggregate, also where others are dropped.
/// - Sub-records whose hash key is outside of the shard's range are dropped: a producer that did
///   not know of a reshard puts them again, into the right shard. A shard that is no longer listed
///   has no known range, and keeps all of them; one that is not listed yet, which its id above all
///   others shows, is waited for (ids of shards rise, as those of Kinesis do).
/// - An aggregate that is not whole, and a payload that does not open, come as records marked
///   [unreadable](kcl_core::Record::unreadable): the error policy decides.
///
/// A reader opened after (sequence number, k) goes on with the next sub-record; at any record it
/// begins by reading that record again, because only its content tells how many are in it. A
/// record of which every sub-record is dropped has nothing to acknowledge; the checkpoint passes it
/// with the record after it, or at the end of the shard.
///
/// The limit of a read is kept. The records inside one record of the stream are in memory at once,
/// with the rest of the page that it came with; they count against the worker's read budget. Where
/// less than half of an aggregate's payloads is kept, those are copied, and the rest is let go.
pub struct UnpackedSource<S> {
    source: Arc<S>,
    ranges: Arc<Ranges>,
    foreign: Foreign,
    opening: Opening,
}

/// Opens payloads, where that is built in and wanted.
#[derive(Clone, Default)]
struct Opening {
    #[cfg(feature = "encryption")]
    opener: Option<Arc<Opener>>,
}

/// What becomes of sub-records that belong to another shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// Dropped: their producer puts them again, as the Kinesis Producer Library does.
    #[default]
    Drop,
    /// Delivered where they are, perhaps a second time and out of order: for producers that put
    /// nothing again.
    Keep,
}

impl<S: StreamSource> UnpackedSource<S> {
    /// Takes the aggregates of this source apart.
    pub fn new(source: S) -> Self {
        let (ranges, foreign, opening) = Default::default();
        Self { source: Arc::new(source), ranges, foreign, opening }
    }

    /// The same with another answer to sub-records of other shards.
    pub fn foreign(self, foreign: Foreign) -> Self {
        Self { foreign, ..self }
    }

    /// Opens every payload too, those inside aggregates and those that stand alone.
    #[cfg(feature = "encryption")]
    pub fn opened_by(mut self, opener: Arc<Opener>) -> Self {
        self.opening.opener = Some(opener);
        self
    }
}

#[async_trait]
impl<S: StreamSource> StreamSource for UnpackedSource<S> {
    async fn describe(&self) -> Result<StreamDescription, SourceError> {
        self.source.describe().await
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let shards = self.source.list_shards().await?;
        self.ranges.learn(&shards);
        Ok(shards)
    }

    async fn open(
        &self,
        shard: &ShardId,
        from: ReadFrom,
    ) -> Result<Box<dyn ShardReader>, SourceError> {
        let (from, after) = match from {
            // Perhaps there are more records inside that one.
            ReadFrom::After(after) => (ReadFrom::At(after.sequence), Some(after)),
            other => (other, None),
        };
        let inner = self.source.open(shard, from).await?;
        Ok(Box::new(UnpackedReader::new(self.clone(), shard.clone(), inner, after)))
    }
}

impl<S: StreamSource> UnpackedSource<S> {
    /// The range outside of which sub-records are dropped; `None` drops none.
    async fn range(&self, shard: &ShardId) -> Result<Option<HashKeyRange>, SourceError> {
        if self.foreign == Foreign::Keep {
            return Ok(None);
        }
        if let Some(range) = self.ranges.of(shard) {
            return Ok(Some(range));
        }
        let _turn = self.ranges.listing.lock().await;
        if self.ranges.of(shard).is_none() {
            self.list_shards().await?;
        }
        match self.ranges.of(shard) {
            None if self.ranges.are_older_than(shard) => Err(SourceError::Unavailable(format!(
                "shard {shard} is not listed yet: what is foreign in its aggregates is not known"
            ))),
            range => Ok(range),
        }
    }
}

impl<S> Clone for UnpackedSource<S> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            ranges: Arc::clone(&self.ranges),
            foreign: self.foreign,
            opening: self.opening.clone(),
        }
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for UnpackedSource<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnpackedSource")
            .field("source", &self.source)
            .field("foreign", &self.foreign)
            .finish_non_exhaustive()
    }
}

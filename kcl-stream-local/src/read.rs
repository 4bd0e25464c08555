//! Pulled reads.

use kcl_core::{ChildShard, Record};

use crate::error::EngineError;
use crate::iterator::ShardIterator;
use crate::limits::{READ_BYTES, READ_RECORDS};
use crate::shard::{AfterThis, Found};
use crate::stream::Stream;

/// What one pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GotRecords {
    /// The records, in order; none at the tip.
    pub records: Vec<Record>,
    /// Where to go on; `None` once a closed shard was read to its end.
    pub next: Option<ShardIterator>,
    /// How far the last record is behind now (milliseconds); 0 at the tip.
    pub behind_millis: u64,
    /// The shards that follow, with the last answer of a closed shard.
    pub children: Vec<ChildShard>,
}

impl Stream {
    /// Pulls up to `max_records` records (1 to 10,000) of at most 10 MiB. All pullers of a shard
    /// share 5 calls and 2 MiB a second.
    ///
    /// # Errors
    /// `StreamNotFound`, `ShardNotFound`; `ExpiredIterator`; `InvalidArgument` for a wrong
    /// `max_records` or an iterator of another stream; for now: `ProvisionedThroughputExceeded`.
    pub fn get_records(
        &self,
        iterator: &ShardIterator,
        max_records: usize,
    ) -> Result<GotRecords, EngineError> {
        self.check_exists()?;
        if !(1..=READ_RECORDS).contains(&max_records) {
            return Err(EngineError::InvalidArgument(format!(
                "a read returns 1 to {READ_RECORDS} records, not {max_records}"
            )));
        }
        if iterator.stream_created_at_millis != self.state.created_at_millis {
            return Err(EngineError::InvalidArgument(format!(
                "the iterator is of another stream than {}: get a new one",
                self.name()
            )));
        }
        let now = self.now();
        iterator.check_age(now)?;
        let shard = self.shard(&iterator.shard.id())?;
        let settings = &self.state.settings;
        let is_limited = !settings.is_unlimited();
        if is_limited {
            shard.admit_pull(now).map_err(|retry_after| {
                let (stream, shard) = (self.name().clone(), iterator.shard);
                EngineError::ProvisionedThroughputExceeded { stream, shard, retry_after }
            })?;
        }
        let limit = (max_records, READ_BYTES);
        let iterator_at = |next| Some(self.iterator_at(&shard, next, now));
        let nothing =
            |next, children| GotRecords { records: Vec::new(), next, behind_millis: 0, children };
        Ok(match shard.read(now, settings, iterator.next, 0, limit) {
            Found::Records { records, bytes, next, behind_millis, end } => {
                if is_limited {
                    shard.charge_pull(bytes);
                }
                let (next, children) = match end {
                    AfterThis::More => (iterator_at(next), Vec::new()),
                    AfterThis::End(children) => (None, children),
                };
                GotRecords { records, next, behind_millis, children }
            }
            Found::Tip { next } => nothing(iterator_at(next), Vec::new()),
            Found::End(children) => nothing(None, children),
        })
    }
}

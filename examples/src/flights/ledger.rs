//! Where the figures are kept: redelivered records must not change them.
//!
//! A record may be delivered twice (a worker died after it counted the record and before its
//! checkpoint was written). So each shard's page remembers, **beside the sums and in the same
//! step**, the last position it counted and the highest fence it accepted. Whatever comes at or
//! below that position was counted before; whoever comes with a lower fence has lost the shard. In
//! a database the three would be one row, changed in one transaction.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kcl_core::protocol::{Fence, Position, ShardId};

use super::figures::Figures;
use super::rows::Flight;

/// The pages of all shards.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<ShardId, Page>>);

#[derive(Debug, Default)]
struct Page {
    fence: Fence,
    counted_to: Option<Position>,
    figures: Figures,
}

/// The shard belongs to a later owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fence {given} is below {accepted}: another worker owns the shard now")]
pub struct Fenced {
    /// The writer's.
    pub given: Fence,
    /// The highest accepted.
    pub accepted: Fence,
}

impl Ledger {
    /// Counts those flights of a batch that were not counted before; all or none.
    ///
    /// # Errors
    /// [`Fenced`] if a later owner has counted already.
    pub fn count(
        &self,
        shard: &ShardId,
        fence: Fence,
        flights: &[(Position, Flight)],
    ) -> Result<(), Fenced> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.entry(shard.clone()).or_default();
        if fence < page.fence {
            return Err(Fenced { given: fence, accepted: page.fence });
        }
        page.fence = fence;
        for (position, flight) in flights {
            if page.counted_to < Some(*position) {
                page.figures.add(flight);
                page.counted_to = Some(*position);
            }
        }
        Ok(())
    }

    /// The sum of all pages.
    pub fn figures(&self) -> Figures {
        let mut total = Figures::default();
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.values().for_each(|page| total.merge(&page.figures));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kcl_core::protocol::SequenceNumber;

    fn batch(numbers: std::ops::Range<u128>) -> Vec<(Position, Flight)> {
        let flight = Flight { origin: "JFK".into(), carrier: "B6".into(), dep_delay: Some(1.0) };
        let at = |number| Position::from(SequenceNumber::from_parts(0, number));
        numbers.map(|number| (at(number), flight.clone())).collect()
    }

    #[test]
    fn a_record_delivered_twice_counts_once() {
        let (ledger, shard) = (Ledger::default(), ShardId::new("shardId-000000000000"));
        ledger.count(&shard, Fence(1), &batch(0..10)).unwrap();
        ledger.count(&shard, Fence(2), &batch(5..15)).unwrap();
        assert_eq!(ledger.figures().lines()[0].flights, 15);
    }

    #[test]
    fn a_former_owner_is_refused() {
        let (ledger, shard) = (Ledger::default(), ShardId::new("shardId-000000000000"));
        ledger.count(&shard, Fence(2), &batch(0..1)).unwrap();
        let refused = ledger.count(&shard, Fence(1), &batch(1..2)).unwrap_err();
        assert_eq!(refused, Fenced { given: Fence(1), accepted: Fence(2) });
        assert_eq!(ledger.figures().lines()[0].flights, 1);
    }
}

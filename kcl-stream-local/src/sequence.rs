//! Shard numbers and the layout of sequence numbers.

use std::fmt;
use std::str::FromStr;

use kcl_core::protocol::{SequenceNumber, ShardId};

/// The number of a shard in its stream, counted from 0 in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardNumber(pub u32);

impl ShardNumber {
    /// The shard's id: `shardId-` and twelve digits.
    pub fn id(self) -> ShardId {
        ShardId::from(self.to_string())
    }

    /// The shard an id names; `None` if it is not the id of a shard of this engine.
    pub fn of(id: &ShardId) -> Option<Self> {
        id.as_str().parse().ok()
    }
}

impl fmt::Display for ShardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

impl FromStr for ShardNumber {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix("shardId-").ok_or(())?;
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        digits.parse().map(Self).map_err(drop)
    }
}

/// What all sequence numbers of one shard share. A number has 186 bits, always 56 digits:
///
/// ```text
/// 185      184..140        139..128  127..96  95..64  63..0
/// version  creation (ms)   0         shard    0       counter
/// ```
/// A child is created after its parents, by at least a millisecond of this count, so that all its
/// numbers are above theirs. The counter rises by one with every record, so that a number leads to
/// its record without a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceBase {
    high: u64,
    shard: ShardNumber,
}

const VERSION: u64 = 1 << 57;
const CREATION_BITS: u32 = 45;
const CREATION_SHIFT: u32 = 12;
const SHARD_SHIFT: u32 = 96;

impl SequenceBase {
    pub(crate) fn new(shard: ShardNumber, created_at_millis: u64) -> Self {
        let creation = created_at_millis & ((1 << CREATION_BITS) - 1);
        Self { high: VERSION | (creation << CREATION_SHIFT), shard }
    }

    /// The number with this counter.
    pub(crate) fn number(self, counter: u64) -> SequenceNumber {
        let low = (u128::from(self.shard.0) << SHARD_SHIFT) | u128::from(counter);
        SequenceNumber::from_parts(self.high, low)
    }

    /// The counter of a number of this shard; `None` for any other number.
    pub(crate) fn counter(self, number: SequenceNumber) -> Option<u64> {
        let (_, low) = number.parts();
        let counter = low as u64;
        (self.number(counter) == number).then_some(counter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_id_has_twelve_digits() {
        assert_eq!(ShardNumber(3).id().as_str(), "shardId-000000000003");
        assert_eq!(ShardNumber::of(&ShardNumber(41).id()), Some(ShardNumber(41)));
        for bad in ["", "shardId-", "shardId-3", "shardId-00000000000x", "shardId-999999999999"] {
            assert_eq!(ShardNumber::of(&ShardId::new(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn numbers_have_56_digits_rise_with_the_counter_and_lead_back_to_it(
            shard: u32, millis in 0u64..(1 << CREATION_BITS) - 1, counter in 0..u64::MAX,
        ) {
            let base = SequenceBase::new(ShardNumber(shard), millis);
            let number = base.number(counter);
            prop_assert_eq!(number.to_string().len(), 56);
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert!(base.number(counter + 1) > number);
            prop_assert_eq!(base.counter(number), Some(counter));
            let child = SequenceBase::new(ShardNumber(0), millis + 1);
            prop_assert!(child.number(0) > base.number(u64::MAX));
            prop_assert_eq!(child.counter(number), None);
        }
    }
}

//! The hash key space and its division among shards.

use std::fmt;

/// An inclusive range of hash keys. A record belongs to the shard whose range holds the MD5 of its
/// partition key, read as an unsigned 128-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKeyRange {
    /// Lowest hash key.
    pub start: u128,
    /// Highest hash key, included.
    pub end: u128,
}

impl HashKeyRange {
    /// Every hash key.
    pub const FULL: Self = Self { start: 0, end: u128::MAX };

    /// A range; `None` if `start` is above `end`.
    pub fn new(start: u128, end: u128) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }
    /// True if the key lies inside.
    pub fn contains(&self, hash_key: u128) -> bool {
        self.start <= hash_key && hash_key <= self.end
    }
    /// True if the two share a key.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
    /// True if `other` starts right after this range ends.
    pub fn is_followed_by(&self, other: &Self) -> bool {
        self.end.checked_add(1) == Some(other.start)
    }
    /// The whole space cut into `parts` ranges of equal size (the last takes the remainder), as
    /// Kinesis does for a new stream. `parts` 0 gives none.
    pub fn split_evenly(parts: u32) -> Vec<Self> {
        let of = u128::from(parts);
        let Some(width) = u128::MAX.checked_div(of) else { return Vec::new() };
        // Of 2^128, one more than a number holds. Of one part it is not used.
        let width = width.wrapping_add(u128::from(u128::MAX % of + 1 == of));
        let start = |part: u32| width * u128::from(part);
        (0..parts)
            .map(|part| Self {
                start: start(part),
                end: if part + 1 == parts { u128::MAX } else { start(part + 1) - 1 },
            })
            .collect()
    }
}

impl fmt::Display for HashKeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

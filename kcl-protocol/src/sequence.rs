//! Sequence numbers and positions in a shard.

use std::fmt;
use std::str::FromStr;

/// A record's place in its shard: an unsigned 192-bit number, written in decimal.
///
/// Kinesis uses 186 bits (55 to 57 digits), which a `u128` does not hold. Numbers rise strictly
/// within a shard; a child shard's are above its parents'.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    high: u64,
    low: u128,
}

impl SequenceNumber {
    /// The number zero, below every number of a record.
    pub const ZERO: Self = Self { high: 0, low: 0 };
    /// The largest number that fits.
    pub const MAX: Self = Self { high: u64::MAX, low: u128::MAX };

    /// Builds a number from its upper 64 and lower 128 bits.
    pub const fn from_parts(high: u64, low: u128) -> Self {
        Self { high, low }
    }
    /// The upper 64 and the lower 128 bits.
    pub const fn parts(self) -> (u64, u128) {
        (self.high, self.low)
    }
    /// The number `by` above this one; `None` when it would not fit.
    pub fn checked_add(self, by: u128) -> Option<Self> {
        let (low, carry) = self.low.overflowing_add(by);
        let high = self.high.checked_add(u64::from(carry))?;
        Some(Self { high, low })
    }

    fn times_ten_plus(self, digit: u8) -> Option<Self> {
        const HALF: u128 = u64::MAX as u128;
        let bottom = (self.low & HALF) * 10 + u128::from(digit);
        let middle = (self.low >> 64) * 10 + (bottom >> 64);
        let top = u128::from(self.high) * 10 + (middle >> 64);
        let high = u64::try_from(top).ok()?;
        Some(Self { high, low: ((middle & HALF) << 64) | (bottom & HALF) })
    }

    /// Divides by 10^19, the largest power of ten in 64 bits.
    fn divided_by_chunk(self) -> (Self, u64) {
        const HALF: u128 = u64::MAX as u128;
        const BY: u128 = CHUNK as u128;
        let (high, rest) = (self.high / CHUNK, u128::from(self.high % CHUNK));
        let middle = (rest << 64) | (self.low >> 64);
        let bottom = ((middle % BY) << 64) | (self.low & HALF);
        let low = ((middle / BY) << 64) | (bottom / BY);
        (Self { high, low }, (bottom % BY) as u64)
    }
}

/// 10^19.
const CHUNK: u64 = 10_000_000_000_000_000_000;

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Four chunks of 19 digits hold any number.
        let mut digits = [b'0'; 76];
        let mut rest = *self;
        for chunk in digits.rchunks_exact_mut(19) {
            let (quotient, mut number) = rest.divided_by_chunk();
            for digit in chunk.iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
            rest = quotient;
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        let at = leading.min(digits.len() - 1);
        f.pad_integral(true, "", std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a sequence number: expected 1 to 58 decimal digits below 2^192")]
pub struct BadSequenceNumber {
    /// The text as it was given, cut after 80 characters.
    pub text: String,
}

impl FromStr for SequenceNumber {
    type Err = BadSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadSequenceNumber { text: text.chars().take(80).collect() };
        if text.is_empty() || text.len() > 129 {
            return Err(bad());
        }
        text.bytes().try_fold(Self::ZERO, |number, byte| {
            if !byte.is_ascii_digit() {
                return Err(bad());
            }
            number.times_ten_plus(byte - b'0').ok_or_else(bad)
        })
    }
}

/// A record or a sub-record of an aggregate: sequence number, then subsequence number (0 for a
/// record that stands alone).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Of the record as the stream has it.
    pub sequence: SequenceNumber,
    /// Of the sub-record inside it.
    pub subsequence: u64,
}

impl From<SequenceNumber> for Position {
    fn from(sequence: SequenceNumber) -> Self {
        Self { sequence, subsequence: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subsequence == 0 {
            self.sequence.fmt(f)
        } else {
            write!(f, "{}/{}", self.sequence, self.subsequence)
        }
    }
}

/// How far a lease has come; the order is the order of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checkpoint {
    /// Nothing done; start with the first record that arrived at or after this time
    /// (Unix milliseconds).
    AtTimestamp(u64),
    /// Nothing done; start with the oldest record retained.
    TrimHorizon,
    /// Nothing done; start with the first record after the reader opens. Only for readers opened
    /// by hand: a lease stores a resolved position instead, so that a new owner cannot skip.
    Latest,
    /// Everything up to and including this position is done.
    At(Position),
    /// Everything is done and the shard is closed. Final.
    ShardEnd,
}

impl Checkpoint {
    /// True once the shard is finished.
    pub fn is_shard_end(&self) -> bool {
        matches!(self, Self::ShardEnd)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtTimestamp(millis) => write!(f, "AT_TIMESTAMP({millis})"),
            Self::TrimHorizon => f.pad("TRIM_HORIZON"),
            Self::Latest => f.pad("LATEST"),
            Self::At(position) => position.fmt(f),
            Self::ShardEnd => f.pad("SHARD_END"),
        }
    }
}

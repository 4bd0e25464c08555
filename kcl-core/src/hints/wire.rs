//! A hint as bytes: one frame a connection, sealed with a keyed hash (SipHash-2-4, 128 bits) over
//! everything before it, under the key in the table's row.
//!
//! ```text
//! "KCLH" version kind fence:u64 sequence:u64 from to lease seal:u128      numbers big-endian
//! ```
//! `from`, `to` and `lease` are UTF-8, each after its length (u16). `lease` and `fence` are empty
//! and 0 where the kind has none.

use std::hash::Hasher;

use kcl_protocol::{Fence, LeaseKey, WorkerId};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::Hint;

const MAGIC: &[u8; 5] = b"KCLH\x01";
const INBOX: u8 = 0;
const WAKE: u8 = 1;
const FENCED: u8 = 2;
const SEAL: usize = 16;

/// Bytes a frame may have: two worker ids and a lease key of the longest names, and room.
pub(super) const LONGEST: usize = 4096;

/// A hint on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub from: WorkerId,
    pub to: WorkerId,
    /// Rises with each hint of `from`, so that a repeated one is known.
    pub sequence: u64,
    pub hint: Hint,
}

impl Frame {
    pub fn seal(&self, key: u128) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let (kind, fence, lease) = match &self.hint {
            Hint::Inbox => (INBOX, 0, ""),
            Hint::Fenced => (FENCED, 0, ""),
            Hint::Wake { lease, fence } => (WAKE, fence.0, lease.as_str()),
        };
        bytes.push(kind);
        bytes.extend(fence.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        for text in [self.from.as_str(), self.to.as_str(), lease] {
            // Longer names than a frame may have are refused where names are made.
            bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        let seal = hash(&bytes, key);
        bytes.extend(seal.to_be_bytes());
        bytes
    }

    /// The frame in these bytes, if whoever wrote them had the key.
    pub fn open(bytes: &[u8], key: u128) -> Option<Self> {
        let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
        if hash(body, key).to_be_bytes() != seal {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC.as_slice())?;
        let kind = take(&mut rest, 1)?[0];
        let fence = number(&mut rest)?;
        let sequence = number(&mut rest)?;
        let from = WorkerId::new(text(&mut rest)?);
        let to = WorkerId::new(text(&mut rest)?);
        let lease = text(&mut rest)?;
        let hint = match kind {
            INBOX => Hint::Inbox,
            FENCED => Hint::Fenced,
            WAKE => Hint::Wake { lease: LeaseKey::new(lease), fence: Fence(fence) },
            _ => return None,
        };
        rest.is_empty().then_some(Self { from, to, sequence, hint })
    }
}

fn hash(bytes: &[u8], key: u128) -> u128 {
    let mut hasher = SipHasher24::new_with_keys((key >> 64) as u64, key as u64);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    std::str::from_utf8(take(rest, length.into())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(hint: Hint) -> Frame {
        Frame { from: WorkerId::new("a"), to: WorkerId::new("b-1"), sequence: 7, hint }
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let wake = Hint::Wake { lease: LeaseKey::new("shardId-000000000001"), fence: Fence(9) };
        for hint in [Hint::Inbox, Hint::Fenced, wake] {
            let frame = frame(hint);
            assert_eq!(Frame::open(&frame.seal(5), 5), Some(frame));
        }
    }

    #[test]
    fn a_forged_cut_or_changed_frame_is_refused() {
        let sealed = frame(Hint::Inbox).seal(5);
        assert_eq!(Frame::open(&sealed, 6), None, "another table's key");
        for length in 0..sealed.len() {
            assert_eq!(Frame::open(&sealed[..length], 5), None, "cut at {length}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(Frame::open(&changed, 5), None, "changed at {at}");
        }
        let longer = [sealed.as_slice(), b"x"].concat();
        assert_eq!(Frame::open(&longer, 5), None);
    }
}

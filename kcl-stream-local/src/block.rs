//! Records that lie one behind the other in one piece of memory: key, data, key, data.

use bytes::Bytes;
use kcl_core::protocol::Position;
use kcl_core::{PartitionKey, Record};

use crate::record::RecordRef;
use crate::sequence::SequenceBase;

/// Where a record ends in its block, and how long the key is that it begins with.
#[derive(Clone, Copy, Debug)]
struct Slot {
    end: u32,
    key: u16,
}

/// The records from this place on arrived then, up to the next run.
#[derive(Clone, Copy, Debug)]
struct Run {
    place: u32,
    arrival_millis: u64,
}

/// What is known of records besides their bytes.
///
/// Invariant: arrival times rise from run to run, and the first run has place 0.
#[derive(Debug)]
struct Index {
    /// Counter of the first record.
    first: u64,
    slots: Vec<Slot>,
    runs: Vec<Run>,
}

impl Index {
    fn new(first: u64, records: usize) -> Self {
        Self { first, slots: Vec::with_capacity(records), runs: Vec::new() }
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Where the bytes of this place begin; of the place after the last, where they end.
    fn start_of(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.slots[before].end as usize)
    }

    fn place_of(&self, counter: u64) -> usize {
        counter.saturating_sub(self.first).min(self.slots.len() as u64) as usize
    }

    fn arrival_millis(&self, counter: u64) -> Option<u64> {
        let place = counter.checked_sub(self.first).filter(|_| counter < self.end())?;
        let after = self.runs.partition_point(|run| u64::from(run.place) <= place);
        self.runs.get(after.checked_sub(1)?).map(|run| run.arrival_millis)
    }

    fn last_arrival_millis(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.arrival_millis)
    }

    /// The counter of the first record of a run that passes; the one behind the block if none does.
    fn first_from(&self, passes: impl Fn(u64) -> bool) -> u64 {
        let at = self.runs.partition_point(|run| !passes(run.arrival_millis));
        self.runs.get(at).map_or(self.end(), |run| self.first + u64::from(run.place))
    }

    /// Bytes of the records in a range of counters.
    fn bytes_in(&self, from: u64, past: u64) -> usize {
        self.start_of(self.place_of(past)) - self.start_of(self.place_of(from))
    }
}

/// Records that do not change any more.
#[derive(Debug)]
pub(crate) struct Block {
    index: Index,
    bytes: Bytes,
}

/// Records with room for more.
#[derive(Debug)]
pub(crate) struct OpenBlock {
    index: Index,
    bytes: Vec<u8>,
}

/// Bytes after which a block is closed: small beside what a busy shard holds, and large beside what
/// a block takes besides.
const BLOCK_BYTES: usize = 64 << 10;

impl OpenBlock {
    /// A block whose first record has this counter.
    pub(crate) fn new(first: u64) -> Self {
        Self { index: Index::new(first, 0), bytes: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.slots.is_empty()
    }

    /// True if a record of this size goes into the next block.
    pub(crate) fn is_full_for(&self, size: usize) -> bool {
        !self.is_empty() && self.bytes.len() + size > BLOCK_BYTES
    }

    pub(crate) fn add(&mut self, record: RecordRef<'_>, arrival_millis: u64) {
        let size = record.size_bytes();
        let needed = self.bytes.len() + size;
        if needed > self.bytes.capacity() {
            // Doubles like a vector, but not past the end of the block.
            let most = needed.max(BLOCK_BYTES);
            let room = (2 * self.bytes.capacity()).clamp(needed, most);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        if self.index.runs.last().is_none_or(|run| run.arrival_millis != arrival_millis) {
            let place = self.index.slots.len() as u32;
            self.index.runs.push(Run { place, arrival_millis });
        }
        self.bytes.extend_from_slice(record.partition_key.as_bytes());
        self.bytes.extend_from_slice(record.data);
        // A key has at most 1 KiB and a block little more than the largest record, 10 MiB.
        let slot = Slot { end: needed as u32, key: record.partition_key.len() as u16 };
        self.index.slots.push(slot);
    }

    /// The block as it is; what follows goes into a new one of the same size.
    pub(crate) fn close(&mut self) -> Block {
        let next = Self {
            index: Index::new(self.index.end(), self.index.slots.len()),
            bytes: Vec::with_capacity(BLOCK_BYTES),
        };
        let Self { mut index, mut bytes } = std::mem::replace(self, next);
        index.slots.shrink_to_fit();
        index.runs.shrink_to_fit();
        bytes.shrink_to_fit();
        Block { index, bytes: bytes.into() }
    }

    /// A copy of the records with these counters.
    pub(crate) fn copy(&self, from: u64, past: u64) -> Block {
        let (start, end) = (self.index.place_of(from), self.index.place_of(past));
        let (first_byte, past_byte) = (self.index.start_of(start), self.index.start_of(end));
        let slots = self.index.slots[start..end].iter();
        let slots = slots.map(|slot| Slot { end: slot.end - first_byte as u32, ..*slot }).collect();
        let mut runs: Vec<Run> = Vec::new();
        for run in self.index.runs.iter().take_while(|run| (run.place as usize) < end) {
            let place = run.place.saturating_sub(start as u32);
            if place == 0 {
                runs.clear();
            }
            runs.push(Run { place, ..*run });
        }
        let index = Index { first: self.index.first + start as u64, slots, runs };
        Block { index, bytes: Bytes::copy_from_slice(&self.bytes[first_byte..past_byte]) }
    }
}

/// What blocks of both kinds answer.
pub(crate) trait Indexed {
    /// Counter of the first record.
    fn first(&self) -> u64;
    /// Counter of the record behind the last.
    fn end(&self) -> u64;
    fn arrival_millis(&self, counter: u64) -> Option<u64>;
    fn last_arrival_millis(&self) -> u64;
    /// The counter of the first record whose arrival passes; `end` if none does. Arrivals that pass
    /// come after those that do not.
    fn first_from(&self, passes: impl Fn(u64) -> bool) -> u64;
    /// Bytes of the records in a range of counters.
    fn bytes_in(&self, from: u64, past: u64) -> usize;
}

macro_rules! indexed {
    ($block:ty) => {
        impl Indexed for $block {
            fn first(&self) -> u64 {
                self.index.first
            }
            fn end(&self) -> u64 {
                self.index.end()
            }
            fn arrival_millis(&self, counter: u64) -> Option<u64> {
                self.index.arrival_millis(counter)
            }
            fn last_arrival_millis(&self) -> u64 {
                self.index.last_arrival_millis()
            }
            fn first_from(&self, passes: impl Fn(u64) -> bool) -> u64 {
                self.index.first_from(passes)
            }
            fn bytes_in(&self, from: u64, past: u64) -> usize {
                self.index.bytes_in(from, past)
            }
        }
    };
}
indexed!(Block);
indexed!(OpenBlock);

impl Block {
    pub(crate) fn len(&self) -> usize {
        self.index.slots.len()
    }

    /// Bytes of all keys and data.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Key and data of each record.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.index.slots.iter().map(move |slot| {
            let record = &self.bytes[start..slot.end as usize];
            start = slot.end as usize;
            record.split_at(usize::from(slot.key))
        })
    }

    /// Takes records out, sharing their bytes, from counter `from` on, as long as `takes` says so
    /// of a record's size. True if it did to the end.
    pub(crate) fn take_out(
        &self,
        from: u64,
        base: SequenceBase,
        mut takes: impl FnMut(usize) -> bool,
        out: &mut Vec<Record>,
    ) -> bool {
        let start = self.index.place_of(from);
        let mut begin = self.index.start_of(start);
        let mut runs = self.index.runs.iter().peekable();
        let mut arrival_millis = 0;
        for (place, slot) in self.index.slots.iter().enumerate().skip(start) {
            while let Some(run) = runs.next_if(|run| run.place as usize <= place) {
                arrival_millis = run.arrival_millis;
            }
            let end = slot.end as usize;
            if !takes(end - begin) {
                return false;
            }
            let data = begin + usize::from(slot.key);
            let key = PartitionKey::from_utf8(self.bytes.slice(begin..data));
            out.push(Record {
                position: Position::from(base.number(self.index.first + place as u64)),
                // Every key was text when it came.
                partition_key: key.unwrap_or_else(|_| PartitionKey::from("")),
                data: self.bytes.slice(data..end),
                arrival_millis,
                unreadable: None,
            });
            begin = end;
        }
        true
    }
}

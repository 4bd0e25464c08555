//! The format of a segment: a head, then frames. All numbers are little-endian.
//!
//! ```text
//! head   64  magic 8, number of the segment 8, number of its first frame 8, salt 8,
//!            creation of the stream 8, CRC-32 of these 40 bytes 4, zeros 20
//! frame      magic 4, bytes of payload 4, number of the frame 8,
//!            CRC-32 of salt, bytes, number and payload 4, zeros 4,
//!            payload, zeros up to a multiple of 16
//! payload    state: 0, shard 4, next counter 8, last arrival 8
//!            records: 1, shard 4, first counter 8, arrival 8, count 4,
//!                     then each: bytes of key 2, bytes of data 4, key, data
//! ```
//! A frame is what is written and synced at once, so that a frame with a whole one behind it was
//! synced: if it is bad, the disk has changed it. The salt is random: no record can hold bytes that
//! would pass for a frame.

use bytes::Bytes;
use kcl_stream_local::{Entry, NewRecord, ShardNumber};

/// Bytes of the head of a segment.
pub(crate) const HEAD: usize = 64;
const FRAME_HEAD: usize = 24;
const ALIGN: usize = 16;
const MAGIC: &[u8; 8] = b"KCLSEG\0\x01";
const FRAME_MAGIC: &[u8; 4] = b"KCLF";
const STATE: u8 = 0;
const RECORDS: u8 = 1;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) segment: u64,
    pub(crate) first_frame: u64,
    pub(crate) salt: u64,
    pub(crate) stream_created: u64,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        let numbers = [self.segment, self.first_frame, self.salt, self.stream_created];
        for (at, number) in (8..).step_by(8).zip(numbers) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Cursor(bytes.get(..HEAD)?);
        let crc = crc32fast::hash(&bytes[..40]);
        let is_ours = from.take(8)? == MAGIC;
        let head = Self {
            segment: from.u64()?,
            first_frame: from.u64()?,
            salt: from.u64()?,
            stream_created: from.u64()?,
        };
        (is_ours && from.u32()? == crc && is_zero(from.0)).then_some(head)
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// How far a shard has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) next: u64,
    pub(crate) last_arrival_millis: u64,
}

/// A frame being written.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
}

impl Frame {
    /// Starts anew, in the same memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(FRAME_HEAD, 0);
    }

    pub(crate) fn add_state(&mut self, shard: ShardNumber, end: End) {
        self.bytes.push(STATE);
        self.bytes.extend(shard.0.to_le_bytes());
        self.bytes.extend(end.next.to_le_bytes());
        self.bytes.extend(end.last_arrival_millis.to_le_bytes());
    }

    pub(crate) fn add_records(&mut self, entry: &Entry) {
        self.bytes.push(RECORDS);
        self.bytes.extend(entry.shard().0.to_le_bytes());
        self.bytes.extend(entry.first().to_le_bytes());
        self.bytes.extend(entry.arrival_millis().to_le_bytes());
        self.bytes.extend((entry.records().len() as u32).to_le_bytes());
        for (key, data) in entry.records() {
            // A key has at most 256 characters of 4 bytes, data at most 10 MiB.
            self.bytes.extend((key.len() as u16).to_le_bytes());
            self.bytes.extend((data.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(key);
            self.bytes.extend_from_slice(data);
        }
    }

    /// The bytes to write.
    pub(crate) fn finish(&mut self, salt: u64, number: u64) -> &[u8] {
        let payload = (self.bytes.len() - FRAME_HEAD) as u32;
        let crc = crc(salt, number, &self.bytes[FRAME_HEAD..]);
        self.bytes[..4].copy_from_slice(FRAME_MAGIC);
        self.bytes[4..8].copy_from_slice(&payload.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&number.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        &self.bytes
    }
}

fn crc(salt: u64, number: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&(payload.len() as u32).to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame, and where the next one would be.
    Frame { payload: &'a [u8], end: usize },
    /// Zeros to the end of the file.
    End,
    /// Anything else.
    Bad,
}

/// Looks for the frame of this number.
pub(crate) fn frame_at(file: &[u8], at: usize, salt: u64, number: u64) -> Found<'_> {
    match whole(file, at, salt).filter(|frame| frame.0 == number) {
        Some((_, payload, end)) => Found::Frame { payload, end },
        None if is_zero(file.get(at..).unwrap_or_default()) => Found::End,
        None => Found::Bad,
    }
}

/// Is there a whole frame anywhere from here on?
pub(crate) fn any_frame_after(file: &[u8], at: usize, salt: u64) -> bool {
    (at..file.len()).step_by(ALIGN).any(|at| whole(file, at, salt).is_some())
}

fn whole(file: &[u8], at: usize, salt: u64) -> Option<(u64, &[u8], usize)> {
    let mut from = Cursor(file.get(at..)?);
    if from.take(4)? != FRAME_MAGIC {
        return None;
    }
    let length = from.u32()? as usize;
    let number = from.u64()?;
    let expected = from.u32()?;
    let is_clean = from.u32()? == 0;
    let payload = from.take(length)?;
    let padding = (FRAME_HEAD + length).next_multiple_of(ALIGN) - FRAME_HEAD - length;
    let is_clean = is_clean && is_zero(from.take(padding)?);
    let is_whole = is_clean && crc(salt, number, payload) == expected;
    is_whole.then_some((number, payload, at + FRAME_HEAD + length + padding))
}

/// One part of a frame.
pub(crate) enum Part {
    State { shard: ShardNumber, end: End },
    Records { shard: ShardNumber, first: u64, arrival_millis: u64, records: Vec<NewRecord> },
}

/// The parts of a frame's payload; `None` if they are not what this format has.
pub(crate) fn parts(payload: &[u8]) -> Option<Vec<Part>> {
    let whole = Bytes::copy_from_slice(payload);
    let mut from = Cursor(&whole);
    let mut parts = Vec::new();
    while !from.0.is_empty() {
        let kind = from.take(1)?[0];
        let shard = ShardNumber(from.u32()?);
        let (counter, millis) = (from.u64()?, from.u64()?);
        parts.push(match kind {
            STATE => {
                let end = End { next: counter, last_arrival_millis: millis };
                Part::State { shard, end }
            }
            RECORDS => {
                let count = from.u32()?;
                let records = (0..count).map(|_| record(&mut from, &whole));
                let records = records.collect::<Option<_>>()?;
                Part::Records { shard, first: counter, arrival_millis: millis, records }
            }
            _ => return None,
        });
    }
    Some(parts)
}

fn record(from: &mut Cursor<'_>, whole: &Bytes) -> Option<NewRecord> {
    let key = usize::from(from.u16()?);
    let data = from.u32()? as usize;
    let key = std::str::from_utf8(from.take(key)?).ok()?;
    Some(NewRecord::new(key, whole.slice_ref(from.take(data)?)))
}

/// Bytes not read yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

//! Rows to and from bytes: big-endian numbers, lengths before texts and lists, one byte for each
//! choice. The file's format version covers every change here. Decoding is strict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::protocol::{
    Checkpoint, EntryId, Fence, HashKeyRange, HeldDigest, InboxEntry, Lease, LeaseKey, Ordinal,
    Parked, Position, Prepared, Reads, Row, RowKey, SequenceNumber, ShardId, StreamName, StreamRow,
    StreamStart, StreamTag, TableRow, WorkerId, WorkerRow, WorkerState,
};

/// A value or what is wrong with its bytes.
type Decoded<T> = Result<T, String>;

/// Bytes not yet decoded.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }
}

trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Bytes<'_>) -> Decoded<Self>;
}

macro_rules! number_fields { ($($kind:ty)*) => { $(
    impl Field for $kind {
        fn put(&self, out: &mut Vec<u8>) {
            out.extend(self.to_be_bytes());
        }
        fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
            let bytes = from.take(size_of::<Self>())?;
            bytes.try_into().map(Self::from_be_bytes).map_err(|_| "a number is cut".into())
        }
    }
)* } }
number_fields!(u8 u32 u64 u128);

macro_rules! name_fields { ($($kind:ty)*) => { $(
    impl Field for $kind {
        fn put(&self, out: &mut Vec<u8>) {
            self.as_str().to_owned().put(out);
        }
        fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
            String::take(from).map(Self::new)
        }
    }
)* } }
name_fields!(LeaseKey ShardId StreamName WorkerId);

macro_rules! struct_fields { ($($kind:ident { $($field:tt),* })*) => { $(
    impl Field for $kind {
        fn put(&self, out: &mut Vec<u8>) {
            $(self.$field.put(out);)*
        }
        fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
            Ok(Self { $($field: Field::take(from)?),* })
        }
    }
)* } }
struct_fields! {
    Fence { 0 }
    Ordinal { 0 }
    EntryId { 0 }
    StreamTag { 0 }
    Position { sequence, subsequence }
    HashKeyRange { start, end }
    Parked { reason, at }
    Prepared { checkpoint, state }
    HeldDigest { count, hashes }
    Lease {
        key, owner, fence, ordinal, checkpoint, prepared, parents, children, range, parked,
        owner_switches, unlisted_since_millis
    }
    WorkerRow {
        id, heartbeat, state, draining, duration, grace, load, max_leases, reads, digest, inbox,
        list, address
    }
    StreamRow { name, created_at_millis, start, first_sync_done }
    TableRow { table_id, generation, schema, max_duration, max_grace, resetting, round, hint_key }
}

macro_rules! choice_fields {
    ($($kind:ident { $($tag:literal => $name:ident $(($one:ident))? $({$($field:ident),*})?),* })*)
    => { $(
    impl Field for $kind {
        fn put(&self, out: &mut Vec<u8>) {
            match self {
                $(Self::$name $(($one))? $({$($field),*})? => {
                    out.push($tag);
                    $($one.put(out);)?
                    $($($field.put(out);)*)?
                })*
            }
        }
        fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
            match u8::take(from)? {
                $($tag => {
                    $(let $one = Field::take(from)?;)?
                    $($(let $field = Field::take(from)?;)*)?
                    Ok(Self::$name $(($one))? $({$($field),*})?)
                })*
                tag => Err(format!("{} has no choice {tag}", stringify!($kind))),
            }
        }
    }
)* } }
choice_fields! {
    Checkpoint { 0 => AtTimestamp(v), 1 => TrimHorizon, 2 => Latest, 3 => At(v), 4 => ShardEnd }
    WorkerState { 0 => Live, 1 => Missing, 2 => Fenced, 3 => Gone }
    StreamStart { 0 => TrimHorizon, 1 => AtTimestamp(v), 2 => After(v) }
    InboxEntry { 0 => Ask {leases, to, have}, 1 => Revoke {lease, fence, to}, 2 => Grant {leases} }
    Row { 0 => Table(v), 1 => Stream(v), 2 => Worker(v), 3 => Lease(v) }
}

impl Field for Reads {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::TheOne => out.push(0),
            Self::Streams(tags) => {
                out.push(1);
                tags.put(out);
            }
        }
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        match u8::take(from)? {
            0 => Ok(Self::TheOne),
            1 => <BTreeSet<_> as Field>::take(from).map(Self::Streams),
            tag => Err(format!("Reads has no choice {tag}")),
        }
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} is neither yes nor no")),
        }
    }
}

impl Field for kcl_core::Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend(self.iter());
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        let length = usize::try_from(u64::take(from)?).map_err(|_| "a value is too long")?;
        Ok(Self::copy_from_slice(from.take(length)?))
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend(self.as_bytes());
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        let length = usize::try_from(u64::take(from)?).map_err(|_| "a text is too long")?;
        let bytes = from.take(length)?;
        std::str::from_utf8(bytes).map(Into::into).map_err(|error| error.to_string())
    }
}

impl Field for SequenceNumber {
    fn put(&self, out: &mut Vec<u8>) {
        self.parts().put(out);
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        Field::take(from).map(|(high, low)| Self::from_parts(high, low))
    }
}

impl Field for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        (self.as_secs(), self.subsec_nanos()).put(out);
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        let (seconds, nanos): (u64, u32) = Field::take(from)?;
        if nanos < 1_000_000_000 {
            Ok(Self::new(seconds, nanos))
        } else {
            Err(format!("{nanos} nanoseconds are more than a second"))
        }
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        (0..u64::take(from)?).map(|_| T::take(from)).collect()
    }
}

impl<T: Field + Ord> Field for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        Vec::take(from).map(|items| items.into_iter().collect())
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn take(from: &mut Bytes<'_>) -> Decoded<Self> {
        Vec::take(from).map(|items| items.into_iter().collect())
    }
}

/// The first byte of the keys of leases: all other rows come before.
pub(crate) const LEASES: u8 = 3;

/// A key as bytes, in the order of the keys themselves.
pub(crate) fn encode_key(key: &RowKey) -> Vec<u8> {
    let (kind, name) = match key {
        RowKey::Table => (0, ""),
        RowKey::Stream(name) => (1, name.as_str()),
        RowKey::Worker(id) => (2, id.as_str()),
        RowKey::Lease(key) => (LEASES, key.as_str()),
    };
    [&[kind], name.as_bytes()].concat()
}

/// A row as bytes.
pub(crate) fn encode(row: &Row) -> Vec<u8> {
    let mut out = Vec::new();
    row.put(&mut out);
    out
}

/// The row of these bytes, all of them.
pub(crate) fn decode(bytes: &[u8]) -> Result<Row, String> {
    let mut from = Bytes(bytes);
    let row = Row::take(&mut from)?;
    if from.0.is_empty() { Ok(row) } else { Err(format!("{} bytes too many", from.0.len())) }
}
